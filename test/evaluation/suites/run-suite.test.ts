import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { WinnowError } from '../../../src/errors.ts';
import { readRun } from '../../../src/evaluation/formats/run.ts';
import { evaluate } from '../../../src/evaluation/measures/evaluation.ts';
import { parseMeasure } from '../../../src/evaluation/measures/measure.ts';
import { runSuite, type SuiteOptions } from '../../../src/evaluation/suites/run-suite.ts';
import type { ScoreRequest, SuiteModels } from '../../../src/evaluation/suites/suite-models.ts';
import { suiteReport } from '../../../src/evaluation/suites/suite-report.ts';
import { parseSuite } from '../../../src/evaluation/suites/suite-schema.ts';
import { renderHtml } from '../../../src/reports/html.ts';
import { renderMarkdown } from '../../../src/reports/markdown.ts';
import { sha256File } from '../../../src/util/files.ts';
import { parseShard } from '../../../src/util/shard.ts';
import { temporaryFolder } from '../formats/temporary-folder.ts';

const TOPICS = ['flea', 'wing', 'shock', 'heat', 'cheese', 'mouse', 'river', 'planet'];

/** A BEIR folder: per topic one passage that names it once, with an exclamation mark, and others that repeat it. */
const beir = (extra = '') => {
  const passages = TOPICS.flatMap((topic, i) => [
    { _id: `${topic}-right`, title: '', text: `the ${topic} explained in full ! and at length, number ${i}${extra}` },
    { _id: `${topic}-wrong`, title: '', text: `${topic} ${topic} ${topic}` },
    { _id: `${topic}-other`, title: '', text: `${topic} and ${TOPICS[(i + 1) % TOPICS.length]}` },
  ]);
  const lines = (rows: readonly object[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join('');
  return {
    'corpus.jsonl': lines(passages),
    'queries.jsonl': lines(TOPICS.map((topic) => ({ _id: `q-${topic}`, text: `what is ${topic}` }))),
    'qrels/test.tsv': `query-id\tcorpus-id\tscore\n${TOPICS.map((topic) => `q-${topic}\t${topic}-right\t1\n`).join('')}`,
  };
};

const folder = temporaryFolder();
const put = (name: string, files: Readonly<Record<string, string>>) =>
  folder.put(Object.fromEntries(Object.entries(files).map(([path, text]) => [`${name}/${path}`, text])));
await put('one', beir());
await put('two', beir(' again'));

type Rule = (query: string, passage: string) => number;
const GOOD: Rule = (_, passage) => (passage.includes('!') ? 1 : 0);
const BAD: Rule = (_, passage) => -GOOD('', passage);

interface Fake extends SuiteModels {
  readonly scored: string[];
}

/** Makes models that score by rules and record their requests. */
function fakeModels(
  models: Readonly<Record<string, { rule: Rule; sha?: string; data?: unknown[]; limit?: number }>>,
): Fake {
  const scored: string[] = [];
  return {
    scored,
    async open(reference) {
      const model = models[reference];
      if (model === undefined) throw new WinnowError('unknown_model', { got: reference, known: 'others' });
      const { sha = reference, data = [], limit } = model;
      return {
        key: `${reference}@1`,
        sha256: sha,
        variant: 'fp32',
        provider: 'cpu',
        pairs: { limit },
        training: { data },
      };
    },
    async *score(reference, _, requests: AsyncIterable<ScoreRequest>) {
      for await (const { qid, query, passages } of requests) {
        scored.push(`${reference} ${qid}`);
        const { rule, limit = query.length } = models[reference]!;
        const queryCut = Math.max(0, query.length - limit);
        yield { qid, scores: passages.map((p) => rule(query, p)), tokens: 10, truncated: 0, queryCut };
      }
    },
  };
}

const suite = (change: object = {}) => ({
  folder: folder.path,
  suite: parseSuite(
    {
      name: 'test',
      depth: 5,
      measures: ['nDCG@10', 'RR@10'],
      sets: [
        { name: 'one', path: 'one', firstStage: 'bm25', group: 'both' },
        { name: 'two', path: 'two', firstStage: 'bm25', group: 'both' },
        { name: 'robust04', path: 'robust04' },
      ],
      models: ['good', 'bad', { name: 'pruned', cascade: [{ model: 'bad', keep: 1 }, { model: 'good' }] }],
      curves: [{ stages: ['first-stage', 'good'], keep: [1, 2, 5] }],
      ...change,
    },
    'suite.yaml',
  ),
});

const BOTH = { good: { rule: GOOD }, bad: { rule: BAD } };
const fresh = (name: string) => join(folder.path, 'out', name);

async function complete(loaded: ReturnType<typeof suite>, models: SuiteModels, options: SuiteOptions) {
  const outcome = await runSuite(loaded, models, options);
  if (outcome.kind !== 'complete') throw new Error(`missing: ${outcome.missing.join(', ')}`);
  return outcome;
}

describe('runSuite', () => {
  it('scores every model on every set, measures and compares', async () => {
    const out = fresh('whole');
    const { result, close } = await complete(suite(), fakeModels(BOTH), { out });
    const [one] = result.sets;
    expect(one?.systems.map(({ system }) => system)).toEqual(['first-stage', 'good', 'bad', 'pruned']);
    const mean = (system: string) => one?.systems.find((s) => s.system === system)?.mean.get('RR@10');
    expect(mean('good')).toBe(1);
    expect(mean('bad')).toBeLessThan(0.5);
    const [good] = one!.comparisons.get('RR@10')!;
    expect(good).toMatchObject({ system: 'good', significant: true });
    expect(one!.comparisons.get('RR@10')).toHaveLength(3);
    expect(result.leftOut).toEqual([{ what: 'robust04', reason: 'nothing at robust04' }]);
    await close();
  });

  it('keeps runs and per-query values that agree with each other', async () => {
    const out = fresh('kept');
    const { result } = await complete(suite(), fakeModels(BOTH), { out });
    const run = await readRun(join(out, 'one', 'good', 'run.trec.gz'));
    const { qrels } = result.sets[0]!.prepared;
    const values = JSON.parse(readFileSync(join(out, 'one', 'good', 'values.json'), 'utf8'));
    const evaluation = evaluate(qrels, run, [parseMeasure('nDCG@10')]);
    expect(values.mean['nDCG@10']).toBe(evaluation.mean.get('nDCG@10'));
    expect(Object.keys(values.perQuery)).toEqual(evaluation.queries);
    expect(existsSync(join(out, 'one', 'pruned', 'values.json'))).toBe(true);
  });

  it('scores again where pairs are cut otherwise, and says of how many queries text was left out', async () => {
    const out = fresh('cut');
    await complete(suite(), fakeModels(BOTH), { out });
    const limited = fakeModels({ ...BOTH, bad: { rule: BAD, limit: 12 } });
    const notes: string[] = [];
    await complete(suite(), limited, { out, observer: { onNote: (text) => void notes.push(text) } });
    expect(new Set(limited.scored.map((line) => line.split(' ')[0]))).toEqual(new Set(['bad']));
    expect(notes).toContain('one: bad left out text of 5 of 8 queries');
    const facts = (system: string) => JSON.parse(readFileSync(join(out, 'one', system, 'cell.json'), 'utf8'));
    expect(facts('bad').truncatedQueries).toBe(5);
    expect(facts('good')).not.toHaveProperty('truncatedQueries');
  });

  it('does nothing twice, and again what changed', async () => {
    const out = fresh('again');
    await complete(suite(), fakeModels(BOTH), { out });
    const second = fakeModels(BOTH);
    await complete(suite(), second, { out });
    expect(second.scored).toEqual([]);
    const measured = fakeModels(BOTH);
    const { result } = await complete(suite({ measures: ['AP'] }), measured, { out });
    expect(measured.scored).toEqual([]);
    expect([...result.sets[0]!.systems[0]!.mean.keys()]).toEqual(['AP']);
    const other = fakeModels({ ...BOTH, bad: { rule: BAD, sha: 'another file' } });
    await complete(suite(), other, { out });
    expect(new Set(other.scored.map((line) => line.split(' ')[0]))).toEqual(new Set(['bad']));
    await put('two', beir(' changed'));
    const changed = fakeModels(BOTH);
    await complete(suite({ models: ['good'], curves: [] }), changed, { out });
    expect(changed.scored).toHaveLength(TOPICS.length);
  });

  it('computes a cell again whose end was never written', async () => {
    const out = fresh('cut');
    await complete(suite(), fakeModels(BOTH), { out });
    await rm(join(out, 'one', 'good', 'cell.json'));
    const models = fakeModels(BOTH);
    await complete(suite(), models, { out });
    expect(models.scored).toHaveLength(TOPICS.length);
    expect(models.scored.every((line) => line.startsWith('good'))).toBe(true);
  });

  it('splits into shards that together are the whole; the last one measures', async () => {
    const out = fresh('shards');
    const models = fakeModels(BOTH);
    const first = await runSuite(suite(), models, { out, shard: parseShard('0/3') });
    expect(first).toMatchObject({ kind: 'partial' });
    expect(await runSuite(suite(), models, { out, shard: parseShard('2/3') })).toMatchObject({ kind: 'partial' });
    const { result } = await complete(suite(), models, { out, shard: parseShard('1/3') });
    expect(models.scored).toHaveLength(4 * TOPICS.length);
    expect(new Set(models.scored).size).toBe(2 * TOPICS.length);
    expect(result.sets).toHaveLength(2);
    expect(await runSuite(suite(), models, { out: fresh('none'), reportOnly: true })).toMatchObject({
      kind: 'partial',
    });
    expect(() => parseShard('3/3')).toThrow(/--shard/);
  });

  it('names models that are not there, and refuses a suite of nothing', async () => {
    const { result } = await complete(suite({ models: ['good', 'ghost'], curves: [] }), fakeModels(BOTH), {
      out: fresh('ghost'),
    });
    expect(result.leftOut.map(({ what }) => what)).toEqual(['robust04', 'ghost']);
    const fp16 = { models: ['good', { model: 'good', variant: 'fp16' }], curves: [] };
    const variants = await complete(suite(fp16), fakeModels(BOTH), { out: fresh('fp16') });
    expect(variants.result.leftOut).toContainEqual({ what: 'good fp16', reason: 'good@1 has no fp16 file' });
    await expect(
      runSuite(suite({ sets: [{ name: 'x', path: 'nowhere' }], curves: [] }), fakeModels(BOTH), { out: fresh('x') }),
    ).rejects.toThrow(/at least 1 set/);
  });

  it('takes candidates from a run file, and leaves out a set whose run is not there', async () => {
    await put('runs', {
      'own.run': TOPICS.map((t) => `q-${t} Q0 ${t}-wrong 1 2 x\nq-${t} Q0 ${t}-right 2 1 x\n`).join(''),
    });
    const sets = [
      { name: 'one', path: 'one', firstStage: { run: 'runs/own.run', name: 'own' } },
      { name: 'two', path: 'two', firstStage: { run: 'runs/none.run' } },
    ];
    const { result } = await complete(suite({ sets, models: ['good'], curves: [] }), fakeModels(BOTH), {
      out: fresh('run'),
    });
    expect(result.leftOut).toEqual([{ what: 'two', reason: 'nothing at runs/none.run' }]);
    const means = result.sets[0]!.systems.map(({ system, mean }) => [system, mean.get('RR@10')]);
    expect(means).toEqual([
      ['first-stage', 0.5],
      ['good', 1],
    ]);
  });

  it('draws the same queries every time, and only as many', async () => {
    const drawn = { sets: [{ name: 'one', path: 'one', queries: 3 }], curves: [] };
    const ids = async (name: string) =>
      (await complete(suite(drawn), fakeModels(BOTH), { out: fresh(name) })).result.sets[0]!.qids;
    const qids = await ids('drawn');
    expect(qids).toHaveLength(3);
    expect(await ids('drawn-again')).toEqual(qids);
  });

  it('reports means of folds', async () => {
    const folds = { s1: TOPICS.slice(0, 4), s2: TOPICS.slice(4) };
    await put('folds', { 'folds.json': JSON.stringify(Object.values(folds).map((list) => list.map((t) => `q-${t}`))) });
    const sets = [{ name: 'one', path: 'one', folds: 'folds/folds.json' }];
    const { result } = await complete(suite({ sets, curves: [] }), fakeModels(BOTH), { out: fresh('folds') });
    const table = (await suiteReport(result)).sections.find(({ title }) => title === 'one by fold, nDCG@10');
    expect(table).toMatchObject({ kind: 'table', rows: { length: 4 } });
  });
});

describe('the report of a suite', () => {
  it('marks significance and sets seen in training, and names what is left out', async () => {
    const out = fresh('report');
    const sha256 = await sha256File(join(folder.path, 'one', 'corpus.jsonl'));
    const models = { good: { rule: GOOD, data: [{ file: 'mine.jsonl', sha256 }] }, bad: { rule: BAD } };
    const { result } = await complete(suite(), fakeModels(models), { out });
    const report = await suiteReport(result);
    const markdown = renderMarkdown(report);
    expect(markdown).toMatch(/\| system \| one \| two \| both \(mean of 2\) \|/);
    expect(markdown).toMatch(/\| good \| 1\.000▲‡ \| \*\*1\.000▲\*\* \| 1\.000‡ \|/);
    expect(markdown).toContain('one: corpus.jsonl is among its training data (same sha256) (good, pruned).');
    expect(markdown).toContain('robust04: nothing at robust04.');
    const html = await renderHtml(report);
    for (const part of ['Cascade on one', 'Effectiveness against cost', 'Queries that differ on two'])
      expect(html).toContain(part);
  });

  it('draws cascade curves that start at the first stage and end at the whole model', async () => {
    const { result } = await complete(suite(), fakeModels(BOTH), { out: fresh('curve') });
    const report = await suiteReport(result);
    const curve = report.sections.find((section) => section.kind === 'curve')!;
    const points = curve.lines[0]!.points;
    const mean = (system: string) => result.sets[0]!.systems.find((s) => s.system === system)!.mean.get('nDCG@10');
    expect(points[0]).toMatchObject({ x: 0, y: mean('first-stage') });
    expect(points[1]).toMatchObject({ x: 1, y: mean('first-stage') });
    expect(points.at(-1)?.y).toBe(mean('good'));
    expect(points.map(({ x }) => x)).toEqual(points.map(({ x }) => x).toSorted((a, b) => a - b));
  });

  it('leaves the baseline out of its own correction', async () => {
    const { result } = await complete(suite({ baseline: 'good', correction: 'bonferroni' }), fakeModels(BOTH), {
      out: fresh('baseline'),
    });
    const comparisons = result.sets[0]!.comparisons.get('nDCG@10')!;
    expect(comparisons.map(({ system }) => system)).toEqual(['first-stage', 'bad', 'pruned']);
    for (const { p, adjustedP } of comparisons) expect(adjustedP).toBeCloseTo(Math.min(1, 3 * p), 12);
  });

  it('leaves no temporary files', () => {
    const all = readdirSync(join(folder.path, 'out'), { recursive: true, encoding: 'utf8' });
    expect(all.filter((path) => path.includes('.tmp'))).toEqual([]);
  });
});
