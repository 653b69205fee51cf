import { once } from 'node:events';
import { createReadStream, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, describe, expect, it } from 'vitest';
import { gunzipped, readLines, sha256File, writeFileAtomic, writeFolderAtomic } from '../../src/util/files.ts';

const folder = mkdtempSync(join(tmpdir(), 'winnow-files-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const linesOf = async (path: string): Promise<string[]> => {
  const lines: string[] = [];
  for await (const { text } of readLines(path)) lines.push(text);
  return lines;
};

describe('readLines', () => {
  it.each(['lines.txt', 'lines.txt.gz'])('%s: splits at line feeds only, keeps empty lines', async (name) => {
    const text = 'one\r\n\ntwo\u2028still two\nthrée 🙂 last';
    writeFileSync(join(folder, name), name.endsWith('.gz') ? gzipSync(text) : text);
    expect(await linesOf(join(folder, name))).toEqual(['one', '', 'two\u2028still two', 'thrée 🙂 last']);
  });

  it('keeps characters that lie across two chunks', async () => {
    const long = `${'x'.repeat(65_535)}é${'y'.repeat(70_000)}\nend`;
    writeFileSync(join(folder, 'long.txt'), long);
    expect(await linesOf(join(folder, 'long.txt'))).toEqual(long.split('\n'));
  });

  it('fails for files that are not there', async () => {
    await expect(linesOf(join(folder, 'nothing'))).rejects.toThrow(/ENOENT/);
  });
});

describe('gunzipped', () => {
  const path = join(folder, 'left.gz');
  const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

  it.each([
    ['a line', '{"a":1}\n'],
    ['many chunks', Array.from({ length: 100_000 }, (_, i) => `${Math.sin(i)}`).join('\n')],
  ])('%s: may be left at any moment; both ends close and nothing goes unheard', async (_, text) => {
    writeFileSync(path, gzipSync(text));
    // The runner fails a test file that leaves an error unheard, and so would a process end.
    for (let turns = 0; turns < 30; turns++)
      for (let again = 0; again < 5; again++) {
        const raw = createReadStream(path);
        const unpacked = gunzipped(raw);
        for await (const _chunk of unpacked) {
          for (let i = 0; i < turns; i++) await turn();
          break;
        }
        if (!raw.closed) await once(raw, 'close');
        expect(unpacked.destroyed).toBe(true);
      }
  });

  it('fails where the bytes end too soon', async () => {
    const cut = join(folder, 'cut.txt.gz');
    writeFileSync(cut, gzipSync('x'.repeat(100)).subarray(0, 20));
    await expect(linesOf(cut)).rejects.toThrow('unexpected end of file');
  });
});

describe('atomic writes', () => {
  it('replaces a file and leaves nothing beside it', async () => {
    const path = join(folder, 'atomic', 'file');
    await writeFileAtomic(path, 'old');
    await writeFileAtomic(path, 'new');
    expect(readFileSync(path, 'utf8')).toBe('new');
    expect(readdirSync(join(folder, 'atomic'))).toEqual(['file']);
    expect(await sha256File(path)).toBe('11507a0e2f5e69d5dfa40a62a1bd7b6ee57e6bcd85c67c9b8431b36fff21c437');
  });

  it('leaves nothing of a folder whose filling failed', async () => {
    const path = join(folder, 'half', 'made');
    const fails = writeFolderAtomic(path, async (temporary) => {
      writeFileSync(join(temporary, 'part'), 'x');
      throw new Error('stopped');
    });
    await expect(fails).rejects.toThrow('stopped');
    expect(readdirSync(join(folder, 'half'))).toEqual([]);
  });
});
