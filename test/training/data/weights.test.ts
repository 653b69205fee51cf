import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dataSourceSchema, samplerSchema } from '../../../src/training/data/data-schema.ts';
import { withInBatch } from '../../../src/training/data/in-batch.ts';
import { type CandidateList, skipCount } from '../../../src/training/data/list-types.ts';
import { PairSet } from '../../../src/training/data/pair-set.ts';
import { openRaw } from '../../../src/training/data/sources.ts';
import { rowOf } from '../../../src/training/data/survey/convert.ts';
import { openValidationSet } from '../../../src/training/measure/validation-set.ts';
import { peekRecipe } from '../../../src/training/run/peek.ts';
import { train } from '../../../src/training/run/trainer.ts';
import { mine } from '../../../src/training/teachers/mine.ts';
import { winnow } from '../../support/command.ts';
import { writeTinyModel } from '../../support/tiny-model.ts';
import { tinyRecipe } from '../../support/tiny-recipe.ts';

const folder = mkdtempSync(join(tmpdir(), 'winnow-weights-test-'));
beforeAll(() => writeTinyModel(join(folder, 'tiny')));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let files = 0;
function put(name: string, content: string): string {
  const path = join(folder, `${++files}`, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  return path;
}
const lines = (...rows: unknown[]) => `${rows.map((row) => JSON.stringify(row)).join('\n')}\n`;

async function read(path: string, over: Record<string, unknown> = {}) {
  const format = path.endsWith('.csv') ? 'csv' : 'jsonl';
  const raw = await openRaw(dataSourceSchema.parse({ format, path, ...over }), folder);
  const counts = skipCount();
  const lists: string[] = [];
  for await (const { query, passages, weights } of raw.lists(counts))
    lists.push(`${query}: ${passages.map((text, p) => `${text}${weights ? `*${weights[p]}` : ''}`).join(' ')}`);
  await raw.close();
  return { lists, left: counts.leftOut().map(({ reason, count }) => `${count} ${reason}`), columns: counts.columns() };
}

describe('weights of rows', () => {
  it.each<[string, string, string, string[]]>([
    ['a triple', 'a.jsonl', lines({ query: 'q', positive: 'a', negative: 'b', weight: 2.5 }), ['q: a*2.5 b*2.5']],
    [
      'pairs of one query',
      'a.jsonl',
      lines(
        { query: 'q', passage: 'a', label: 1, sample_weight: 2 },
        { query: 'r', passage: 'a', label: 1, sample_weight: 0 },
        { query: 'q', passage: 'b', label: 0, sample_weight: '0.5' },
      ),
      ['q: a*2 b*0.5', 'r: a*0'],
    ],
    ['a table', 'a.csv', 'query,passage,label,Weight\nq,a,1,1e-3\nq,b,0,3\n', ['q: a*0.001 b*3']],
    ['one each', 'a.jsonl', lines({ query: 'q', docs: ['a', 'b'], labels: [1, 0], weights: [1, 4] }), ['q: a*1 b*4']],
    [
      'one each, with gaps and a repeated passage',
      'a.jsonl',
      lines(
        { query: 'q', positive: 'a', negative_1: null, negative_2: 'b', weights: [1, 4] },
        { query: 'r', pos: ['a'], neg: ['b', 'b', 'c'], weights: [1, 2, 3, 4] },
      ),
      ['q: a*1 b*4', 'r: a*1 b*2 c*4'],
    ],
    ['lists in a table', 'a.csv', 'query,pos,neg,weight\nq,a,"[""b""]","[2, 3]"\n', ['q: a*2 b*3']],
  ])('%s', async (_, name, content, expected) => {
    const { lists, left, columns } = await read(put(name, content));
    expect([lists, left, [...columns.keys()]].flat().slice(0, lists.length)).toEqual(expected);
  });

  it('are 1 where a row has none, which is counted', async () => {
    const content = lines(
      { query: 'q', passage: 'a', label: 1, weight: null },
      { query: 'q', passage: 'b', label: 0 },
      { query: 'q', passage: 'c', label: 0, weight: 3 },
    );
    const { lists, left } = await read(put('a.jsonl', content));
    expect(lists).toEqual(['q: a*1 b*1 c*3']);
    expect(left).toEqual(['2 row without a weight, which counts as 1']);
  });

  it('stand in a column of another name where the source says so, and are left out where it says that', async () => {
    const rows = lines({ query: 'q', positive: 'a', negative: 'b', gewicht: 3, weight: 'heavy' });
    const columns = { gewicht: 'weight', weight: 'ignore' };
    expect((await read(put('a.jsonl', rows), { columns })).lists).toEqual(['q: a*3 b*3']);
  });

  it.each<[string, string, RegExp]>([
    ['negative', 'q,a,1,1\nq,b,0,-1', /a\.csv:3: expected "weight" of at least 0 .*ignore.*got "-1"/],
    ['NaN', 'q,a,1,nan', /a\.csv:2: .*got "nan"/],
    ['infinite', 'q,a,1,Infinity', /a\.csv:2: .*got "Infinity"/],
    ['beyond float32', 'q,a,1,1e39', /a\.csv:2: .*got "1e39"/],
    ['text', 'q,a,1,heavy', /a\.csv:2: expected "weight" of at least 0/],
    [
      'too many',
      'q,a,1,"[1, 2]"',
      /a\.csv:2: expected one number in "weight", or one for each of 1 passages, got "2 n/,
    ],
  ])('%s: refused with file and line', async (_, rows, message) => {
    await expect(read(put('a.csv', `query,passage,label,weight\n${rows}\n`))).rejects.toThrow(message);
  });

  it('in two columns are refused', async () => {
    const row = lines({ query: 'q', positive: 'a', negative: 'b', weight: 1, sample_weight: 2 });
    await expect(read(put('a.jsonl', row))).rejects.toThrow(/a\.jsonl:1: expected one column of weights/);
  });

  it('survive a conversion to JSON lines', async () => {
    const weight = fc.double({ min: 0, max: 9, noNaN: true });
    const list = fc.record({
      labels: fc.array(fc.constantFrom(0, 1, 0.5), { minLength: 2, maxLength: 4 }),
      labeled: fc.boolean(),
      weights: fc.array(weight, { minLength: 4, maxLength: 4 }),
      equal: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(list, async ({ labels, labeled, weights, equal }) => {
        const relevance = labeled ? labels : labels.map((_, p) => +(p === 1));
        const given: CandidateList = {
          qid: '1',
          query: 'q',
          passages: relevance.map((_, p) => `p${p}`),
          relevance,
          weights: relevance.map((_, p) => weights[equal ? 0 : p]! + 0),
          ...(labeled && { labeled: 'as given' }),
        };
        const raw = await openRaw(
          dataSourceSchema.parse({ format: 'jsonl', path: put('a.jsonl', lines(rowOf(given))) }),
          folder,
        );
        for await (const back of raw.lists(skipCount()))
          expect(new Map(back.passages.map((text, p) => [text, back.weights![p]]))).toEqual(
            new Map(given.passages.map((text, p) => [text, given.weights![p]])),
          );
      }),
      { numRuns: 20 },
    );
  });

  it('of in-batch negatives are those of the list that takes them', () => {
    const list = (query: string, weights?: number[]): CandidateList => ({
      qid: query,
      query,
      passages: [`${query}a`, `${query}b`],
      relevance: [1, 0],
      ...(weights && { weights }),
    });
    const options = { count: 1, known: new PairSet() };
    const [first, second] = withInBatch([list('q', [3, 3]), list('r')], options, 1, 0);
    expect(first!.weights).toEqual([3, 3, 3]);
    expect(second!.weights).toBeUndefined();
  });

  it('stay with mined rows', async () => {
    const lists = async function* () {
      const passages = { docids: ['1'], passages: ['a'], relevance: [1] };
      yield { qid: 'q', query: 'q', ...passages, weights: [2] };
    };
    const firstStage = { name: 'own', retrieve: async () => new Map([['q', { docids: ['2'], scores: [1] }]]) };
    const source = { lists: lists(), firstStage, texts: async () => ['b'], teacher: undefined, counts: skipCount() };
    const settings = { ranks: [1, 5] as const, negatives: 1, strategy: 'top' as const, seed: 1 };
    for await (const row of mine(source as never, settings))
      expect(row).toEqual({ query: 'q', pos: ['a'], neg: ['b'], weight: 2 });
  });

  it('of a validation set are reported', async () => {
    const path = put('a.jsonl', lines({ query: 'q', passage: 'a', label: 1, weight: 2 }));
    const set = await openValidationSet({ format: 'jsonl', path }, folder);
    expect(set.notes.join()).toContain('weights of rows are not read');
  });
});

const ROWS = ['waa', 'wba', 'wca', 'wda'].map((word, i) => ({
  query: `${word} waq`,
  positive: word,
  negative: ['wea', 'wfa', 'wga', 'wha'][i],
}));

const recipeOf = (rows: readonly object[], over: Record<string, unknown> = {}) =>
  tinyRecipe(folder, {
    data: { train: [{ format: 'jsonl', path: put('rows.jsonl', lines(...rows)) }], sampler: samplerSchema.parse({}) },
    batch: { queries: 4, bucketBatches: 1 },
    steps: 2,
    validation: undefined,
    ...over,
  });

async function trained(rows: readonly object[], over: Record<string, unknown> = {}) {
  const losses: number[] = [];
  const run = await train(recipeOf(rows, over), join(folder, `run-${++files}`), {
    onStep: ({ loss }) => void losses.push(loss),
  });
  return { losses, weights: [...run.weights].map(([name, data]) => [name, [...data]] as const) };
}

describe('a run on weighted rows', () => {
  it('with weights of 1 gives the bits of one without weights', async () => {
    const weighted = await trained(ROWS.map((row) => ({ ...row, weight: 1 })));
    expect(weighted).toEqual(await trained(ROWS));
  });

  it('has the mean of weight times loss, whatever the micro-batches', async () => {
    const rows = ROWS.map((row, i) => ({ ...row, weight: [0, 2, 0.5, 3][i] }));
    const whole = await trained(rows);
    const split = await trained(rows, { batch: { queries: 1, accumulate: 4, bucketBatches: 1 } });
    expect(split.losses[0]).toBeCloseTo(whole.losses[0]!, 5);
    const double = await trained(rows.map((row) => ({ ...row, weight: 2 * row.weight! })));
    expect(double.losses[0]).toBeCloseTo(2 * whole.losses[0]!, 5);
  });

  it('leaves the model as it was where all weights are 0', async () => {
    const still = { optimizer: { learningRate: 0.1, weightDecay: 0 } };
    const zero = ROWS.map((row) => ({ ...row, weight: 0 }));
    const { losses, weights } = await trained(zero, still);
    expect(losses).toEqual([0, 0]);
    expect(weights).toEqual((await trained(zero, { ...still, steps: 1 })).weights);
  });

  it('is refused where a query has several weights and the loss is one of lists', async () => {
    const pairs = ROWS.flatMap(({ query, positive, negative }) => [
      { query, passage: positive, label: 1, weight: 1 },
      { query, passage: negative, label: 0, weight: 2 },
    ]);
    await expect(trained(pairs)).rejects.toThrow(
      /rows\.jsonl:1, query "waa waq": expected one weight .*got weights 1, 2/,
    );
    expect((await trained(pairs, { objective: 'BCE' })).losses[0]).toBeGreaterThan(0);
  });

  it('shows the weights in --peek and data check', async () => {
    const recipe = recipeOf(ROWS.map((row, i) => ({ ...row, weight: i + 0.21 })));
    const { batches } = await peekRecipe(recipe, 4);
    const seen = batches.flatMap(({ lists }) => lists.map(({ passages }) => passages.map(({ weight }) => weight)));
    expect(seen.sort()).toEqual([0, 1, 2, 3].map((i) => [i + 0.21, i + 0.21]));
    const path = put('a.jsonl', lines({ ...ROWS[0], weight: 0 }, { ...ROWS[1], weight: 3 }));
    const { output } = await winnow('data', 'check', path, '--to', 'jsonl', '--out', join(folder, 'out.jsonl'));
    expect(output).toContain('Weights of passages');
    expect(output).toContain('passage of weight 0, which trains nothing');
    expect(readFileSync(join(folder, 'out.jsonl'), 'utf8')).toContain('"weight":3');
  });
});
