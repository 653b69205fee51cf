import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { createReadStream, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { gunzipped, readHead } from '../../src/util/bytes.ts';
import { readLines, scanLines } from '../../src/util/lines.ts';
import { readText, readTextSync } from '../../src/util/text.ts';

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

describe('Zstandard', () => {
  const write = (name: string, ...parts: readonly Uint8Array[]): string => {
    const path = join(folder, name);
    writeFileSync(path, Buffer.concat(parts));
    return path;
  };
  const frame = (text: string) => zstdCompressSync(text);

  it('is unpacked, whatever the name says, frame after frame', async () => {
    const many = Array.from({ length: 100_000 }, (_, i) => `${Math.sin(i)}`);
    const path = write('frames.jsonl', frame('a\nb'), frame(''), frame(`c\n${many.join('\n')}`), frame('\nlast'));
    expect(await linesOf(path)).toEqual(['a', 'bc', ...many, 'last']);
    expect((await readHead(path, 7)).head.toString()).toBe('a\nbc\n0\n');
  });

  it('fails where the bytes end too soon, and where others follow', async () => {
    const packed = frame('x'.repeat(100_000));
    await expect(linesOf(write('cut.zst', packed.subarray(0, packed.length - 3)))).rejects.toThrow(
      'unexpected end of file',
    );
    await expect(linesOf(write('junk.zst', frame('a\n'), Buffer.from('junk')))).rejects.toThrow(/junk\.zst: expected/);
  });

  it('may be left after any line', async () => {
    const path = write('left.zst', frame('a line\n'.repeat(100_000)), frame('more\n'));
    for (let count = 1; count < 20_000; count *= 3)
      for await (const { line } of readLines(path)) if (line === count) break;
  });
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

describe('hostile files', () => {
  const write = (name: string, bytes: string | Uint8Array): string => {
    const path = join(folder, name);
    writeFileSync(path, bytes);
    return path;
  };
  const scanned = async (path: string): Promise<string[]> => {
    const lines: string[] = [];
    await scanLines(path, (buffer, start, end) => lines.push(buffer.toString('utf8', start, end)));
    return lines;
  };
  const readers = [
    ['readLines', linesOf],
    ['scanLines', scanned],
  ] as const;

  it.each(readers)('%s reads a line of many chunks, searched once', async (_, read) => {
    const path = write('long-line.txt', `first\n${'x'.repeat(60_000_000)}\nlast`);
    expect((await read(path)).map((line) => line.length)).toEqual([5, 60_000_000, 4]);
  });

  it.each(readers)('%s refuses a line of 80 MB with its number, packed or not', async (_, read) => {
    const text = `first\n${'x'.repeat(80_000_000)}\nlast`;
    for (const path of [write('too-long.txt', text), write('too-long.txt.gz', gzipSync(text, { level: 1 }))])
      await expect(read(path)).rejects.toThrow(`${path}:2: expected a line of at most 64 MiB, got more`);
  });

  it.each(readers)('%s refuses bytes that are not UTF-8, and gives the lines before them', async (_, read) => {
    const many = 'line\n'.repeat(50_000);
    const bytes = Buffer.concat([Buffer.from(`${many}caf`), Buffer.from([0xe9]), Buffer.from('\nlast')]);
    const path = write('latin1.txt', bytes);
    await expect(read(path)).rejects.toThrow(`${path}:50001: expected UTF-8, got bytes of another encoding`);
    await expect(read(write('utf16.txt', Buffer.from('\ufeffid\tx\n', 'utf16le')))).rejects.toThrow(
      'utf16.txt:1: expected UTF-8',
    );
    await expect(read(write('cut.txt', Buffer.from('one\ntwo é').subarray(0, -1)))).rejects.toThrow(
      'cut.txt:2: expected UTF-8',
    );
    // U+FFFD itself is valid.
    expect(await read(write('replacement.txt', 'a\ufffd'))).toEqual(['a\ufffd']);
  });

  it('any split of lines over chunks reads the same', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.string({ unit: 'grapheme', maxLength: 9 })), fc.nat(300_000), async (lines, pad) => {
        const expected = [...lines.map((line) => line.replaceAll(/[\r\n\ufeff]/g, '')), 'ü'.repeat(pad), 'end'];
        const path = write('property.txt', expected.join('\n'));
        expect(await linesOf(path)).toEqual(expected);
        expect(await scanned(path)).toEqual(expected);
      }),
      { numRuns: 40 },
    );
  });
});

describe('readText', () => {
  const write = (name: string, bytes: string | Uint8Array): string => {
    const path = join(folder, name);
    writeFileSync(path, bytes);
    return path;
  };

  it('refuses a file that unpacks to more than the limit', async () => {
    const bomb = write('bomb.json.gz', gzipSync('x'.repeat(9_000_000)));
    await expect(readText(bomb, 8 * 2 ** 20)).rejects.toThrow(`${bomb}: expected at most 8 MiB, got more`);
    const plain = write('large.txt', 'x'.repeat(2 ** 20 + 1));
    expect(() => readTextSync(plain, 2 ** 20)).toThrow(`${plain}: expected at most 1 MiB, got more`);
    expect(readTextSync(plain, 2 * 2 ** 20)).toHaveLength(2 ** 20 + 1);
  });

  it('names the line that is not UTF-8', async () => {
    const path = write('not.txt', Buffer.from([0x61, 10, 10, 0xff, 10]));
    await expect(readText(path)).rejects.toThrow(`${path}:3: expected UTF-8`);
    expect(() => readTextSync(path, 2 ** 20)).toThrow(`${path}:3: expected UTF-8`);
  });
});
