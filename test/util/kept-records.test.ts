import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { type Kept, keyOf, openKeptRecords } from '../../src/util/kept-records.ts';

const root = mkdtempSync(join(tmpdir(), 'winnow-kept-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

let made = 0;
const newFolder = (): string => join(root, `${made++}`);
const filesOf = (folder: string, ending: string): string[] =>
  readdirSync(folder)
    .filter((name) => name.endsWith(ending))
    .map((name) => join(folder, name));

const keptOf = (text: string, bytes = text.length): Kept => ({
  note: text.length,
  value: new Uint8Array(bytes).fill(text.charCodeAt(0)),
});

/** Appends values of texts by a process of their own, as one run does. */
async function keep(folder: string, ...texts: readonly string[]): Promise<void> {
  const records = await openKeptRecords(folder);
  await records.append(new Map(texts.map((text) => [keyOf(text), keptOf(text)])));
  await records.close();
}

async function readAll(folder: string, texts: readonly string[]): Promise<(Kept | undefined)[]> {
  const records = await openKeptRecords(folder);
  try {
    return await Promise.all(texts.map((text) => records.read(keyOf(text))));
  } finally {
    await records.close();
  }
}

const plain = (kept: Kept | undefined) => kept && { note: kept.note, value: [...kept.value] };

describe('kept records', () => {
  it('hold what was appended, whatever the sizes, by one opener and after each opening anew', async () => {
    const texts = fc.uniqueArray(fc.string({ minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 8 });
    const run = fc.record({ texts, bytes: fc.constantFrom(0, 1, 100, 70_000) });
    await fc.assert(
      fc.asyncProperty(fc.array(run, { minLength: 1, maxLength: 5 }), async (runs) => {
        const folder = newFolder();
        const expected = new Map<string, Kept>();
        for (const { texts: own, bytes } of runs) {
          const records = await openKeptRecords(folder);
          const values = new Map(own.map((text) => [text, keptOf(text, bytes)] as const));
          await records.append(new Map([...values].map(([text, kept]) => [keyOf(text), kept])));
          for (const [text, kept] of values) expected.set(text, kept);
          for (const [text, kept] of expected) expect(plain(await records.read(keyOf(text)))).toEqual(plain(kept));
          expect(records.size).toBe(expected.size);
          await records.close();
        }
        expect(filesOf(folder, '.kept')).toHaveLength(1);
      }),
      { numRuns: 30 },
    );
  });

  it('are whole where two append to one folder at the same time', async () => {
    const folder = newFolder();
    const [a, b] = [await openKeptRecords(folder), await openKeptRecords(folder)];
    const append = (records: typeof a, text: string) => records.append(new Map([[keyOf(text), keptOf(text)]]));
    await Promise.all(['one', 'two', 'three'].flatMap((text) => [append(a, `a ${text}`), append(b, `b ${text}`)]));
    await a.close();
    await b.close();
    const all = ['a one', 'b one', 'a two', 'b two', 'a three', 'b three'];
    expect((await readAll(folder, all)).map(plain)).toEqual(all.map((text) => plain(keptOf(text))));
    await keep(folder, 'later');
    expect(filesOf(folder, '.kept')).toHaveLength(2);
    expect(filesOf(folder, '.lock')).toEqual([]);
  });

  it('take over the file of a process that was killed, and leave that of one on another host', async () => {
    const folder = newFolder();
    await keep(folder, 'first');
    const [file] = filesOf(folder, '.kept') as [string];
    const holder = { pid: 2 ** 22 + 1, since: '2026-01-01T00:00:00.000Z' };
    writeFileSync(`${file}.lock`, JSON.stringify({ ...holder, host: 'elsewhere' }));
    await keep(folder, 'second');
    expect(filesOf(folder, '.kept')).toHaveLength(2);
    rmSync(filesOf(folder, '.kept').find((name) => name !== file)!);
    writeFileSync(`${file}.lock`, JSON.stringify({ ...holder, host: (await import('node:os')).hostname() }));
    await keep(folder, 'third');
    expect(filesOf(folder, '.kept')).toEqual([file]);
    expect((await readAll(folder, ['first', 'second', 'third'])).map((kept) => kept?.note)).toEqual([5, undefined, 5]);
  });

  it('end at half a record, which a kill leaves, and go on there', async () => {
    const folder = newFolder();
    await keep(folder, 'first', 'second');
    const [file] = filesOf(folder, '.kept') as [string];
    const { size } = statSync(file);
    for (const cut of [1, 6, 7, 37]) {
      truncateSync(file, size - cut);
      expect((await readAll(folder, ['first', 'second'])).map((kept) => kept?.note)).toEqual([5, undefined]);
      await keep(folder, 'second');
      expect(statSync(file).size).toBe(size);
    }
  });

  it('forget a record with a wrong bit, wherever it is, and keep the others', async () => {
    const folder = newFolder();
    await keep(folder, 'first', 'second');
    const [file] = filesOf(folder, '.kept') as [string];
    const whole = readFileSync(file);
    // Checksum and value of the first record.
    for (let at = 28; at < 37; at++) {
      const damaged = Buffer.from(whole);
      damaged[at]! ^= 16;
      writeFileSync(file, damaged);
      expect((await readAll(folder, ['first', 'second'])).map((kept) => kept?.note)).toEqual([undefined, 6]);
    }
  });

  it('are found behind 2 GiB', async () => {
    const folder = newFolder();
    await keep(folder, 'first');
    const [file] = filesOf(folder, '.kept') as [string];
    const header = readFileSync(file).subarray(0, 32);
    const bytes = 2 ** 31 + 2 ** 29;
    header.writeUInt32LE(bytes, 24);
    writeFileSync(file, header);
    // A value of zeros that takes no room on disk.
    truncateSync(file, 32 + bytes);
    await keep(folder, 'later');
    expect(statSync(file).size).toBeGreaterThan(2 ** 31);
    expect((await readAll(folder, ['later'])).map(plain)).toEqual([plain(keptOf('later'))]);
    rmSync(file);
  });

  it('name the folder that cannot be made', async () => {
    const file = join(root, 'a-file');
    writeFileSync(file, '');
    await expect(openKeptRecords(join(file, 'folder'))).rejects.toThrow(/a-file/);
  });
});
