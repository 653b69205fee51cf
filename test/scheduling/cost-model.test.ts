import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { batchMs, type Cost, createCostModel, PRIOR } from '../../src/scheduling/cost-model.ts';
import { createRandom } from '../../src/util/random.ts';

const known = fc.record({
  fixed: fc.double({ min: 0.1, max: 20, noNaN: true }),
  perToken: fc.double({ min: 1e-3, max: 0.5, noNaN: true }),
  perSquare: fc.double({ min: 1e-6, max: 5e-4, noNaN: true }),
});

function feed(model: ReturnType<typeof createCostModel>, truth: Cost, batches: number, seed: number, noise = 0): void {
  const random = createRandom(seed);
  for (let i = 0; i < batches; i++) {
    const rows = 1 + random.below(32);
    const length = 16 + random.below(250);
    const ms = batchMs(truth, rows, length) * (1 + noise * random.normal());
    model.observe({ tokens: rows * length, squares: rows * length * length, ms });
  }
}

describe('cost model', () => {
  it('starts from the prior', () => {
    expect(createCostModel().cost()).toEqual(PRIOR);
    const prior = { fixed: 3, perToken: 0.2, perSquare: 1e-5 };
    expect(createCostModel({ prior }).cost()).toEqual(prior);
  });

  it('recovers the coefficients that made the times', () => {
    fc.assert(
      fc.property(known, fc.nat(), (truth, seed) => {
        const model = createCostModel();
        feed(model, truth, 300, seed);
        const found = model.cost();
        // The fixed cost may be a thousandth of a batch: what counts is that every prediction is right.
        for (const [rows, length] of [
          [1, 16],
          [8, 64],
          [32, 256],
        ] as const) {
          const expected = batchMs(truth, rows, length);
          expect(Math.abs(batchMs(found, rows, length) - expected) / expected).toBeLessThan(2e-3);
        }
        expect(found.perToken).toBeCloseTo(truth.perToken, 3);
        expect(Math.abs(found.perSquare - truth.perSquare)).toBeLessThan(5e-6);
        expect(Math.abs(found.fixed - truth.fixed)).toBeLessThan(0.02 * truth.fixed + 0.02);
      }),
      // The slowest of all, twenty times the prior.
      {
        numRuns: 100,
        examples: [
          [{ fixed: 0.1, perToken: 0.4812, perSquare: 5e-4 }, 2069914086],
          [{ fixed: 20, perToken: 0.5, perSquare: 5e-4 }, 1],
        ],
      },
    );
  });

  it('never goes negative, and predicts within a few percent under 10 % noise', () => {
    fc.assert(
      fc.property(known, fc.nat(), (truth, seed) => {
        const model = createCostModel();
        feed(model, truth, 400, seed, 0.1);
        const { fixed, perToken, perSquare } = model.cost();
        expect(Math.min(fixed, perToken, perSquare)).toBeGreaterThanOrEqual(0);
        const expected = batchMs(truth, 12, 120);
        expect(Math.abs(batchMs(model.cost(), 12, 120) - expected) / expected).toBeLessThan(0.1);
      }),
      { numRuns: 100 },
    );
  });

  it('holds a coefficient at zero rather than below it', () => {
    const model = createCostModel();
    // Sub-linear times: an unconstrained fit would give a negative square term.
    for (let i = 1; i <= 200; i++) {
      const length = 10 + (i % 30) * 8;
      model.observe({ tokens: 8 * length, squares: 8 * length * length, ms: Math.sqrt(8 * length) });
    }
    const { fixed, perToken, perSquare } = model.cost();
    expect(perSquare).toBe(0);
    expect(fixed).toBeGreaterThan(0);
    expect(perToken).toBeGreaterThan(0);
  });

  it('is not misled by times near zero, as answers have that lay waiting and came all at once', () => {
    const model = createCostModel();
    const truth = { fixed: 1, perToken: 0.1, perSquare: 0 };
    feed(model, truth, 200, 1);
    model.observe({ tokens: 800, squares: 80_000, ms: 1e-3 });
    expect(batchMs(model.cost(), 8, 100)).toBeGreaterThan(0.8 * batchMs(truth, 8, 100));
  });

  it('follows an engine that becomes slower', () => {
    const model = createCostModel();
    const before = { fixed: 1, perToken: 0.05, perSquare: 0 };
    const after = { fixed: 2, perToken: 0.15, perSquare: 0 };
    feed(model, before, 200, 1);
    feed(model, after, 800, 2);
    expect(batchMs(model.cost(), 8, 100) / batchMs(after, 8, 100)).toBeCloseTo(1, 2);
  });

  it('is hardly moved by one batch that took a thousand times as long', () => {
    const truth = { fixed: 1, perToken: 0.1, perSquare: 1e-5 };
    const model = createCostModel();
    feed(model, truth, 100, 3);
    model.observe({ tokens: 800, squares: 80_000, ms: 1000 * batchMs(truth, 8, 100) });
    expect(batchMs(model.cost(), 8, 100) / batchMs(truth, 8, 100)).toBeLessThan(1.1);
  });

  it('ignores what is no observation', () => {
    const model = createCostModel();
    for (const ms of [0, -1, Number.NaN]) model.observe({ tokens: 10, squares: 100, ms });
    model.observe({ tokens: 0, squares: 0, ms: 1 });
    expect(model.observations).toBe(0);
    expect(model.cost()).toEqual(PRIOR);
  });
});
