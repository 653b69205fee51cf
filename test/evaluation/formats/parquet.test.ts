import { readFileSync } from 'node:fs';
import { cp, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { WinnowError } from '../../../src/errors.ts';
import { loadDataset, openCollection } from '../../../src/evaluation/formats/load-dataset.ts';
import { parquetRows } from '../../../src/evaluation/formats/parquet.ts';
import type { PassageStore } from '../../../src/evaluation/formats/passage-store.ts';
import { openPassages } from '../../../src/evaluation/formats/passages.ts';
import { readQrels } from '../../../src/evaluation/formats/qrels.ts';
import { readQueries } from '../../../src/evaluation/formats/topics.ts';
import { temporaryFolder } from './temporary-folder.ts';

/** Written by Apache Arrow (test/clients/parquet/make_gold.py), with what Arrow reads from them as text. */
const FIXTURES = join(import.meta.dirname, '..', '..', 'fixtures', 'parquet');
const GOLD = JSON.parse(readFileSync(join(FIXTURES, 'gold.json'), 'utf8')) as Record<string, Record<string, string>[]>;
const at = (name: string) => join(FIXTURES, name);
const folder = temporaryFolder();

const cells = (name: string, key: string) => GOLD[name]!.map((row) => row[key]!);
const textOf = ({ title, text }: Record<string, string>) => (title ? `${title} ${text}` : text);
const passagesOf = (...names: string[]) =>
  names.flatMap((name) => GOLD[name]!.map((row) => ({ id: row._id!, text: textOf(row)! })));
async function listOf<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}
const all = (store: PassageStore) => listOf(store.entries());

describe('folders as the hub has them', () => {
  it.each(['none', 'snappy', 'gzip', 'brotli', 'lz4', 'zstd'])(
    '%s: shards, row groups, ids of 64 bits',
    async (codec) => {
      const set = await loadDataset(at(`hub-${codec}`));
      const shards = [0, 1].map((i) => `hub-${codec}/corpus/corpus-0000${i}-of-00002.parquet`);
      expect(set.format).toBe('beir');
      expect(await all(set.passages)).toEqual(passagesOf(...shards));
      expect(set.passages.size).toBe(25);
      expect(await set.passages.texts(['d24', 'd0'])).toEqual([
        textOf(GOLD[shards[1]!]![4]!),
        textOf(GOLD[shards[0]!]![0]!),
      ]);
      // 2^53 + 1 and 2^53 + 3: as doubles they would be the ids of other queries.
      expect([...set.queries]).toEqual([
        ['9007199254740993', 'first'],
        ['9007199254740995', 'third Käse'],
      ]);
      expect([...set.qrels].map(([qid, docs]) => [qid, [...docs]])).toEqual([
        ['9007199254740993', [['d1', 1]]],
        [
          '9007199254740995',
          [
            ['d2', 2],
            ['d3', 0],
          ],
        ],
      ]);
      expect(await all(await openCollection(at(`hub-${codec}`)))).toHaveLength(25);
    },
  );

  it('NanoBEIR: everything is named train, pairs are relevant', async () => {
    const set = await loadDataset(at('nano'));
    expect([...set.qrels].map(([qid, docs]) => [qid, [...docs]])).toEqual([['q1', [['d2', 1]]]]);
    expect([...set.queries]).toEqual([['q1', 'first']]);
  });

  it('several sets in one folder are told apart by the split', async () => {
    const path = join(folder.path, 'sets');
    for (const part of ['corpus', 'queries', 'qrels']) {
      await cp(at(`nano/${part}/train-00000-of-00001.parquet`), join(path, part, 'NanoA-00000-of-00001.parquet'));
      await cp(at('ids-int64.parquet'), join(path, part, 'NanoB-00000-of-00001.parquet'));
    }
    const set = await loadDataset({ path, split: 'NanoA' });
    expect(await all(set.passages)).toEqual(passagesOf('nano/corpus/train-00000-of-00001.parquet'));
    expect([...set.queries.keys()]).toEqual(['q1']);
  });

  it('queries and judgements of several files are one table; what two files have is refused', async () => {
    const path = join(folder.path, 'shards');
    await cp(at('hub-zstd'), path, { recursive: true });
    const queries = (i: number) => join(path, 'queries', `queries-0000${i}-of-00002.parquet`);
    const data = (i: number) => join(path, 'data', `test-0000${i}-of-00002.parquet`);
    await rm(join(path, 'queries'), { recursive: true });
    await rm(join(path, 'data'), { recursive: true });
    await cp(at('nano/queries/train-00000-of-00001.parquet'), queries(0));
    await cp(at('hub-zstd/queries/queries-00000-of-00001.parquet'), queries(1));
    await cp(at('nano/qrels/train-00000-of-00001.parquet'), data(0));
    await cp(at('hub-zstd/data/test-00000-of-00001.parquet'), data(1));
    const set = await loadDataset(path);
    expect([...set.queries.keys()]).toEqual(['q1', '9007199254740993', '9007199254740995']);
    expect([...set.qrels.keys()]).toEqual(['q1', '9007199254740993', '9007199254740995']);
    await cp(queries(1), queries(0));
    await expect(loadDataset(path)).rejects.toThrow('each id once, got 9007199254740993 again');
    await cp(data(1), data(0));
    await expect(loadDataset(path)).rejects.toThrow('each document once for query 9007199254740993, got d1 again');
  });
});

describe('values', () => {
  it.each(['int32', 'int64', 'uint32', 'uint64', 'delta_binary_packed', 'byte_stream_split'])(
    'ids of %s are kept digit by digit',
    async (kind) => {
      const name = `ids-${kind}.parquet`;
      expect([...(await readQueries(at(name)))]).toEqual(GOLD[name]!.map(({ _id, text }) => [_id, text]));
      expect(await all(await openPassages(at(name)))).toEqual(passagesOf(name));
    },
  );

  it.each(['binary.parquet', 'large-string.parquet', 'empty.parquet'])('%s', async (name) => {
    expect([...(await readQueries(at(name))).keys()]).toEqual(cells(name, '_id'));
  });

  it('grades of type double are whole numbers or refused; an empty one too', async () => {
    const qrels = await readQrels(at('grades-double.parquet'));
    expect([...qrels.values()].map((docs) => [...docs.values()])).toEqual([[1], [2, 0]]);
    await expect(readQrels(at('grades-half.parquet'))).rejects.toThrow(
      'grades-half.parquet, row 1: expected a whole number as "score", got 0.5',
    );
    await expect(readQrels(at('grades-null.parquet'))).rejects.toThrow(
      'grades-null.parquet, row 2: expected a whole number as "score", got null',
    );
  });

  it.each([
    ['ids-null.parquet', 'row 2: expected "_id" to be text, got null'],
    ['ids-double.parquet', 'row 1: expected "_id" to be text or a whole number, got 1.0'],
    ['text-null.parquet', 'row 3: expected "text" to be text, got null'],
    ['text-list.parquet', 'row 1: expected "text" to be text, got'],
    ['latin1.parquet', 'row 2: expected "_id" in UTF-8, got bytes of another encoding'],
    ['twice.parquet', 'row 3: expected each'],
  ])('%s is refused with its row', async (name, message) => {
    await expect(readQueries(at(name))).rejects.toThrow(`${name}, ${message}`);
    await expect(openPassages(at(name))).rejects.toThrow(`${name}, ${message}`);
    await expect(openPassages(at(name), { inMemory: 0 })).rejects.toThrow(`${name}, ${message}`);
  });
});

describe('collections larger than memory', () => {
  it('are read from a copy that has no name any more', async () => {
    const shards = [0, 1].map((i) => `hub-zstd/corpus/corpus-0000${i}-of-00002.parquet`);
    const store = await openPassages(shards.map(at), { inMemory: 0 });
    const expected = passagesOf(...shards);
    expect(store.size).toBe(25);
    expect(await all(store)).toEqual(expected);
    expect(await store.texts(expected.map(({ id }) => id))).toEqual(expected.map(({ text }) => text));
    await expect(store.texts(['d99'])).rejects.toThrow(
      `${shards.map(at).join(', ')}: expected a passage d99, got none`,
    );
    await store.close();
    const twice = openPassages([at(shards[0]!), at(shards[1]!), at('twice.parquet')], { inMemory: 0 });
    await expect(twice).rejects.toThrow('twice.parquet, row 3: expected each passage once, got a again');
  });
});

describe('files that are not whole', () => {
  const bytes = readFileSync(at('hub-snappy/corpus/corpus-00000-of-00002.parquet'));
  const rows = (path: string) => listOf(parquetRows(path));

  it('are known by their bytes, whatever the name says', async () => {
    const path = await folder.put({ 'corpus.jsonl': bytes });
    expect(await all(await openPassages(path))).toHaveLength(20);
    const packed = await folder.put({ 'corpus.gz': gzipSync(bytes) });
    await expect(openPassages(packed)).rejects.toThrow('expected Parquet as it is, got Parquet in gzip; unpack it');
    await symlink(at('nowhere'), join(folder.path, 'lost.parquet'));
    await expect(openPassages(join(folder.path, 'lost.parquet'))).rejects.toThrow('no such file');
  });

  it.each([
    ['empty', bytes.subarray(0, 0)],
    ['cut at the end', bytes.subarray(0, -100)],
    ['cut at the start', bytes.subarray(1000)],
    ['encrypted', Buffer.concat([bytes.subarray(0, -4), Buffer.from('PARE')])],
    ['text', Buffer.from('d1\tone\n')],
  ])('%s', async (name, content) => {
    const path = await folder.put({ [`${name}.parquet`]: content });
    await expect(openPassages(path)).rejects.toThrow(`${path}: expected a Parquet file, got`);
  });

  it('any byte that is wrong gives rows or an error that names the file', async () => {
    for (let i = 0; i < bytes.length; i += 37) {
      const damaged = Buffer.from(bytes);
      damaged[i]! ^= 1 << (i % 8);
      const path = await folder.put({ 'damaged.parquet': damaged });
      const error: unknown = await rows(path).then(
        () => undefined,
        (fault: unknown) => fault,
      );
      if (error !== undefined) expect(error).toBeInstanceOf(WinnowError);
      if (error !== undefined) expect(String(error)).toContain(path);
    }
  });
});
