import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  calibrationError,
  fitLogistic,
  logistic,
  logLoss,
  poolAdjacentViolators,
  reliability,
} from '../../src/statistics/calibration.ts';

interface Case {
  readonly name: string;
  readonly scores: readonly number[];
  readonly labels: readonly number[];
  readonly isotonic: readonly number[];
  readonly slope: number;
  readonly intercept: number;
  readonly logLoss: number;
  readonly predicted: readonly number[];
  readonly observed: readonly number[];
  readonly error: number;
}

/** Made by test/clients/calibration/make_gold.py. */
const GOLD = JSON.parse(readFileSync(join(import.meta.dirname, 'sklearn-calibration.json'), 'utf8')) as {
  readonly cases: readonly Case[];
};

const labeled = fc
  .array(fc.record({ score: fc.integer({ min: -20, max: 20 }), label: fc.integer({ min: 0, max: 1 }) }), {
    minLength: 1,
    maxLength: 60,
  })
  .map((pairs) => ({ scores: pairs.map(({ score }) => score / 4), labels: pairs.map(({ label }) => label) }));

describe.each(GOLD.cases)('scikit-learn: $name', ({ scores, labels, ...gold }) => {
  it('has the same isotonic regression', () => {
    const blocks = poolAdjacentViolators({ scores, labels });
    const order = [...scores.keys()].sort((a, b) => scores[a]! - scores[b]!);
    let at = 0;
    for (const { value, count } of blocks) {
      for (const i of order.slice(at, at + count)) expect(gold.isotonic[i]).toBeCloseTo(value, 10);
      at += count;
    }
    expect(at).toBe(scores.length);
  });

  it('has the same curve', () => {
    const { slope, intercept } = fitLogistic({ scores, labels });
    // Its optimizer stops at a gradient of 1e-5 or so.
    expect(slope / gold.slope).toBeCloseTo(1, 3);
    expect(Math.abs(intercept - gold.intercept)).toBeLessThan(2e-3 * (1 + Math.abs(gold.intercept)));
  });

  it('has the same loss, bins and error', () => {
    const probabilities = scores.map(logistic);
    const bins = reliability(probabilities, labels);
    expect(logLoss(probabilities, labels)).toBeCloseTo(gold.logLoss, 10);
    expect(bins.map(({ predicted }) => predicted)).toEqual(gold.predicted.map((p) => expect.closeTo(p, 10)));
    expect(bins.map(({ observed }) => observed)).toEqual(gold.observed.map((p) => expect.closeTo(p, 10)));
    expect(calibrationError(bins)).toBeCloseTo(gold.error, 10);
  });
});

describe('pooling of adjacent violators', () => {
  it('gives rising scores and values whose mean is that of the labels, whatever the order of the pairs', () => {
    fc.assert(
      fc.property(labeled, fc.integer(), ({ scores, labels }, seed) => {
        const blocks = poolAdjacentViolators({ scores, labels });
        blocks.slice(1).forEach((block, i) => {
          expect(block.score).toBeGreaterThan(blocks[i]!.score);
          expect(block.value).toBeGreaterThan(blocks[i]!.value);
        });
        const total = blocks.reduce((sum, { value, count }) => sum + value * count, 0);
        expect(total).toBeCloseTo(
          labels.reduce((a, b) => a + b, 0),
          8,
        );
        const turned = [...scores.keys()].sort((a, b) => ((a * 7919 + seed) % 61) - ((b * 7919 + seed) % 61));
        const again = poolAdjacentViolators({
          scores: turned.map((i) => scores[i]!),
          labels: turned.map((i) => labels[i]!),
        });
        expect(again.map(({ value }) => value)).toEqual(blocks.map(({ value }) => expect.closeTo(value, 10)));
      }),
    );
  });

  it('has the least squared error of all rising steps over distinct scores', () => {
    // All ways to join neighbors of four scores: the best one whose means rise.
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 1 }), { minLength: 4, maxLength: 4 }), (labels) => {
        const scores = [1, 2, 3, 4];
        const errors = Array.from({ length: 8 }, (_, cuts) => {
          const groups: number[][] = [[labels[0]!]];
          labels.slice(1).forEach((label, i) => {
            if (cuts & (1 << i)) groups.push([label]);
            else groups.at(-1)!.push(label);
          });
          const means = groups.map((group) => group.reduce((a, b) => a + b, 0) / group.length);
          const rises = means.every((mean, i) => i === 0 || mean >= means[i - 1]!);
          const error = groups.reduce((sum, group, i) => sum + group.reduce((s, y) => s + (y - means[i]!) ** 2, 0), 0);
          return rises ? error : Number.POSITIVE_INFINITY;
        });
        const blocks = poolAdjacentViolators({ scores, labels });
        const fitted = blocks.flatMap(({ value, count }) => Array.from({ length: count }, () => value));
        const error = labels.reduce((sum, label, i) => sum + (label - fitted[i]!) ** 2, 0);
        expect(error).toBeCloseTo(Math.min(...errors), 10);
      }),
    );
  });
});

describe('measures in closed form', () => {
  it('log loss and error of hand-made probabilities', () => {
    expect(logLoss([0.5, 0.5], [1, 0])).toBeCloseTo(Math.LN2, 12);
    expect(logLoss([0.8, 0.4], [1, 0])).toBeCloseTo(-(Math.log(0.8) + Math.log(0.6)) / 2, 12);
    expect(Number.isFinite(logLoss([0, 1], [1, 0]))).toBe(true);
    // Two bins: .25 predicted and .5 observed of two pairs, .9 and 1 of one.
    expect(calibrationError(reliability([0.25, 0.25, 0.9], [1, 0, 1]))).toBeCloseTo((2 * 0.25 + 0.1) / 3, 12);
    expect(reliability([1], [1])).toEqual([{ predicted: 1, observed: 1, count: 1 }]);
  });

  it('a curve of two scores has the targets at them', () => {
    // Three pairs at each: the curve can reach Platt's mean targets exactly.
    const { slope, intercept } = fitLogistic({ scores: [0, 0, 0, 1, 1, 1], labels: [0, 0, 1, 1, 1, 0] });
    const [high, low] = [4 / 5, 1 / 5];
    expect(logistic(intercept)).toBeCloseTo((2 * low + high) / 3, 8);
    expect(logistic(slope + intercept)).toBeCloseTo((2 * high + low) / 3, 8);
  });
});
