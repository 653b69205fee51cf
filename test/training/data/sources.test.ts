import { execFileSync } from 'node:child_process';
import { createWriteStream, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { pathToFileURL } from 'node:url';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dataSourceSchema, samplerSchema } from '../../../src/training/data/data-schema.ts';
import { textId } from '../../../src/training/data/ids.ts';
import { type CandidateList, type IdentifiedList, skipCount } from '../../../src/training/data/list-types.ts';
import { openRaw, openSources } from '../../../src/training/data/sources.ts';
import { createObjective } from '../../../src/training/objectives/catalog.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..');
const SHARED = join(ROOT, '..', 'shared', 'data');
/** Old objects get 64 MiB; young ones, which count too, so few that memory once used does not make every collection a whole one. */
const SMALL_HEAP = ['--max-old-space-size=64', '--max-semi-space-size=8'];
const folder = mkdtempSync(join(tmpdir(), 'winnow-data-'));
const put = (name: string, lines: readonly string[]): string => {
  mkdirSync(join(folder, name, '..'), { recursive: true });
  writeFileSync(join(folder, name), `${lines.join('\n')}\n`);
  return name;
};
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function raw(source: Record<string, unknown>, at = folder) {
  const counts = skipCount();
  const lists: IdentifiedList[] = [];
  const opened = await openRaw(dataSourceSchema.parse(source), at);
  try {
    for await (const list of opened.lists(counts)) lists.push(list);
  } finally {
    await opened.close();
  }
  return { lists, skipped: counts.skipped(), files: opened.files };
}

beforeAll(() => {
  put('queries.tsv', ['1\tshort query', '2\tlonger query here']);
  put('collection.tsv', ['10\tten', '11\televen', '12\ttwelve', '13\tthirteen', '14\tfourteen']);
  put('qrels.txt', ['1 0 10 1', '1 0 14 2', '2 0 12 0']);
});

describe('rows', () => {
  it('triples of ids are looked up, unknown ones counted', async () => {
    put('triples.tsv', ['1\t10\t11', '2\t12\t99', '7\t10\t11', '1\t10\t10']);
    const { lists, skipped } = await raw({
      format: 'triples',
      path: 'triples.tsv',
      queries: 'queries.tsv',
      collection: 'collection.tsv',
    });
    expect(lists).toEqual([
      { qid: '1', query: 'short query', docids: ['10', '11'], passages: ['ten', 'eleven'], relevance: [1, 0] },
    ]);
    expect(skipped).toEqual({ 'positive equals negative': 1, 'unknown passage': 1, 'unknown query': 1 });
  });

  it('triples of texts get ids from their texts; ids without files are refused', async () => {
    put('texts.tsv', ['what is it\tthis\tthat']);
    const { lists } = await raw({ format: 'triples', path: 'texts.tsv' });
    expect(lists[0]).toMatchObject({ qid: textId('what is it'), docids: [textId('this'), textId('that')] });
    await expect(raw({ format: 'triples', path: 'triples.tsv' })).rejects.toThrow(
      /triples\.tsv:1: expected texts, or `queries` and `collection`/,
    );
  });

  it('teacher scores: five columns, scores first', async () => {
    put('teacher.tsv', ['9.5\t-1.25\t1\t10\t11']);
    const { lists } = await raw({
      format: 'teacher_tsv',
      path: 'teacher.tsv',
      queries: 'queries.tsv',
      collection: 'collection.tsv',
      teacherScale: 2,
    });
    expect(lists[0]).toMatchObject({ teacher: [19, -2.5], relevance: [1, 0] });
    put('broken.tsv', ['9.5\t-1\t1\t10\t11', '9.5\tx\t1\t10\t11']);
    await expect(
      raw({ format: 'teacher_tsv', path: 'broken.tsv', queries: 'queries.tsv', collection: 'collection.tsv' }),
    ).rejects.toThrow(/broken\.tsv:2: expected two scores first/);
  });

  it('JSONL in every known form', async () => {
    put('all.jsonl', [
      '{"query":"a","pos":["p"],"neg":["n1","n2"],"pos_scores":[3],"neg_scores":[1,2]}',
      '{"anchor":"b","positive":"p","negative_1":"n1","negative_2":"n2","scores":[1,0.5,0.25]}',
      '{"query":"c","docs":["x","y"],"labels":[0,2]}',
      '{"sentence1":"d","sentence2":"x","label":1}',
      '{"sentence1":"d","sentence2":"y","label":0}',
      '{"query":"e","pos":["same"],"neg":["same"]}',
      '{"query":"f","positive":"alone"}',
    ]);
    const { lists, skipped } = await raw({ format: 'jsonl', path: 'all.jsonl' });
    expect(lists.map(({ query, relevance, teacher }) => ({ query, relevance, teacher }))).toEqual([
      { query: 'a', relevance: [1, 0, 0], teacher: [3, 1, 2] },
      { query: 'b', relevance: [1, 0, 0], teacher: [1, 0.5, 0.25] },
      { query: 'c', relevance: [0, 2], teacher: [0, 2] },
      { query: 'd', relevance: [1, 0], teacher: [1, 0] },
      // A pair without negatives, for mining.
      { query: 'f', relevance: [1], teacher: undefined },
    ]);
    expect(skipped).toEqual({ 'positive equals negative': 1 });
  });

  it('a negative that equals a positive leaves its list with its score, counted', async () => {
    put('overlap.jsonl', [
      '{"query":"a","pos":["A","B"],"neg":["A","C","B","D"],"pos_scores":[5,6],"neg_scores":[5,2,6,1]}',
      '{"query":"b","positive":"A","negative_1":"A","negative_2":"C","scores":[3,3,1]}',
      '{"query":"c","pos":["A"],"neg":["A","A"]}',
    ]);
    const { lists, skipped } = await raw({ format: 'jsonl', path: 'overlap.jsonl' });
    expect(lists).toMatchObject([
      { passages: ['A', 'B', 'C', 'D'], relevance: [1, 1, 0, 0], teacher: [5, 6, 2, 1] },
      { passages: ['A', 'C'], relevance: [1, 0], teacher: [3, 1] },
    ]);
    expect(lists.every((list) => !('overlapping' in list))).toBe(true);
    expect(skipped).toEqual({ 'negative that equals a positive': 3, 'positive equals negative': 1 });
  });

  it('ids that the collection lacks leave their list, counted', async () => {
    put('ids.jsonl', [
      '{"query":"a","pos":["10"],"neg":["gone","11","12"],"pos_scores":[4],"neg_scores":[3,2,1]}',
      '{"query":"b","pos":["10"],"neg":["gone"]}',
    ]);
    const { lists, skipped } = await raw({ format: 'jsonl', path: 'ids.jsonl', collection: 'collection.tsv' });
    expect(lists).toMatchObject([
      { docids: ['10', '11', '12'], passages: ['ten', 'eleven', 'twelve'], relevance: [1, 0, 0], teacher: [4, 2, 1] },
    ]);
    expect(lists).toHaveLength(1);
    expect(skipped).toEqual({ 'passage of a list that the collection lacks': 1, 'unknown passage': 1 });
  });

  it('a teacher’s run, by ids made of the texts, wins over scores in the rows', async () => {
    put('rows.jsonl', ['{"query":"a","pos":["p"],"neg":["n"]}', '{"query":"z","pos":["p"],"neg":["n"]}']);
    put('t.run', [`${textId('a')} Q0 ${textId('p')} 1 7 t`, `${textId('a')} Q0 ${textId('n')} 2 5 t`]);
    const { lists } = await raw({ format: 'jsonl', path: 'rows.jsonl', teacher: 't.run' });
    expect(lists.map((l) => l.teacher)).toEqual([[7, 5], undefined]);
  });

  it('300,000 rows pass through a heap of 64 MiB', async () => {
    const filler = 'word '.repeat(12);
    const rows = function* () {
      for (let at = 0; at < 300_000; at += 1000)
        yield Array.from(
          { length: 1000 },
          (_, i) => `query ${at + i}\tgood ${at + i} ${filler}\tbad ${at + i} ${filler}\n`,
        ).join('');
    };
    await pipeline(Readable.from(rows()), createWriteStream(join(folder, 'many.tsv')));
    const url = (path: string) => JSON.stringify(pathToFileURL(join(ROOT, 'src', 'training', 'data', path)).href);
    const script = `
      const { openSources } = await import(${url('sources.ts')});
      const { dataSourceSchema, samplerSchema } = await import(${url('data-schema.ts')});
      const train = [dataSourceSchema.parse({ format: 'triples', path: 'many.tsv' })];
      const source = await openSources({ train, sampler: samplerSchema.parse({}) }, ${JSON.stringify(folder)});
      let lists = 0;
      for await (const list of source.lists(1)) lists += list.passages.length > 1 ? 1 : 0;
      console.log(lists);`;
    // 50 MB of text in 900,000 strings: they would not fit if they were kept.
    const flags = [...SMALL_HEAP, '--input-type=module', '-e', script];
    expect(execFileSync(process.execPath, flags, { encoding: 'utf8' }).trim()).toBe('300000');
  }, 60_000);
});

describe('labeled pairs', () => {
  const trained = async (
    lines: readonly Record<string, unknown>[],
    objective = 'BCE',
    over: Record<string, unknown> = {},
    sampler: Record<string, unknown> = {},
  ) => {
    const path = put(
      'pairs.jsonl',
      lines.map((line) => JSON.stringify(line)),
    );
    const train = [dataSourceSchema.parse({ format: 'jsonl', path, ...over })];
    const source = await openSources(
      { train, sampler: samplerSchema.parse(sampler) },
      folder,
      createObjective(objective).needs,
    );
    const lists: CandidateList[] = [];
    for await (const list of source.lists(1)) lists.push(list);
    return { lists, skipped: source.skipped() };
  };
  const rowsOf = (lists: readonly CandidateList[]) =>
    lists.flatMap(({ query, passages, relevance }) => passages.map((p, i) => `${query} ${p} ${relevance[i]}`)).sort();

  it('shuffled over the file become one list a query', async () => {
    put('shuffled.jsonl', [
      '{"query":"a","passage":"1","label":1}',
      '{"query":"b","passage":"2","label":"0"}',
      '{"query":"c","pos":["x"],"neg":["y"]}',
      '{"query":"a","passage":"3","label":false}',
      '{"query":"b","passage":"4","label":true}',
      '{"query":"a","passage":"5","label":0.5}',
    ]);
    const { lists } = await raw({ format: 'jsonl', path: 'shuffled.jsonl' });
    expect(lists.map(({ query, passages, relevance }) => [query, passages, relevance])).toEqual([
      ['c', ['x', 'y'], [1, 0]],
      ['a', ['1', '3', '5'], [1, 0, 0.5]],
      ['b', ['2', '4'], [0, 1]],
    ]);
  });

  it('BCE sees every row in each pass, whatever the labels of its query are', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ q: fc.integer({ min: 0, max: 5 }), label: fc.constantFrom(0, 0.1, 0.9, 1) }), {
          minLength: 1,
          maxLength: 60,
        }),
        fc.constantFrom('negatives', 'as-is'),
        async (all, mode) => {
          const lines = all.map(({ q, label }, i) => ({ query: `q${q}`, passage: `p${i}`, label }));
          const { lists, skipped } = await trained(lines, 'BCE', {}, { mode });
          expect(rowsOf(lists)).toEqual(lines.map((l) => `${l.query} ${l.passage} ${l.label}`).sort());
          expect(skipped).toEqual({});
          if (mode === 'negatives') expect(Math.max(...lists.map((l) => l.passages.length))).toBeLessThanOrEqual(8);
        },
      ),
      { numRuns: 30 },
    );
  });

  it('minRelevance and labelScale say what labels mean; without them, others than 0 to 1 are refused', async () => {
    const lines = [1, 5, 3].map((label, i) => ({ query: 'q', passage: `p${i}`, label }));
    expect(rowsOf((await trained(lines, 'BCE', { minRelevance: 4 })).lists)).toEqual(['q p0 0', 'q p1 5', 'q p2 0']);
    expect(rowsOf((await trained(lines, 'BCE', { labelScale: [1, 5] })).lists)).toEqual([
      'q p0 0',
      'q p1 1',
      'q p2 0.5',
    ]);
    await expect(trained(lines)).rejects.toThrow(/labels from 0 to 1.*`minRelevance`.*`labelScale`.*got 5/);
    await expect(trained(lines, 'BCE', { labelScale: [0, 4] })).rejects.toThrow(/pairs\.jsonl:2: .*of 0 to 4.*got 5/);
    await expect(trained(lines, 'BCE', { labelScale: [1, 5], minRelevance: 3 })).rejects.toThrow(/got both/);
    const soft = [0.1, 0.9].map((label, i) => ({ query: 'q', passage: `p${i}`, label }));
    await expect(trained(soft, 'InfoNCE')).rejects.toThrow(/labels of 0 or at least 1.*`minRelevance`.*got 0\.[19]/);
    const { lists } = await trained(soft, 'InfoNCE', { minRelevance: 0.5 }, { negatives: 1 });
    expect(lists).toMatchObject([{ passages: ['p1', 'p0'], relevance: [1, 0] }]);
  });

  it('settings on labels are refused for rows without labels, logits as labels by both readings', async () => {
    const lists = [{ query: 'q', pos: ['a'], neg: ['b'] }];
    await expect(trained(lists, 'InfoNCE', { minRelevance: 2 })).rejects.toThrow(/labels, which `minRelevance` is for/);
    await expect(raw({ format: 'triples', path: 'texts.tsv', minRelevance: 2 })).rejects.toThrow(/`minRelevance`/);
    const logits = [{ query: 'q', docs: ['a', 'b'], labels: [1.3, -4] }];
    await expect(trained(logits)).rejects.toThrow(/say what is relevant .*belong in `scores`.*got -4/);
    const { lists: taught } = await trained(
      [{ query: 'q', docs: ['a', 'b'], scores: [1.3, -4] }],
      'DistillRankNET',
      {},
      { mode: 'as-is' },
    );
    expect(taught).toMatchObject([{ relevance: [0, 0], teacher: [1.3, -4] }]);
  });

  it('300,000 shuffled pairs are grouped in a heap of 64 MiB', async () => {
    const filler = 'word '.repeat(20);
    // 100,003 is prime, so that the three pairs of a query are far apart.
    const pair = (i: number) =>
      `${JSON.stringify({ query: `query ${i % 100_003}`, passage: `${i} ${filler}`, label: i % 2 })}\n`;
    const rows = function* () {
      for (let at = 0; at < 300_009; at += 1001)
        yield Array.from({ length: Math.min(1001, 300_009 - at) }, (_, i) => pair(at + i)).join('');
    };
    await pipeline(Readable.from(rows()), createWriteStream(join(folder, 'shuffled-many.jsonl')));
    const url = JSON.stringify(pathToFileURL(join(ROOT, 'src', 'training', 'data', 'sources.ts')).href);
    const script = `
      const { openRaw } = await import(${url});
      const source = { format: 'jsonl', path: 'shuffled-many.jsonl', teacherScale: 1 };
      const raw = await openRaw(source, ${JSON.stringify(folder)});
      const sizes = {};
      for await (const { passages } of raw.lists({ skip() {}, drop() {} })) sizes[passages.length] = (sizes[passages.length] ?? 0) + 1;
      console.log(JSON.stringify(sizes));`;
    const flags = [...SMALL_HEAP, '--input-type=module', '-e', script];
    expect(execFileSync(process.execPath, flags, { encoding: 'utf8' }).trim()).toBe('{"3":100003}');
  }, 60_000);

  it('columns as sentence-transformers’ losses take them', async () => {
    put('columns.jsonl', [
      '{"query":"a","answer":"p","negative":"n","scores":[0.9,0.2]}',
      '{"question":"b","answer":"p","negative_1":"n","negative_2":null,"negative_3":"m","scores":[3,2,0,1]}',
      '{"query":"c","answer":["p","n"],"labels":[1,0]}',
      '{"query":"d","positive":["p","r"],"negatives":["n","m"]}',
      '{"query":"e","answer":"p"}',
      '{"query":"f","positive":"p","negative":"n","score":2.5}',
      '{"query":"g","positive":"p","negative_1":"n","negative_2":"m","label":[2.5,3]}',
      '{"query":"h","answer":"p","label":1}',
    ]);
    const { lists } = await raw({ format: 'jsonl', path: 'columns.jsonl' });
    expect(
      lists.map(({ query, passages, relevance, teacher }) => [query, passages.join(''), relevance, teacher]),
    ).toEqual([
      ['a', 'pn', [1, 0], [0.9, 0.2]],
      ['b', 'pnm', [1, 0, 0], [3, 2, 1]],
      ['c', 'pn', [1, 0], [1, 0]],
      ['d', 'prnm', [1, 1, 0, 0], undefined],
      ['f', 'pn', [1, 0], [0, -2.5]],
      ['g', 'pnm', [1, 0, 0], [0, -2.5, -3]],
      ['e', 'p', [1], undefined],
      ['h', 'p', [1], [1]],
    ]);
  });
});

describe('lists of ids', () => {
  const run = { format: 'trec', path: 'first.run', queries: 'queries.tsv', collection: 'collection.tsv' };
  beforeAll(() => {
    put('first.run', [
      '1 Q0 11 1 9.5 bm25',
      '1 Q0 10 2 9.0 bm25',
      '1 Q0 12 3 1.5 bm25',
      '2 Q0 12 1 3 bm25',
      '2 Q0 13 2 2 bm25',
    ]);
  });

  it('a run with queries, collection, judgements and another teacher’s ranks', async () => {
    put('teacher.run', ['1 Q0 12 1 1 zephyr', '1 Q0 10 2 2 zephyr', '1 Q0 11 3 3 zephyr']);
    const { lists } = await raw({ ...run, qrels: 'qrels.txt', teacher: 'teacher.run', teacherValue: 'rank' });
    expect(lists).toMatchObject([
      { qid: '1', docids: ['11', '10', '12'], relevance: [0, 1, 0], teacher: [-3, -2, -1] },
      { qid: '2', docids: ['12', '13'], relevance: [0, 0] },
    ]);
    expect(lists[1]).not.toHaveProperty('teacher');
    await expect(raw({ ...run, teacher: 'teacher.run' })).rejects.toThrow(/teacher\.run:3: .*teacherValue: rank/);
  });

  it('its own scores are the teacher’s where there is no other; relevant passages may be added', async () => {
    const { lists } = await raw({ ...run, qrels: 'qrels.txt' });
    expect(lists[0]!.teacher).toEqual([9.5, 9, 1.5]);
    const { lists: added } = await raw({ ...run, qrels: 'qrels.txt', addRelevant: true });
    expect(added[0]).toMatchObject({ docids: ['11', '10', '12', '14'], relevance: [0, 1, 0, 2] });
    // The teacher has no score for the passage that was added.
    expect(added[0]).not.toHaveProperty('teacher');
  });

  it('judged queries that have no list are counted', async () => {
    put('more.txt', ['1 0 10 1', '3 0 10 1', '4 0 11 0']);
    const { lists, skipped } = await raw({ ...run, qrels: 'more.txt' });
    expect([lists.length, skipped]).toEqual([2, { 'judged query without a list': 2 }]);
    put('lists.jsonl', [
      '{"query":{"qid":645990474109599745,"text":"x"},"candidates":[{"docid":645990474109599744,"score":1,"doc":"t"}]}',
    ]);
    put('long.jsonl', [
      '{"qid":645990474109599745,"docid":645990474109599744,"rel":1}',
      '{"qid":645990474109599744,"docid":1,"rel":1}',
    ]);
    const exact = await raw({ format: 'rank_llm', path: 'lists.jsonl', qrels: 'long.jsonl' });
    expect(exact.lists).toMatchObject([{ qid: '645990474109599745', docids: ['645990474109599744'], relevance: [1] }]);
    expect(exact.skipped).toEqual({ 'judged query without a list': 1 });
  });

  it('passages that the collection lacks leave their list, relevant ones too', async () => {
    put('gone.txt', ['1 0 10 1', '1 0 gone 1', '2 0 gone 1']);
    put('gone.run', ['1 Q0 lost 1 9 x', '1 Q0 10 2 8 x', '1 Q0 11 3 7 x', '2 Q0 lost 1 9 x']);
    const source = { ...run, path: 'gone.run', qrels: 'gone.txt', addRelevant: true };
    const { lists, skipped } = await raw(source);
    expect(lists).toEqual([
      {
        qid: '1',
        query: 'short query',
        docids: ['10', '11'],
        passages: ['ten', 'eleven'],
        relevance: [1, 0],
        teacher: [8, 7],
      },
    ]);
    expect(skipped).toEqual({ 'passage of a list that the collection lacks': 2, 'unknown passage': 1 });
  });

  it('faults have file and line', async () => {
    put('torn.run', ['1 Q0 10 1 9 x', '2 Q0 12 1 9 x', '1 Q0 11 2 8 x']);
    await expect(raw({ ...run, path: 'torn.run' })).rejects.toThrow(
      /torn\.run:3: expected all lines of a query together/,
    );
    put('word.run', ['1 Q0 10 1 high x']);
    await expect(raw({ ...run, path: 'word.run' })).rejects.toThrow(/word\.run:1: expected a number as score/);
    await expect(raw({ format: 'trec', path: 'first.run' })).rejects.toThrow(/`queries` and `collection`/);
    await expect(raw({ format: 'jsonl', path: 'rows.jsonl', qrels: 'qrels.txt' })).rejects.toThrow(
      /`qrels`, which would have no effect/,
    );
  });

  it('held-out queries are left out, random negatives are never judged passages', async () => {
    const { lists, skipped } = await raw({ ...run, qrels: 'qrels.txt', excludeJudged: 'qrels.txt' });
    expect([lists.length, skipped]).toEqual([0, { 'held out': 2 }]);
    const { lists: wide } = await raw({ ...run, qrels: 'qrels.txt', randomNegatives: 40 });
    expect([...wide[0]!.docids].sort()).toEqual(['10', '11', '12', '13']);
    expect(wide[0]!.teacher!.at(-1)).toBeLessThan(1.5);
  });

  it('a BEIR folder with a run of candidates', async () => {
    put('beir/corpus.jsonl', ['{"_id":"d1","title":"T","text":"one"}', '{"_id":"d2","title":"","text":"two"}']);
    put('beir/queries.jsonl', ['{"_id":"q1","text":"what"}', '{"_id":"q2","text":"unjudged"}']);
    put('beir/qrels/train.tsv', ['query-id\tcorpus-id\tscore', 'q1\td2\t1', 'q3\td2\t1']);
    put('beir.run', ['q1 Q0 d1 1 2.5 bm25', 'q1 Q0 d2 2 1.5 bm25']);
    const { lists, skipped } = await raw({ format: 'beir', path: 'beir', candidates: join(folder, 'beir.run') });
    expect(skipped).toEqual({ 'judged query without a list': 1 });
    expect(lists).toMatchObject([{ qid: 'q1', passages: ['T one', 'two'], relevance: [0, 1], teacher: [2.5, 1.5] }]);
  });
});

describe('openSources', () => {
  it('leaves out what the objective cannot use, counted in the first pass only', async () => {
    put('mixed.jsonl', [
      '{"query":"a","pos":["p"],"neg":["n"],"pos_scores":[3],"neg_scores":[1]}',
      '{"query":"b","pos":["p"],"neg":["n"]}',
    ]);
    const data = {
      train: [dataSourceSchema.parse({ format: 'jsonl', path: 'mixed.jsonl' })],
      sampler: samplerSchema.parse({}),
    };
    const source = await openSources(data, folder, { relevance: true, teacher: true });
    for (let pass = 0; pass < 3; pass++) {
      const queries: string[] = [];
      for await (const { query } of source.lists(pass)) queries.push(query);
      expect(queries).toEqual(['a']);
    }
    expect(source.skipped()).toEqual({ 'no teacher score': 1 });
    expect(source.files).toEqual([
      { path: join(folder, 'mixed.jsonl'), sha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
    ]);
  });
});

describe.skipIf(!existsSync(SHARED))('real files (needs ../shared/data)', () => {
  it('FlagEmbedding’s examples', async () => {
    const { lists, skipped } = await raw(
      { format: 'jsonl', path: 'flagembedding-examples/reranker.examples.jsonl' },
      SHARED,
    );
    expect([lists.length, skipped]).toEqual([10, {}]);
  });

  it('TREC-DL 2022 without judgements: SPLADE is the teacher, its best passages count as relevant', async () => {
    const path = 'trec-dl/SPLADE_P_P_ENSEMBLE_DISTIL.dl22.top100.json';
    const { lists } = await raw({ format: 'rank_llm', path, teacherPositives: 1 }, SHARED);
    expect(lists.length).toBe(76);
    expect(lists[0]!.relevance.indexOf(1)).toBe(0);
    const falls = lists[0]!.teacher!.every((t, i, all) => i === 0 || t <= all[i - 1]!);
    expect(falls).toBe(true);
  });

  it('WikiQA: sentences of a question, without a teacher', async () => {
    const { lists } = await raw({ format: 'wikiqa', path: 'wikiqa' }, SHARED);
    expect(lists.length).toBe(873);
    expect(lists.flatMap((l) => l.relevance).reduce((a, b) => a + b, 0)).toBe(1040);
    expect(lists[0]).not.toHaveProperty('teacher');
  });

  it('XQuAD: the other paragraphs of the article are the negatives', async () => {
    const { lists } = await raw({ format: 'squad', path: 'xquad-en/xquad.en.json' }, SHARED);
    expect(lists.length).toBe(1190);
    expect(lists.every((l) => l.relevance[0] === 1 && l.passages.length === 5)).toBe(true);
    expect(new Set(lists[0]!.docids.map((id) => id.split('-')[0])).size).toBe(1);
  });
});
