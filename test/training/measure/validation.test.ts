import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pairsWithin } from '../../../src/registry/pair-limits.ts';
import { createLocalTokenizer } from '../../../src/tokenization/local.ts';
import { openValidation } from '../../../src/training/measure/validation.ts';
import { parseRecipe, type Recipe } from '../../../src/training/recipe/recipe.ts';
import { train } from '../../../src/training/run/trainer.ts';
import { tinyData, WORDS, writeTinyModel } from '../../support/tiny-model.ts';

const folder = mkdtempSync(join(tmpdir(), 'winnow-validation-'));
const QUERIES = 6;
const DEPTH = 8;

/** Lists with one relevant passage each, which is the last. */
function candidates(): object[] {
  return Array.from({ length: QUERIES }, (_, q) => ({
    query: WORDS[q],
    hits: Array.from({ length: DEPTH }, (_, i) => {
      const answer = i === DEPTH - 1 ? q : (q + 1 + i) % 20;
      return { content: WORDS[20 + answer], qid: q, docid: `d${answer}`, rank: i + 1, score: -i };
    }),
  }));
}

beforeAll(async () => {
  await writeTinyModel(join(folder, 'tiny'));
  tinyData(join(folder, 'lists.jsonl'), 200);
  mkdirSync(join(folder, 'dev'));
  writeFileSync(join(folder, 'dev', 'run.json'), JSON.stringify(candidates()));
  writeFileSync(
    join(folder, 'dev', 'qrels.txt'),
    Array.from({ length: QUERIES }, (_, q) => `${q} 0 d${q} 1\n`).join(''),
  );
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function recipe(over: Record<string, unknown> = {}, validation: Record<string, unknown> = {}): Recipe {
  return parseRecipe(
    {
      name: 'tiny',
      backbone: 'tiny',
      objective: 'InfoNCE',
      data: { train: [{ format: 'jsonl', path: 'lists.jsonl' }], sampler: { negatives: 5 } },
      validation: { data: { format: 'rank-llm', path: 'dev/run.json', qrels: 'dev/qrels.txt' }, ...validation },
      batch: { queries: 4, bucketBatches: 4 },
      steps: 20,
      maxLength: 16,
      optimizer: { learningRate: 0.01 },
      dropout: 'off',
      threads: 1,
      ...over,
    },
    'test',
  );
}

async function opened(settings: Record<string, unknown> = {}) {
  const whole = recipe({}, settings);
  const tokenizer = await createLocalTokenizer(join(folder, 'tiny'));
  return openValidation(whole.validation!, folder, tokenizer, pairsWithin(whole));
}

describe('validation', () => {
  it('measures the first stage, and a model that puts the last passage first', async () => {
    const validation = await opened({ measure: 'RR@10' });
    expect(validation.queries).toBe(QUERIES);
    expect(validation.firstStage).toBeCloseTo(1 / DEPTH, 6);
    expect(await validation.value(async (rows) => Float32Array.from(rows, (_, i) => i % DEPTH))).toBe(1);
  });
  it('names judged queries without candidates, and skips an empty map in JSON qrels', async () => {
    const grades = Object.fromEntries(Array.from({ length: QUERIES }, (_, q) => [q, q === 1 ? {} : { [`d${q}`]: 1 }]));
    writeFileSync(join(folder, 'dev', 'more.json'), JSON.stringify({ ...grades, 98: { d1: 1 }, 99: { d1: 1 } }));
    const data = { format: 'rank-llm', path: 'dev/run.json', qrels: 'dev/more.json' };
    const validation = await opened({ data, measure: 'RR@10' });
    expect([validation.queries, validation.notes]).toEqual([
      QUERIES - 1,
      ['validation dev/run.json: 2 judged queries without text or candidates, not measured: 98, 99'],
    ]);
    expect((await opened()).notes).toEqual([]);
  });
  it('re-ranks no deeper than `depth`, for no more than `queries`', async () => {
    const validation = await opened({ depth: DEPTH - 1, queries: 2, measure: 'RR@10' });
    expect(validation.queries).toBe(2);
    let scored = 0;
    const value = await validation.value(async (rows) => {
      scored = rows.length;
      return new Float32Array(rows.length);
    });
    expect(scored).toBe(2 * (DEPTH - 1));
    // The relevant passage lies below the depth.
    expect(value).toBe(0);
  });
  it('takes the lists of a set that has none from the run named by `candidates`', async () => {
    const set = join(folder, 'beir');
    const line = (value: object): string => `${JSON.stringify(value)}\n`;
    const ids = Array.from({ length: 20 }, (_, i) => i);
    mkdirSync(join(set, 'qrels'), { recursive: true });
    writeFileSync(join(set, 'corpus.jsonl'), ids.map((i) => line({ _id: `d${i}`, text: WORDS[20 + i] })).join(''));
    writeFileSync(join(set, 'queries.jsonl'), line({ _id: 'q', text: WORDS[3] }));
    writeFileSync(join(set, 'qrels', 'test.tsv'), 'query-id\tcorpus-id\tscore\nq\td3\t1\n');
    writeFileSync(join(folder, 'bm25.run'), ids.map((i) => `q Q0 d${i} ${i + 1} ${-i} bm25\n`).join(''));
    const data = { format: 'beir', path: 'beir', split: 'test' };
    await expect(opened({ data })).rejects.toThrow('candidate lists');
    const { queries, firstStage } = await opened({ data: { ...data, candidates: 'bm25.run' }, measure: 'RR@10' });
    expect({ queries, firstStage }).toEqual({ queries: 1, firstStage: 1 / 4 });
  });
});

describe('a validation set in a form of training', () => {
  const file = (name: string, ...lines: readonly unknown[]): string => {
    const text = lines.map((line) => `${typeof line === 'string' ? line : JSON.stringify(line)}\n`).join('');
    writeFileSync(join(folder, name), text);
    return name;
  };
  // First stage: w1, w0, w2 with w0 relevant.
  const [q, ...p] = [WORDS[0]!, WORDS[21]!, WORDS[20]!, WORDS[22]!];

  it.each([
    [
      'jsonl',
      () => ({ path: file('v.jsonl', { query: q, docs: p, labels: [0, 1, 0] }) }),
      { queries: 1, passages: 3, value: 1 / 2 },
    ],
    [
      'jsonl',
      () => ({
        path: file('pairs.jsonl', ...p.map((passage, i) => ({ query: q, passage, label: [0.2, 0.9, 0][i] }))),
        minRelevance: 0.5,
      }),
      { queries: 1, passages: 3, value: 1 / 2 },
    ],
    [
      'triples',
      () => ({ path: file('v.tsv', `${q}\t${p[1]}\t${p[0]}`, `${q}\t${p[1]}\t${p[2]}`) }),
      { queries: 1, passages: 3, value: 1 },
    ],
    [
      'teacher-tsv',
      () => ({ path: file('t.tsv', `2\t1\t${q}\t${p[1]}\t${p[0]}`) }),
      { queries: 1, passages: 2, value: 1 },
    ],
    [
      'triples',
      () => ({
        path: file('ids.tsv', '7\t11\t10'),
        queries: file('q.tsv', `7\t${q}`),
        collection: file('c.tsv', `10\t${p[0]}`, `11\t${p[1]}`, `12\t${p[2]}`),
      }),
      { queries: 1, passages: 2, value: 1 },
    ],
    [
      'trec',
      () => ({
        path: file('v.run', '7 Q0 10 1 3 x', '7 Q0 11 2 2 x', '7 Q0 12 3 1 x'),
        queries: file('q.tsv', `7\t${q}`),
        collection: file('c.tsv', `10\t${p[0]}`, `11\t${p[1]}`, `12\t${p[2]}`),
        qrels: file('v.qrels', '7 0 11 2', '7 0 12 1'),
        minRelevance: 2,
      }),
      { queries: 1, passages: 3, value: 1 / 2 },
    ],
    [
      'squad',
      () => ({
        path: file('quad.json', {
          data: [
            {
              paragraphs: [
                { context: p[0], qas: [] },
                { context: p[1], qas: [{ id: 'a', question: q }] },
              ],
            },
          ],
        }),
      }),
      { queries: 1, passages: 2, value: 1 },
    ],
  ] as const)('%s', async (format, data, { value, ...expected }) => {
    const { queries, passages, firstStage } = await opened({ data: { format, ...data() }, measure: 'RR@10' });
    expect({ queries, passages }).toEqual(expected);
    expect(firstStage).toBeCloseTo(value, 12);
  });

  it('counts queries without a relevant passage and rows that are of no use', async () => {
    const path = file(
      'some.jsonl',
      { query: q, docs: p, labels: [0, 1, 0] },
      { query: 'waq wbq', docs: p, labels: [0, 0, 0] },
      { query: 'wcq', positive: p[0], negative: p[0] },
    );
    const { queries, notes } = await opened({ data: { format: 'jsonl', path } });
    expect(queries).toBe(1);
    expect(notes).toEqual([
      'validation some.jsonl: left out: 1 positive equals negative, 1 queries without a relevant passage',
    ]);
  });

  it.each([
    [{ format: 'trec', path: 'v.run' }, /expected `queries`, `collection` and `qrels` .* got no `queries`/],
    [{ format: 'jsonl', path: 'v.jsonl', qrels: 'x' }, /`qrels`, which would have no effect/],
    [
      { format: 'rank-llm', path: 'dev/run.json', qrels: 'dev/qrels.txt', addRelevant: true },
      /`addRelevant`, which adds/,
    ],
    [{ format: 'jsonl', path: 'v.jsonl', labelScale: [0, 3] }, /`labelScale`, which makes targets/],
    [{ format: 'jsonl', path: 'v.jsonl', weight: 2 }, /got `weight`/],
    [
      { format: 'jsonl', path: 'soft.jsonl' },
      /soft.jsonl, query .* expected labels that are whole numbers, or `minRelevance`/,
    ],
  ])('refuses %j', async (data, message) => {
    file('v.run', '7 Q0 10 1 3 x');
    file('v.jsonl', { query: q, docs: p, labels: [0, 1, 0] });
    file('soft.jsonl', { query: q, docs: p, labels: [0, 0.4, 0] });
    await expect(opened({ data })).rejects.toThrow(message);
  });

  it('leaves out the queries that `excludeJudged` names', async () => {
    const data = { format: 'rank-llm', path: 'dev/run.json', qrels: 'dev/qrels.txt' };
    const { queries, notes } = await opened({
      data: { ...data, excludeJudged: file('held.qrels', '0 0 d0 1', '99 0 d 1') },
    });
    expect([queries, notes]).toEqual([
      QUERIES - 1,
      ['validation dev/run.json: 1 queries held out by `excludeJudged`: 0'],
    ]);
  });
});

describe('a run with validation', () => {
  const run = async (over: Record<string, unknown>, validation: Record<string, unknown>, name: string) => {
    const seen: { step: number; value: number; best: boolean }[] = [];
    const settings = { recipe: recipe(over, validation), folder, source: '' };
    const warnings: string[] = [];
    const outcome = await train(settings, join(folder, name), {
      onValidation: (v) => seen.push(v),
      onWarning: (text) => warnings.push(text),
    });
    return { outcome, seen, warnings };
  };

  it('warns of judged queries that it does not measure', async () => {
    writeFileSync(join(folder, 'dev', 'two.txt'), '0 0 d0 1\n77 0 d1 1\n');
    const data = { format: 'rank-llm', path: 'dev/run.json', qrels: 'dev/two.txt' };
    const { warnings } = await run({ steps: 1 }, { data, every: 1 }, 'warns');
    expect(warnings).toContain(
      'validation dev/run.json: 1 judged queries without text or candidates, not measured: 77',
    );
  });

  it('stops after `patience` validations without a better value, and gives the best weights', async () => {
    // A tiny learning rate: no validation after the first is better.
    const { outcome, seen } = await run(
      { optimizer: { learningRate: 1e-12 }, guards: { action: 'warn' } },
      { every: 2, patience: 3 },
      'patience',
    );
    expect(seen.map((v) => v.best)).toEqual([true, false, false, false]);
    expect(outcome.step).toBe(2);
  });

  it('gives the last weights with `weights: last`', async () => {
    // A tiny learning rate: no validation after the first is better.
    const over = { optimizer: { learningRate: 1e-12 }, guards: { action: 'warn' }, steps: 6 };
    const best = await run(over, { every: 2 }, 'keeps-best');
    const last = await run(over, { every: 2, weights: 'last' }, 'keeps-last');
    expect([best.outcome.step, last.outcome.step]).toEqual([2, 6]);
    expect(last.seen.map(({ step, best: kept }) => [step, kept])).toEqual([
      [2, false],
      [4, false],
      [6, true],
    ]);
    expect(last.outcome.validation!.tuned).toBe(last.seen[2]!.value);
  });

  it('refuses `patience` with `weights: last`, which takes all steps', () => {
    expect(() => recipe({}, { weights: 'last', patience: 2 })).toThrow(
      'validation.patience: expected with weights last all steps are taken',
    );
  });

  it('has one line of the curve per step and validation, also when it continues from a checkpoint', async () => {
    const stop = new AbortController();
    const settings = { recipe: recipe({ checkpoint: { every: 5 } }, { every: 10 }), folder, source: '' };
    await train(settings, join(folder, 'curve'), { onStep: (s) => s.step === 7 && stop.abort() }, stop.signal);
    await train(settings, join(folder, 'curve'));
    const points = readFileSync(join(folder, 'curve', 'curve.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { step: number; measure?: string });
    expect(points.filter((p) => !p.measure).map((p) => p.step)).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
    expect(points.filter((p) => p.measure).map((p) => p.step)).toEqual([10, 20]);
  });

  it('trains the head at its own learning rate', async () => {
    const before = (
      await run(
        { steps: 1, objective: 'BCE', optimizer: { learningRate: 1e-12 }, guards: { action: 'warn' } },
        {},
        'still',
      )
    ).outcome.weights;
    const after = (
      await run(
        {
          steps: 3,
          objective: 'BCE',
          optimizer: { learningRate: 1e-12, headLearningRate: 0.01 },
          guards: { action: 'warn' },
        },
        {},
        'head',
      )
    ).outcome.weights;
    const moved = [...after]
      .filter(([name, x]) => x.some((v, i) => Math.abs(v - before.get(name)![i]!) > 1e-4))
      .map(([name]) => name);
    expect(moved.sort()).toEqual(['classifier.bias', 'classifier.weight']);
  });

  it('publishes the moving average of weights', async () => {
    const plain = recipe({ steps: 6 });
    const averaged = recipe({ steps: 6, ema: 0.999 });
    const weightsOf = async (settings: Recipe, name: string) => {
      const { validation: _v, ...rest } = settings;
      return (await train({ recipe: rest, folder, source: '' }, join(folder, name))).weights.get('attention.weight')!;
    };
    const [start, last, mean] = [
      await weightsOf(
        recipe({ steps: 1, optimizer: { learningRate: 1e-12 }, guards: { action: 'warn' } }),
        'ema-start',
      ),
      await weightsOf(plain, 'ema-off'),
      await weightsOf(averaged, 'ema-on'),
    ];
    const distance = (a: Float32Array, b: Float32Array) => Math.hypot(...a.map((x, i) => x - b[i]!));
    expect(distance(mean, start)).toBeGreaterThan(0);
    expect(distance(mean, start)).toBeLessThan(distance(last, start));
  });
});
