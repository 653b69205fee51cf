import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import type { DatasetSpec } from '../../../src/evaluation/formats/dataset.ts';
import { loadDataset, openCollection } from '../../../src/evaluation/formats/load-dataset.ts';
import type { PassageStore } from '../../../src/evaluation/formats/passage-store.ts';
import { openPassages } from '../../../src/evaluation/formats/passages.ts';
import { readQrels } from '../../../src/evaluation/formats/qrels.ts';
import { readRun } from '../../../src/evaluation/formats/run.ts';
import { temporaryFolder } from './temporary-folder.ts';

const folder = temporaryFolder();
const at = (...parts: string[]) => join(folder.path, ...parts);
type Files = Record<string, string | Uint8Array>;

let count = 0;
/** Writes files into a folder of their own and returns its path. */
async function put(files: Files): Promise<string> {
  const name = `set${++count}`;
  await folder.put(Object.fromEntries(Object.entries(files).map(([file, text]) => [`${name}/${file}`, text])));
  return at(name);
}
const lines = (...values: object[]) => values.map((value) => `${JSON.stringify(value)}\n`).join('');

async function all(store: PassageStore) {
  const entries: Record<string, string> = {};
  for await (const { id, text } of store.entries()) entries[id] = text;
  return entries;
}
const plain = (judgements: ReadonlyMap<string, ReadonlyMap<string, number>>) =>
  Object.fromEntries(Array.from(judgements, ([qid, docs]) => [qid, Object.fromEntries(docs)]));

const CORPUS = lines({ _id: 'd1', title: 'T', text: 'one' }, { _id: 'd2', text: 'two' });
const QUERIES = lines({ _id: 'q1', text: 'first' }, { _id: 'q2', text: 'unjudged' });
const TREC_QRELS = 'q1 0 d1 1\nq1 0 d2 0\n';
const DOC = (id: string, text: string) =>
  `<DOC>\n<DOCNO> ${id} </DOCNO>\n<DATE>911231</DATE>\n<HEADLINE>H &amp; ${id}</HEADLINE>\n<TEXT>\n<P>${text}</P>\n</TEXT>\n</DOC>\n`;

describe('layouts of one set', () => {
  it.each<[string, Files, Omit<DatasetSpec, 'path'>, string]>([
    [
      'BEIR',
      {
        'corpus.jsonl': CORPUS,
        'queries.jsonl': QUERIES,
        'qrels/test.tsv': 'query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\t0\n',
      },
      {},
      'beir',
    ],
    [
      'MTEB',
      {
        'corpus.jsonl': CORPUS,
        'queries.jsonl': QUERIES,
        'qrels/test.jsonl': lines(
          { 'query-id': 'q1', 'corpus-id': 'd1', score: 1 },
          { 'query-id': 'q1', 'corpus-id': 'd2', score: 0 },
        ),
        'README.md': '#',
      },
      {},
      'beir',
    ],
    [
      'MTEB, configurations as folders, default judgements, floating point grades',
      {
        'corpus/corpus-00000-of-00002.jsonl': lines({ _id: 'd1', title: 'T', text: 'one' }),
        'corpus/corpus-00001-of-00002.jsonl': lines({ _id: 'd2', text: 'two' }),
        'queries/queries-00000-of-00001.json': QUERIES,
        'default/test-00000-of-00001.jsonl':
          '{"query-id": "q1", "corpus-id": "d1", "score": 1.0}\n{"query-id": "q1", "corpus-id": "d2", "score": 0.0}\n',
        'default/dev-00000-of-00001.jsonl': lines({ 'query-id': 'q2', 'corpus-id': 'd1', score: 1 }),
      },
      {},
      'beir',
    ],
    [
      'ir_datasets',
      {
        'docs.jsonl': lines({ doc_id: 'd1', title: 'T', text: 'one' }, { doc_id: 'd2', text: 'two' }),
        'queries.jsonl': lines({ query_id: 'q1', text: 'first' }),
        'qrels.jsonl': lines(
          { query_id: 'q1', doc_id: 'd1', relevance: 1, iteration: '0' },
          { query_id: 'q1', doc_id: 'd2', relevance: 0, iteration: '0' },
        ),
      },
      {},
      'trec',
    ],
    [
      'as the error names it: topics*, qrels*, corpus.jsonl',
      { 'topics.txt': 'q1\tfirst\n', 'qrels.txt': TREC_QRELS, 'corpus.jsonl': CORPUS },
      {},
      'trec',
    ],
    [
      'as the error names it: topics*, qrels*, collection.tsv',
      { 'topics.txt': 'q1\tfirst\n', 'qrels.txt': TREC_QRELS, 'collection.tsv': 'd1\tT one\nd2\ttwo\n' },
      {},
      'trec',
    ],
    [
      'a file named qrels beside a BEIR collection',
      { 'corpus.jsonl': CORPUS, 'queries.jsonl': lines({ _id: 'q1', text: 'first' }), qrels: TREC_QRELS },
      {},
      'trec',
    ],
    ['names at the end', { 'x.topics': 'q1\tfirst\n', 'x.qrels': TREC_QRELS, 'x.corpus.jsonl': CORPUS }, {}, 'trec'],
    [
      'topics in XML, a folder of shards, qrels named so',
      {
        'topics-rnd1.xml': '<topics><topic number="q1"><query>first</query></topic></topics>',
        qrels: TREC_QRELS,
        'collection/a.jsonl.gz': gzipSync(lines({ id: 'd1', contents: 'T one' })),
        'collection/b.jsonl': lines({ id: 'd2', contents: 'two' }),
      },
      {},
      'trec',
    ],
    [
      'a split chooses among several files',
      {
        'topics.dl19.txt': 'q1\tfirst\n',
        'topics.dl20.txt': 'q2\tx\n',
        'qrels.dl19.txt': TREC_QRELS,
        'qrels.dl20.txt': 'q2 0 d1 1\n',
        'corpus.jsonl': CORPUS,
      },
      { split: 'dl19', relevanceLevel: 1 },
      'trec',
    ],
  ])('%s', async (_, files, spec, format) => {
    const path = await put(files);
    const set = await loadDataset({ path, ...spec });
    expect(set.format).toBe(format);
    expect(Object.fromEntries(set.queries)).toEqual({ q1: 'first' });
    expect(plain(set.qrels)).toEqual({ q1: { d1: 1, d2: 0 } });
    expect(await all(set.passages)).toEqual({ d1: 'T one', d2: 'two' });
    expect(await all(await openCollection(path).catch(() => set.passages))).toEqual({ d1: 'T one', d2: 'two' });
  });

  it('NanoBEIR: everything is named train, judgements are pairs', async () => {
    const path = await put({
      'corpus/train-00000-of-00001.jsonl': CORPUS,
      'queries/train-00000-of-00001.jsonl': QUERIES,
      'qrels/train-00000-of-00001.jsonl': lines({ 'query-id': 'q1', 'corpus-id': 'd2' }),
    });
    const set = await loadDataset(path);
    expect(plain(set.qrels)).toEqual({ q1: { d2: 1 } });
    expect([...set.queries.keys()]).toEqual(['q1']);
    expect(set.passages.size).toBe(2);
  });

  it('a set whose only judgements are for training is not measured as a test set', async () => {
    const path = await put({
      'corpus.jsonl': CORPUS,
      'queries.jsonl': QUERIES,
      'qrels/train.tsv': 'query-id\tcorpus-id\tscore\nq1\td1\t1\n',
    });
    await expect(loadDataset(path)).rejects.toThrow('expected qrels/test.tsv, got a folder with corpus.jsonl');
  });

  it('Arrow files are refused by name, with what to do', async () => {
    const path = await put({ 'corpus/data-00000-of-00001.arrow': 'ARROW1', 'queries/q.arrow': 'ARROW1' });
    await expect(loadDataset(path)).rejects.toThrow(
      /data-00000-of-00001\.arrow is not read: write its parts by `to_json` or `to_parquet`/,
    );
  });

  it('a data set of `save_to_disk` is refused by name, with what to do', async () => {
    const path = await put({ 'dataset_dict.json': '{}', 'test/data-00000-of-00001.arrow': 'ARROW1' });
    await expect(loadDataset(path)).rejects.toThrow(
      'a data set of `save_to_disk` is not read: write its parts by `to_json`',
    );
  });

  it('two files of topics are refused, not taken by name', async () => {
    const path = await put({ 'topics.a.txt': 'q1\tx\n', 'topics.b.txt': 'q1\ty\n', 'qrels.txt': TREC_QRELS });
    await expect(loadDataset(path)).rejects.toThrow(
      'expected one file topics*.txt, got topics.a.txt and topics.b.txt; name one',
    );
    expect((await loadDataset({ path, queries: 'topics.b.txt' })).queries.get('q1')).toBe('y');
  });

  it('rank_llm candidates take the file `qrels` beside them; two are refused', async () => {
    const hits = [{ qid: 'q1', docid: 'd1', score: 2, content: 'one' }];
    const path = await put({ 'candidates.json': JSON.stringify([{ query: 'first', hits }]), qrels: TREC_QRELS });
    expect(plain((await loadDataset(join(path, 'candidates.json'))).qrels)).toEqual({ q1: { d1: 1, d2: 0 } });
    await folder.put({ [`set${count}/qrels.other.txt`]: TREC_QRELS });
    await expect(loadDataset(join(path, 'candidates.json'))).rejects.toThrow('2 beside it: qrels, qrels.other.txt');
  });
});

describe('<DOC> documents', () => {
  const robust = {
    'topics.robust04.txt': '<top>\n<num> Number: 301\n<title> crime\n</top>\n',
    'qrels.robust04.txt': '301 0 FT911-1 1\n301 0 FBIS3-1 0\n',
  };

  it('Robust04: several folders of files, packed or not, with the notes of the disks', async () => {
    const path = await put({
      ...robust,
      'disk4/ft/ft911/ft911_1': DOC('FT911-1', 'Sugar &hyph; <F P=102> a < b </F>') + DOC('FT911-2', 'cocoa'),
      'disk4/readmeft': 'notes',
      'disk4/dtds/ftdtd': '<!ELEMENT doc>',
      'disk5/fbis/fb396001.gz': gzipSync(DOC('FBIS3-1', 'x')),
    });
    const set = await loadDataset(path);
    expect(await all(set.passages)).toEqual({
      'FT911-1': 'H & FT911-1 Sugar - a < b',
      'FT911-2': 'H & FT911-2 cocoa',
      'FBIS3-1': 'H & FBIS3-1 x',
    });
    expect(set.files.map((file) => file.slice(path.length + 1))).toEqual([
      'disk4/ft/ft911/ft911_1',
      'disk5/fbis/fb396001.gz',
      'topics.robust04.txt',
      'qrels.robust04.txt',
    ]);
    const chosen = await loadDataset({ path, corpus: ['disk5/fbis', 'disk4/ft/ft911/ft911_1'] });
    expect(Object.keys(await all(chosen.passages))).toEqual(['FBIS3-1', 'FT911-1', 'FT911-2']);
  });

  it.each<[string, string | Uint8Array, Record<string, string>]>([
    [
      'an attribute as id',
      '<DOC id="A_1" type="story"><HEADLINE>H</HEADLINE><TEXT><P>t</P></TEXT></DOC>',
      { A_1: 'H t' },
    ],
    [
      'no <TEXT>: all but ids, dates and headers',
      '<DOC><DOCNO>W-1</DOCNO><DOCHDR>http://x 200</DOCHDR><html><title>T</title>body<!-- open</html></DOC>',
      { 'W-1': 'T body<!-- open' },
    ],
    [
      'lower case inside a root element',
      '<?xml version="1.0"?>\n<docs>\n<doc><docno>1</docno><text>a</text></doc>\n<doc><docno>2</docno><text>b</text></doc></docs>\n',
      { '1': 'a', '2': 'b' },
    ],
    [
      'Latin-1, as the older disks',
      Buffer.from('<DOC><DOCNO>1</DOCNO><TEXT>\xa35 caf\xe9</TEXT></DOC>', 'latin1'),
      { '1': '£5 café' },
    ],
    ['UTF-8', '<DOC><DOCNO>dé</DOCNO><TEXT>日本</TEXT></DOC>', { dé: '日本' }],
    ['Windows line breaks', DOC('1', 'a').replaceAll('\n', '\r\n'), { '1': 'H & 1 a' }],
  ])('%s', async (_, text, passages) => {
    const path = join(await put({ 'docs.sgml': text }), 'docs.sgml');
    expect(await all(await openPassages(path))).toEqual(passages);
    const ids = Object.keys(passages).reverse();
    const disk = await openPassages(path, { inMemory: 0 });
    expect(await all(disk)).toEqual(passages);
    expect(await disk.texts(ids)).toEqual(ids.map((id) => passages[id]));
    await disk.close();
  });

  it.each<[string, string, string]>([
    ['no end', `${DOC('1', 'a')}\n<DOC>\n<DOCNO>2`, 'd.sgml:10: expected </DOC> before the end of the file, got none'],
    ['text between', `${DOC('1', 'a')}hello\n${DOC('2', 'b')}`, 'd.sgml:9: expected <DOC>, got "hello"'],
    ['no id', `${DOC('1', 'a')}<DOC><TEXT>x</TEXT></DOC>`, 'd.sgml:9: expected a document with one <DOCNO>, got none'],
    ['two ids', '<DOC><DOCNO>1</DOCNO><DOCNO>2</DOCNO>x</DOC>', 'expected a document with one <DOCNO>, got "1 2"'],
    ['an id again', DOC('1', 'a') + DOC('1', 'b'), 'd.sgml:9: expected each passage once, got 1 again'],
  ])('%s is refused with its line', async (_, text, message) => {
    const path = join(await put({ 'd.sgml': text }), 'd.sgml');
    await expect(openPassages(path)).rejects.toThrow(message);
    await expect(openPassages(path, { inMemory: 0 })).rejects.toThrow(message);
  });

  it('many files on disk answer as memory does, in any order', async () => {
    const files = Object.fromEntries(
      Array.from({ length: 7 }, (_, f) => [
        `part${f}`,
        f === 3 ? '' : Array.from({ length: 40 }, (_, i) => DOC(`D${f}-${i}`, 'x'.repeat(700 * i))).join(''),
      ]),
    );
    delete files.part3;
    const path = await put(files);
    const [memory, disk] = [await openPassages(path), await openPassages(path, { inMemory: 0 })];
    expect(disk.size).toBe(240);
    const ids = ['D6-39', 'D0-0', 'D2-20', 'D0-39', 'D6-0'];
    expect(await disk.texts(ids)).toEqual(await memory.texts(ids));
    expect(await all(disk)).toEqual(await all(memory));
    await expect(disk.texts(['D9-9'])).rejects.toThrow('expected a passage D9-9, got none');
    await disk.close();
  });

  it('a folder with files of two formats, or with queries, is refused', async () => {
    const mixed = await put({ a: DOC('1', 'a'), 'b.jsonl': lines({ id: '2', text: 'b' }) });
    await expect(openPassages(mixed)).rejects.toThrow(
      /b\.jsonl: expected the format of .*\/a \(<DOC> documents\), got JSON lines/,
    );
    const queries = await put({ 'corpus.jsonl': CORPUS, 'queries.jsonl': QUERIES });
    await expect(openPassages(queries)).rejects.toThrow('expected a folder of passages alone, got queries.jsonl');
    const packed = await put({ 'ft911_1.z': Buffer.from('\x1f\x9d\x90x', 'latin1') });
    await expect(openPassages(packed)).rejects.toThrow('got a file of `compress`; unpack it with gzip -d');
  });
});

describe('SMART collections', () => {
  const collection = '.I 1\n.T\nTitle one\n.A\nDoe, J.\n.W\nbody of\n one\n.X\n1 5 1\n.I 2\n.T\nonly title\n';

  it.each<[string, Files, Record<string, Record<string, number>>]>([
    [
      'MED',
      { 'MED.ALL': collection, 'MED.QRY': '.I 1\n.W\nfirst\n.I 2\n.W\nsecond\n', 'MED.REL': '1 0 1 1\n2 0 2 1\n' },
      { '1': { '1': 1 }, '2': { '2': 1 } },
    ],
    [
      'CISI',
      {
        'CISI.ALL': collection,
        'CISI.QRY': '.I 1\n.W\nfirst\n.I 2\n.W\nsecond\n',
        'CISI.REL': '     1     1\t0\t0.000000\n     1     2\t0\t0.000000\n     2     2\t0\t0.000000\n',
      },
      { '1': { '1': 1, '2': 1 }, '2': { '2': 1 } },
    ],
    [
      'CACM',
      {
        'cacm.all': collection,
        'query.text': '.I 1\n.W\nfirst\n.I 2\n.W\nsecond\n',
        'qrels.text': '01 0001  0 0\n02 0002  0 0\n',
      },
      { '1': { '1': 1 }, '2': { '2': 1 } },
    ],
  ])('%s', async (_, files, qrels) => {
    const set = await loadDataset(await put(files));
    expect(set.format).toBe('smart');
    expect(Object.fromEntries(set.queries)).toEqual({ '1': 'first', '2': 'second' });
    expect(plain(set.qrels)).toEqual(qrels);
    expect(await all(set.passages)).toEqual({ '1': 'Title one body of one', '2': 'only title' });
  });

  it('each file is read alone, Cranfield by its name', async () => {
    const path = await put({
      'cran.all.1400': '.I 1\n.T\nt .\n.W\nt . body\n',
      'cran.qry': '.I 001\n.W\na\n.I 004\n.W\nb\n',
      cranqrel: '1 1 1\n1 2 -1\n2 1 4\n',
    });
    expect(await all(await openPassages(join(path, 'cran.all.1400')))).toEqual({ '1': 't . body' });
    expect(plain(await readQrels(join(path, 'cranqrel')))).toEqual({ '1': { '1': 4, '2': 0 }, '2': { '1': 1 } });
  });

  it.each([
    ['x.all', 'text\n.I 1\n.T\na\n', 'expected id and text with a tab between'],
    ['x.all', '.I 1\n.T\na\n.I 1\n.T\nb\n', 'x.all:4: expected each document once, got 1 again'],
  ])('%s %j is refused', async (name, text, message) => {
    await expect(openPassages(join(await put({ [name]: text }), name))).rejects.toThrow(message);
  });
});

describe('judgements and runs', () => {
  it.each<[string, string, Record<string, Record<string, number>>]>([
    ['qrels', '1 0 a 2\n', { '1': { a: 2 } }],
    [
      'qrels',
      '{"query_id": "1", "doc_id": "a", "relevance": 2}\n{"query_id": "1", "doc_id": "b", "relevance": 0}\n',
      { '1': { a: 2, b: 0 } },
    ],
    ['qrels', '{\n "1": {"a": 2}\n}', { '1': { a: 2 } }],
    [
      'q.json',
      lines({ 'query-id': 1, 'corpus-id': 645990474109599, score: 1 }, { 'query-id': 2, 'corpus-id': 'b', score: 1 }),
      { '1': { '645990474109599': 1 }, '2': { b: 1 } },
    ],
    ['q.tsv', 'query-id\tcorpus-id\n1\ta\n1\tb\n', { '1': { a: 1, b: 1 } }],
    // TREC's form with a document 0 stays what it is.
    ['q.txt', '1 0 0 0\n', { '1': { '0': 0 } }],
    ['q.txt', '1 0 0 0\n1 0 5 1\n', { '1': { '0': 0, '5': 1 } }],
    ['q.txt', '1 Q0 0 0\n2 Q0 3 1\n', { '1': { '0': 0 }, '2': { '3': 1 } }],
  ])('%s %j', async (name, text, qrels) => {
    expect(plain(await readQrels(join(await put({ [name]: text }), name)))).toEqual(qrels);
  });

  it.each([
    [
      'q.jsonl',
      '{"query_id": "1", "doc_id": "a", "grading": 2}\n',
      'q.jsonl:1: expected a whole number as "rel", got nothing',
    ],
    ['q.txt', '1 5 0 0\n1 6 0 0\n1 7 0 1\n', 'q.txt:2: expected each document once for query 1, got 0 again'],
    ['cranqrel', '1 2 9\n', 'cranqrel:1: expected query, document and a code of -1 or 1 … 5, got "9"'],
  ])('%s %j is refused', async (name, text, message) => {
    await expect(readQrels(join(await put({ [name]: text }), name))).rejects.toThrow(message);
  });

  it('scored documents of ir_datasets, with any name', async () => {
    for (const name of ['run.jsonl', 'run.json', 'run']) {
      const path = await put({
        [name]: lines({ query_id: '1', doc_id: 'a', score: 1 }, { query_id: '1', doc_id: 'b', score: 2 }),
      });
      expect((await readRun(join(path, name))).get('1')!.docids).toEqual(['b', 'a']);
    }
  });

  it.each([
    ['run.ts', 'readRun', '1 Q0 a 1 2 x\n', '[["1",{"docids":["a"],"scores":{"0":2}}]]'],
    ['topics.ts', 'readQueries', '1\ta\n2\tb\n', '[["1","a"],["2","b"]]'],
    ['topics.ts', 'readQueries', '<top><num>1<title>a</top>', '[["1","a"]]'],
    ['qrels.ts', 'readQrels', '1 0 a 1\n', '[["1",{}]]'],
  ])('%s reads a pipe once: %j', async (module, name, text, result) => {
    const path = await put({ file: text });
    const source = new URL(`../../../src/evaluation/formats/${module}`, import.meta.url);
    const script = `import('${source}').then(async (m) => console.log(JSON.stringify([...(await m.${name}(process.argv[1]))])))`;
    const command = `"${process.execPath}" -e "${script}" <(cat "${join(path, 'file')}")`;
    expect(execFileSync('bash', ['-c', command], { encoding: 'utf8' }).trim()).toBe(result);
  });

  it('text that begins as a binary format does is text', async () => {
    const path = await put({ 'q.txt': 'PAR1 0 a 1\nBZh9 0 a 1\n', 'd.txt': 'PAR1\ttext\nARROW1\tb\n' });
    expect([...(await readQrels(join(path, 'q.txt'))).keys()]).toEqual(['PAR1', 'BZh9']);
    expect(await all(await openPassages(join(path, 'd.txt')))).toEqual({ PAR1: 'text', ARROW1: 'b' });
  });

  it('a JSON document on one line that is longer than what is looked at is one document', async () => {
    const docs = Array.from({ length: 9 }, (_, i) => `"${'x'.repeat(2 ** 20)}${i}":1`);
    const path = await put({ 'run.json': `{"1":{${docs.join(',')}}}` });
    expect((await readRun(join(path, 'run.json'))).get('1')!.docids).toHaveLength(9);
  });
});
