import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { GraphBuilder, modelOf } from '../../../src/onnx/builder.ts';
import { openRunner } from '../../../src/onnx/runner.ts';
import { float32, numbers } from '../../../src/onnx/tensor.ts';
import {
  createObjective,
  OBJECTIVES,
  type ObjectiveSpec,
  PAPER_OBJECTIVES,
} from '../../../src/training/objectives/catalog.ts';

interface Lists {
  readonly scores: readonly number[][];
  readonly relevance?: readonly number[][];
  readonly teacher?: readonly number[][];
  readonly valid?: readonly number[][];
}

/** Computes the loss of an objective by the engine. */
async function evaluator(spec: ObjectiveSpec) {
  const g = new GraphBuilder('loss');
  const values = Object.fromEntries(
    ['scores', 'relevance', 'teacher', 'valid'].map((name) => [name, g.input(name, 'float32', ['Q', 'n'])]),
  );
  const loss = createObjective(spec).build(g, values as never);
  g.output(loss, 'float32', [], 'loss');
  const runner = await openRunner(modelOf(g.build()));
  return async (lists: Lists): Promise<number> => {
    const q = lists.scores.length;
    const n = lists.scores[0]!.length;
    const of = (x: readonly number[][] | undefined, fill: number) =>
      float32([q, n], x ? x.flat() : new Array<number>(q * n).fill(fill));
    const feeds = {
      scores: of(lists.scores, 0),
      relevance: of(lists.relevance, 0),
      teacher: of(lists.teacher, 0),
      valid: of(lists.valid, 1),
    };
    return numbers((await runner.run(feeds)).loss!)[0]!;
  };
}

// The published vectors: one list, binary labels, teacher scores.
const LIST = { scores: [[2, 0.5, -1, 1.5]], relevance: [[1, 0, 0, 0]], teacher: [[4, 1, 2, 3]] };
const VECTORS: readonly (readonly [string, number])[] = [
  ['BCE', 0.77892],
  ['Hinge', 0.166667],
  ['InfoNCE', 0.630978],
  ['DistillRankNET', 0.469607],
  ['ADR-MSE', 0.326025],
];

describe('every objective', () => {
  it('has a published loss or a formula below', () => {
    const covered = [...VECTORS.map(([name]) => name), 'MarginMSE', ...Object.keys(FORMULAS)];
    expect([...OBJECTIVES.keys()].filter((name) => !covered.includes(name))).toEqual([]);
  });

  it.each([...OBJECTIVES.keys()])('%s has the name of its kind', (name) =>
    expect(createObjective(name).name).toBe(name),
  );

  it.each([...OBJECTIVES.keys()])('%s says whether it determines where 0 lies', async (name) => {
    const loss = await evaluator(name);
    const moved = LIST.scores.map((list) => list.map((s) => s + 3));
    const change = Math.abs((await loss({ ...LIST, scores: moved })) - (await loss(LIST)));
    if (createObjective(name).anchored) expect(change).toBeGreaterThan(0.1);
    else expect(change).toBeLessThan(1e-5);
  });

  it('a sum is anchored by any of its parts', () => {
    const sum = (...names: string[]) => createObjective({ sum: names.map((objective) => ({ objective, weight: 1 })) });
    expect(sum('InfoNCE', 'BCE').anchored).toBe(true);
    expect(sum('InfoNCE', 'Hinge').anchored).toBe(false);
  });
});

describe('the six objectives', () => {
  it('are all in the catalog', () => expect(PAPER_OBJECTIVES.every((name) => OBJECTIVES.has(name))).toBe(true));

  it.each(VECTORS)('%s has the published loss %d', async (name, loss) => {
    expect(Math.abs((await (await evaluator(name))(LIST)) - loss)).toBeLessThan(1e-6);
  });

  it('MarginMSE has the published loss 1.13', async () => {
    const loss = await (await evaluator('MarginMSE'))({
      scores: [
        [2, 0.5],
        [0.3, 0.9],
      ],
      relevance: [
        [1, 0],
        [1, 0],
      ],
      teacher: [
        [8, 5],
        [2, 2.5],
      ],
    });
    expect(Math.abs(loss - 1.13)).toBeLessThan(1e-6);
  });
});

/** The formulas again, in plain double arithmetic over one list. */
const softplus = (x: number) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
const logSoftmax = (x: readonly number[]) => {
  const top = Math.max(...x);
  const norm = top + Math.log(x.reduce((sum, v) => sum + Math.exp(v - top), 0));
  return x.map((v) => v - norm);
};
const rankOf = (x: readonly number[]) => x.map((v, i) => 1 + x.filter((w, j) => w > v || (w === v && j < i)).length);
const mean = (x: readonly number[]) => (x.length === 0 ? 0 : x.reduce((a, b) => a + b, 0) / x.length);
const pairsOf = (n: number) => Array.from({ length: n * n }, (_, k) => [Math.floor(k / n), k % n] as const);
type Formula = (s: readonly number[], y: readonly number[], t: readonly number[]) => number;

const FORMULAS: Readonly<Record<string, Formula>> = {
  MSE: (s, _, t) => mean(s.map((v, i) => (v - t[i]!) ** 2)),
  ListMLE: (s, y) => likelihood(s, y, () => 1),
  PListMLE(s, y) {
    const total = s.reduce((sum, _, i) => sum + 2 ** (s.length - 1 - i) - 1, 0);
    return likelihood(s, y, (rank) => (2 ** (s.length - rank) - 1) / total);
  },
  ListNet: (s, y) => -logSoftmax(y).reduce((sum, p, i) => sum + Math.exp(p) * logSoftmax(s)[i]!, 0),
  KLDivergence: (s, _, t) => logSoftmax(t).reduce((sum, p, i) => sum + Math.exp(p) * (p - logSoftmax(s)[i]!), 0),
  LambdaLoss(s, y) {
    const gain = y.map((v) => 2 ** v - 1);
    const ideal = rankOf(y).reduce((sum, r, i) => sum + gain[i]! / Math.log2(1 + r), 0);
    const r = rankOf(s);
    const d = (x: number) => 1 / Math.log2(1 + x);
    return mean(
      pairsOf(s.length)
        .filter(([i, j]) => y[i]! > y[j]!)
        .map(([i, j]) => {
          const gap = Math.abs(r[i]! - r[j]!);
          const weight = 10 * Math.abs(d(gap) - d(gap + 1)) + Math.abs(d(r[i]!) - d(r[j]!));
          return ((weight * Math.abs(gain[i]! - gain[j]!)) / ideal) * (softplus(s[j]! - s[i]!) / Math.LN2);
        }),
    );
  },
  'ADR-MSE'(s, _, t) {
    const soft = s.map((v, i) => 1 + s.reduce((sum, w, j) => (j === i ? sum : sum + 1 / (1 + Math.exp(v - w))), 0));
    return mean(rankOf(t).map((r, i) => (soft[i]! - r) ** 2 / Math.log2(r + 1)));
  },
  DistillRankNET: (s, _, t) =>
    mean(
      pairsOf(s.length)
        .filter(([i, j]) => t[i]! > t[j]!)
        .map(([i, j]) => softplus(s[j]! - s[i]!)),
    ),
};

/** −Σ weight(rank)·log of the probability of being picked next, over the passages in the order of their labels. */
function likelihood(s: readonly number[], y: readonly number[], weight: (rank: number) => number): number {
  const r = rankOf(y);
  return s.reduce((sum, v, i) => {
    const open = s.filter((_, j) => r[j]! >= r[i]!);
    const top = Math.max(...open);
    return sum + weight(r[i]!) * (top + Math.log(open.reduce((all, x) => all + Math.exp(x - top), 0)) - v);
  }, 0);
}

const number = fc.double({ min: -6, max: 6, noNaN: true }).map((x) => Math.fround(x));
const list = fc.integer({ min: 2, max: 12 }).chain((n) =>
  fc.record({
    s: fc.array(number, { minLength: n, maxLength: n }),
    y: fc.array(fc.integer({ min: 0, max: 3 }), { minLength: n, maxLength: n }),
    // Few distinct values, so that ties are common
    t: fc.array(fc.integer({ min: -3, max: 3 }), { minLength: n, maxLength: n }),
  }),
);

describe.each(Object.keys(FORMULAS))('%s', (name) => {
  it('equals its formula in double arithmetic, and padding changes nothing', async () => {
    const loss = await evaluator(name);
    await fc.assert(
      fc.asyncProperty(list, async ({ s, y, t }) => {
        fc.pre(name !== 'LambdaLoss' || Math.max(...y) > 0);
        const expected = FORMULAS[name]!(s, y, t);
        expect(await loss({ scores: [s], relevance: [y], teacher: [t] })).toBeCloseTo(expected, 3);
        const padded = {
          scores: [[...s, 7, 7]],
          relevance: [[...y, 0, 0]],
          teacher: [[...t, 9, 9]],
          valid: [[...s.map(() => 1), 0, 0]],
        };
        expect(await loss(padded)).toBeCloseTo(expected, 3);
      }),
      { numRuns: 60 },
    );
  });
});

describe('BCE with soft labels', () => {
  it('has the label as its target, grades above 1 count as 1', async () => {
    const loss = await evaluator('BCE');
    const scores = [0.7, -1.2, 2];
    const expected = (y: readonly number[]) =>
      scores.reduce((sum, s, i) => sum + Math.log(1 + Math.exp(s)) - y[i]! * s, 0) / 3;
    const of = (y: number[]) => loss({ scores: [scores], relevance: [y], teacher: [[0, 0, 0]] });
    expect(await of([0.1, 0.9, 0.5])).toBeCloseTo(expected([0.1, 0.9, 0.5]), 5);
    expect(await of([0, 4, 0.25])).toBeCloseTo(expected([0, 1, 0.25]), 5);
  });
});

describe('PListMLE', () => {
  it('stays finite for lists of hundreds and is 0 for one passage', async () => {
    const loss = await evaluator('PListMLE');
    const s = Array.from({ length: 300 }, (_, i) => Math.sin(i));
    const y = s.map((_, i) => 300 - i);
    const weight = (rank: number) => 2 ** (1 - rank) - 2 ** (1 - s.length);
    const total = s.reduce((sum, _, i) => sum + weight(i + 1), 0);
    const expected = likelihood(s, y, (rank) => weight(rank) / total);
    expect(await loss({ scores: [s], relevance: [y] })).toBeCloseTo(expected, 4);
    expect(await loss({ scores: [[3]], relevance: [[1]] })).toBeCloseTo(0, 9);
  });
});

describe('a weighted sum', () => {
  it('is the weighted sum of its parts', async () => {
    const sum = await evaluator({
      sum: [
        { objective: 'BCE', weight: 0.5 },
        { objective: { name: 'Hinge', margin: 2 }, weight: 2 },
      ],
    });
    const parts = [await (await evaluator('BCE'))(LIST), await (await evaluator({ name: 'Hinge', margin: 2 }))(LIST)];
    expect(await sum(LIST)).toBeCloseTo(0.5 * parts[0]! + 2 * parts[1]!, 6);
  });
});

describe('bad recipes', () => {
  it('are refused with the names of the objectives', () =>
    expect(() => createObjective('Triplet')).toThrow(/expected one of BCE, Hinge.*got "Triplet"/));
  it('are refused with the name of the option', () =>
    expect(() => createObjective({ name: 'Hinge', margin: -1 })).toThrow(/objective Hinge\.margin/));
});
