import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { createReadStream, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, describe, expect, it } from 'vitest';
import { gunzipped } from '../../src/util/bytes.ts';
import { readLines, scanLines } from '../../src/util/lines.ts';

const folder = mkdtempSync(join(tmpdir(), 'winnow-lines-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const linesOf = async (path: string): Promise<string[]> => {
  const lines: string[] = [];
  for await (const { text } of readLines(path)) lines.push(text);
  return lines;
};

describe('readLines', () => {
  const text = 'one\r\n\ntwo\u2028still two\nthrée 🙂 last';
  const lines = ['one', '', 'two\u2028still two', 'thrée 🙂 last'];

  it.each([
    ['lines.txt', text],
    ['lines.txt.gz', gzipSync(text)],
    ['packed, by another name', gzipSync(text)],
    ['plain.gz', text],
    ['byte-order mark', `\ufeff${text}`],
    ['packed byte-order mark', gzipSync(`\ufeff${text}`)],
    ['line break at the end', `${text}\n`],
  ])('%s: splits at line feeds only, keeps empty lines', async (name, bytes) => {
    const path = join(folder, name);
    writeFileSync(path, bytes);
    expect(await linesOf(path)).toEqual(lines);
    const scanned: string[] = [];
    await scanLines(path, (buffer, start, end) => scanned.push(buffer.toString('utf8', start, end)));
    expect(scanned).toEqual(lines);
  });

  it('reads a pipe, packed or not', async () => {
    const path = join(folder, 'pipe');
    execFileSync('mkfifo', [path]);
    for (const bytes of [text, gzipSync(text)]) {
      const [read] = await Promise.all([linesOf(path), writeFile(path, bytes)]);
      expect(read).toEqual(lines);
    }
  });

  it('has no lines for an empty file', async () => {
    writeFileSync(join(folder, 'empty'), '');
    expect(await linesOf(join(folder, 'empty'))).toEqual([]);
  });

  it('keeps characters that lie across two chunks', async () => {
    const long = `${'x'.repeat(65_535)}é${'y'.repeat(70_000)}\nend`;
    writeFileSync(join(folder, 'long.txt'), long);
    expect(await linesOf(join(folder, 'long.txt'))).toEqual(long.split('\n'));
  });

  it('fails for files that are not there', async () => {
    await expect(linesOf(join(folder, 'nothing'))).rejects.toThrow(
      'nothing: expected a readable file, got no such file',
    );
  });
});

it('packed files may be left after any line', async () => {
  const path = join(folder, 'left-lines.gz');
  writeFileSync(path, gzipSync('a line\n'.repeat(200_000)));
  for (let count = 1; count < 20_000; count *= 3)
    for await (const { line } of readLines(path)) if (line === count) break;
});

describe('gunzipped', () => {
  const path = join(folder, 'left.gz');
  const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

  it.each([
    ['a line', '{"a":1}\n'],
    ['many chunks', Array.from({ length: 100_000 }, (_, i) => `${Math.sin(i)}`).join('\n')],
  ])('%s: may be left at any moment; both ends close and no error is unhandled', async (_, text) => {
    writeFileSync(path, gzipSync(text));
    // An unhandled error fails the test file, as it would end a process.
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
