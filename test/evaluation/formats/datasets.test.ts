import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { type DatasetSpec, measureFor, prepareRun, rulesOf } from '../../../src/evaluation/formats/dataset.ts';
import { readFolds } from '../../../src/evaluation/formats/folds.ts';
import { loadDataset } from '../../../src/evaluation/formats/load-dataset.ts';
import type { PassageStore } from '../../../src/evaluation/formats/passage-store.ts';
import { openPassages } from '../../../src/evaluation/formats/passages.ts';
import { readQueries, writeQueries } from '../../../src/evaluation/formats/topics.ts';
import { writeBeir } from '../../../src/evaluation/formats/write-beir.ts';
import { parseMeasure } from '../../../src/evaluation/measures/measure.ts';
import { temporaryFolder } from './temporary-folder.ts';

const folder = temporaryFolder();
const at = (...parts: string[]) => join(folder.path, ...parts);

async function all(store: PassageStore) {
  const entries: Record<string, string> = {};
  for await (const { id, text } of store.entries()) entries[id] = text;
  return entries;
}

const lines = (...values: object[]) => values.map((value) => `${JSON.stringify(value)}\n`).join('');

const BEIR = {
  'corpus.jsonl': lines(
    { _id: 'd1', title: 'Title', text: 'body' },
    { _id: 'd2', title: '', text: 'only body', metadata: {} },
  ),
  'queries.jsonl': lines({ _id: 'q1', text: 'first' }, { _id: 'q2', text: 'other split' }),
  'qrels/test.tsv': 'query-id\tcorpus-id\tscore\nq1\td1\t2\n',
  'qrels/dev.tsv': 'query-id\tcorpus-id\tscore\nq2\td2\t1\n',
};
const put = (name: string, files: Record<string, string | Uint8Array>) =>
  folder.put(Object.fromEntries(Object.entries(files).map(([file, text]) => [`${name}/${file}`, text])));

describe('BEIR', () => {
  it('joins title and text, keeps the judged queries of a split', async () => {
    await put('nfcorpus', BEIR);
    const set = await loadDataset(at('nfcorpus'));
    expect(set).toMatchObject({ name: 'nfcorpus', format: 'beir', relevanceLevel: 1, dropSelfHits: false });
    expect([...set.queries]).toEqual([['q1', 'first']]);
    expect(set.qrels.get('q1')).toEqual(new Map([['d1', 2]]));
    expect(await all(set.passages)).toEqual({ d1: 'Title body', d2: 'only body' });
    expect(await set.passages.texts(['d2', 'd1'])).toEqual(['only body', 'Title body']);
    await expect(set.passages.texts(['d9'])).rejects.toThrow('expected a passage d9, got none');
    const dev = await loadDataset({ path: at('nfcorpus'), split: 'dev' });
    expect([...dev.queries.keys()]).toEqual(['q2']);
  });

  it('packed files are found as well', async () => {
    await put('packed', {
      'corpus.jsonl.gz': gzipSync(BEIR['corpus.jsonl']),
      'queries.jsonl.gz': gzipSync(BEIR['queries.jsonl']),
      'qrels/test.tsv': BEIR['qrels/test.tsv'],
    });
    expect(await all((await loadDataset(at('packed'))).passages)).toEqual({ d1: 'Title body', d2: 'only body' });
  });

  it('a folder that was written is read back', async () => {
    await writeBeir(at('written'), {
      passages: [{ id: 'p', title: 'T', text: 'x\u2028y' }],
      queries: new Map([['q', 'a "quoted" query']]),
      qrels: new Map([['q', new Map([['p', 1]])]]),
    });
    const set = await loadDataset(at('written'));
    expect([...set.queries]).toEqual([['q', 'a "quoted" query']]);
    expect(await all(set.passages)).toEqual({ p: 'T x\u2028y' });
  });

  it.each([
    [
      'corpus.jsonl',
      lines({ _id: 'd1', text: 'a' }, { _id: 'd1', text: 'b' }),
      'corpus.jsonl:2: expected each passage once, got d1 again',
    ],
    ['corpus.jsonl', '{"_id": "d1"}\n', 'corpus.jsonl:1: expected "text" to be text, got nothing'],
    ['corpus.jsonl', '{"_id": \n', 'corpus.jsonl:1: expected a JSON object'],
    [
      'queries.jsonl',
      lines({ _id: 'q1', text: 'a' }, { _id: 'q1', text: 'b' }),
      'queries.jsonl:2: expected each id once, got q1 again',
    ],
    ['qrels/test.tsv', 'query-id\tcorpus-id\tscore\nq1\td1\tx\n', 'test.tsv:2: expected a whole number as grade'],
  ])('a fault in %s is named', async (file, text, message) => {
    await put('faulty', { ...BEIR, [file]: text });
    await expect(loadDataset(at('faulty'))).rejects.toThrow(message);
  });

  it('a missing split is named with what is there', async () => {
    await put('nosplit', BEIR);
    await expect(loadDataset({ path: at('nosplit'), split: 'train' })).rejects.toThrow(
      /expected qrels\/train\.tsv, got a folder with corpus\.jsonl/,
    );
  });
});

describe('passages on disk', () => {
  const many = Array.from({ length: 5000 }, (_, i) => ({
    _id: `d${i}`,
    title: i % 7 === 0 ? `t${i}` : '',
    text: `body ${i} ${'é'.repeat(i % 50)}`,
  }));

  it.each([
    ['many.jsonl', lines(...many)],
    ['many.tsv', many.map(({ _id, text }) => `${_id}\t${text}\n`).join('')],
  ])('%s: an index answers as memory does', async (name, text) => {
    const path = await folder.put({ [`disk/${name}`]: text });
    const disk = await openPassages(path, { inMemory: 0 });
    const memory = await openPassages(path);
    const ids = ['d4999', 'd0', 'd7', 'd1234', 'd7'];
    expect(disk.size).toBe(5000);
    expect(await disk.texts(ids)).toEqual(await memory.texts(ids));
    expect(await all(disk)).toEqual(await all(memory));
    await expect(disk.texts(['d5000'])).rejects.toThrow('expected a passage d5000, got none');
    await disk.close();
  });

  it('lines longer than a read, a last line without a break and Windows line breaks', async () => {
    const path = await folder.put({ 'disk/long.tsv': `a\t${'x'.repeat(50_000)}\r\nb\tlast` });
    const disk = await openPassages(path, { inMemory: 0 });
    expect((await disk.texts(['a', 'b'])).map((text) => text.length)).toEqual([50_000, 4]);
    await disk.close();
  });

  it('an id that comes twice is refused with its line', async () => {
    const path = await folder.put({ 'disk/twice.tsv': 'a\tx\nb\ty\na\tz\n' });
    await expect(openPassages(path, { inMemory: 0 })).rejects.toThrow(
      'twice.tsv:3: expected each passage once, got a again',
    );
    await expect(openPassages(path)).rejects.toThrow('twice.tsv:3: expected each passage once, got a again');
  });
});

describe('other layouts', () => {
  it('LoTTE, search and forum', async () => {
    await put('lotte/writing', {
      'collection.tsv': '0\tfirst passage\n1\tsecond\n',
      'questions.search.tsv': '0\thow to write\n',
      'qas.search.jsonl': lines({ qid: 0, query: 'how to write', url: '', answer_pids: [1, 0, 1] }),
      'questions.forum.tsv': '5\tforum question\n',
      'qas.forum.jsonl': lines({ qid: 5, query: 'x', answer_pids: [0] }),
    });
    const set = await loadDataset({ path: at('lotte', 'writing'), name: 'lotte-writing' });
    expect(set).toMatchObject({ format: 'lotte', measures: ['nDCG@10', 'Success@5'] });
    expect(set.qrels.get('0')).toEqual(
      new Map([
        ['1', 1],
        ['0', 1],
      ]),
    );
    expect([...(await loadDataset({ path: at('lotte', 'writing'), split: 'forum' })).queries.values()]).toEqual([
      'forum question',
    ]);
  });

  it('MS MARCO', async () => {
    await put('msmarco', {
      'collection.tsv': '10\ta passage\twith a tab\n11\tanother\n',
      'queries.dev.small.tsv': '1\twhat\n2\tunjudged\n',
      'qrels.dev.small.tsv': '1\t0\t10\t1\n',
      'run.tsv': '1\t11\t1\n1\t10\t2\n',
    });
    const set = await loadDataset({ path: at('msmarco'), candidates: 'run.tsv' });
    expect(set).toMatchObject({ format: 'msmarco', measures: ['nDCG@10', 'RR@10'] });
    expect([...set.queries.keys()]).toEqual(['1']);
    expect(await set.passages.texts(['10'])).toEqual(['a passage\twith a tab']);
    expect(set.candidates!.get('1')!.docids).toEqual(['11', '10']);
  });

  const TOPICS = `<top>\n<num> Number: 301 \n<title> International Organized Crime \n<desc> Description: \nIdentify organizations\nthat cross borders.\n<narr> Narrative: \nA relevant document &c.\n</top>\n\n<top>\n<num> Number: 302\n<title> Poliomyelitis\n<desc> Description:\nIs it under control?\n<narr> Narrative:\nN.\n</top>\n`;

  it('Robust04 topics and qrels, title or description, without the licensed texts', async () => {
    await put('robust04', { 'topics.robust04.txt': TOPICS, 'qrels.robust2004.txt': '301 0 FBIS3-1 2\n302 0 FT-1 0\n' });
    const set = await loadDataset(at('robust04'));
    expect(set).toMatchObject({ format: 'trec', measures: ['nDCG@10', 'nDCG@20', 'P@20', 'AP'] });
    expect(Object.fromEntries(set.queries)).toEqual({ '301': 'International Organized Crime', '302': 'Poliomyelitis' });
    await expect(set.passages.texts(['FT-1'])).rejects.toThrow('no collection');
    const described = await loadDataset({ path: at('robust04'), field: 'description' });
    expect(described.queries.get('301')).toBe('Identify organizations that cross borders.');
    const both = await loadDataset({ path: at('robust04'), field: 'title+description' });
    expect(both.queries.get('302')).toBe('Poliomyelitis Is it under control?');
  });

  it('TREC-DL topics with a collection', async () => {
    await put('dl20', {
      'topics.dl20.txt': '23849\tare naturalization records public\n',
      'qrels.dl20-passage.txt': '23849 0 1 2\n',
      'collection.tsv': '1\ttext\n',
    });
    expect(await loadDataset(at('dl20'))).toMatchObject({ format: 'trec', relevanceLevel: 2 });
  });

  it.each([
    [
      '<top>\n<num> Number: 1\n<title> a\n</top>\n<top>\n<num> Number: 1\n<title> b\n</top>',
      ':5: expected each topic once, got 1 again',
    ],
    ['<top>\n<title> a\n</top>', ':1: expected a topic with <num> and title'],
    ['<topic/>', 'expected at least 1 <top>'],
    ['no tab here', ':1: expected id and text with a tab between, got "no tab here"'],
  ])('topics %j are refused', async (text, message) => {
    await expect(readQueries(await folder.put({ 'bad/topics.txt': text }))).rejects.toThrow(message);
  });

  it.each(['queries.tsv', 'queries.jsonl', 'queries.tsv.gz'])('queries written to %s are read back', async (name) => {
    const queries = new Map([
      ['1', 'tab\tand "quote"'],
      ['x', 'é'],
    ]);
    await writeQueries(at('out', name), queries);
    const wanted = name.endsWith('jsonl')
      ? queries
      : new Map([...queries].map(([id, text]) => [id, text.replace('\t', ' ')]));
    expect(await readQueries(at('out', name))).toEqual(wanted);
  });

  it('an unknown folder lists the layouts that are known', async () => {
    await put('strange', { 'readme.md': 'hello' });
    await expect(loadDataset(at('strange'))).rejects.toThrow(
      /one of these layouts:\n {2}BEIR folder[\s\S]*got a folder with readme\.md/,
    );
    await expect(loadDataset(at('nowhere'))).rejects.toThrow('expected a readable file, got no such file');
    const odd = { path: at('strange'), format: 'bier' } as unknown as DatasetSpec;
    await expect(loadDataset(odd)).rejects.toThrow('expected format to be one of beir, lotte');
  });
});

describe('folds', () => {
  it('as an object and as a list', async () => {
    const object = {
      s1: { train_qids: ['1', '2'], predict: { dev: ['3'], test: ['4'] } },
      s2: { train_qids: ['3'], predict: { dev: ['4'], test: ['1', '2'] } },
    };
    expect(await readFolds(await folder.put({ 'folds/a.json': JSON.stringify(object) }))).toEqual([
      { name: 's1', train: ['1', '2'], dev: ['3'], test: ['4'] },
      { name: 's2', train: ['3'], dev: ['4'], test: ['1', '2'] },
    ]);
    expect((await readFolds(await folder.put({ 'folds/b.json': '[["1"], ["2"], [3]]' })))[2]).toEqual({
      name: 's3',
      test: ['3'],
      dev: ['1'],
      train: ['2'],
    });
  });

  it.each([
    [
      { s1: { train_qids: ['4'], predict: { dev: [], test: ['4'] } } },
      'expected no query to be trained and tested on, got 4',
    ],
    [[['1'], ['2'], ['1']], 'expected no query to be trained and tested on, got 1'],
    [
      {
        s1: { train_qids: [], predict: { dev: [], test: ['4'] } },
        s2: { train_qids: [], predict: { dev: [], test: ['4'] } },
      },
      'expected each query tested in one fold, got 4 in s1 and s2',
    ],
    [{ s1: {} }, 'expected "train_qids" and "predict"'],
    ['x', 'expected folds as an object or a list'],
  ])('%j is refused', async (value, message) => {
    await expect(readFolds(await folder.put({ 'folds/bad.json': JSON.stringify(value) }))).rejects.toThrow(message);
  });
});

describe('rules by name', () => {
  it.each([
    ['dl19', 2],
    ['trec-dl-2020', 2],
    ['BM25.dl21.top100', 2],
    ['msmarco-dl22', 2],
    ['handl19', 1],
    ['dl2', 1],
    ['nfcorpus', 1],
  ])('%s counts from grade %i', (name, level) => {
    expect(rulesOf(name).relevanceLevel).toBe(level);
  });

  it('binary measures take the level of the set, graded ones and those with their own do not', () => {
    const rules = rulesOf('dl19');
    const name = (text: string) => measureFor(rules, parseMeasure(text)).name;
    expect(['AP', 'RR@10', 'R@100', 'AP(rel=3)', 'nDCG@10', 'Judged@10', 'NumRet'].map(name)).toEqual([
      'AP(rel=2)',
      'RR(rel=2)@10',
      'R(rel=2)@100',
      'AP(rel=3)',
      'nDCG@10',
      'Judged@10',
      'NumRet',
    ]);
  });

  it('ArguAna and Quora drop hits on the query itself', () => {
    const run = new Map([['q1', { docids: ['q1', 'a', 'b'], scores: [9, 8, 7] }]]);
    expect(prepareRun(rulesOf('arguana'), run).get('q1')).toEqual({ docids: ['a', 'b'], scores: [8, 7] });
    expect(prepareRun(rulesOf('beir/quora'), run).get('q1')!.docids).toEqual(['a', 'b']);
    expect(prepareRun(rulesOf('scifact'), run)).toBe(run);
    expect(prepareRun(rulesOf('arguana', { dropSelfHits: false }), run)).toBe(run);
  });
});
