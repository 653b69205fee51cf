import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { armAt, bucketRanges, inNamespace, unitPoint } from '../../../src/experiments/assignment/buckets.ts';

// Vectors of GrowthBook's public SDK specification.
const V1: readonly (readonly [string, string, number])[] = [
  ['', 'a', 0.22],
  ['', 'b', 0.077],
  ['b', 'a', 0.946],
  ['ef', 'd', 0.652],
  ['asdf', '8952klfjas09ujk', 0.549],
  ['', '123', 0.011],
  ['', '___)((*":&', 0.563],
];
const V2: readonly (readonly [string, string, number])[] = [
  ['seed', 'a', 0.0505],
  ['seed', 'b', 0.2696],
  ['foo', 'ab', 0.2575],
  ['foo', 'def', 0.2019],
  ['89123klj', '8952klfjas09ujkasdf', 0.124],
  ['90850943850283058242805', '123', 0.7516],
  ['()**(%$##$%#$#', '___)((*":&', 0.0128],
];

describe('unitPoint', () => {
  it.each(V1)('version 1: seed %j, unit %j → %d', (seed, unit, n) => expect(unitPoint(seed, unit, 1)).toBe(n));
  it.each(V2)('version 2: seed %j, unit %j → %d', (seed, unit, n) => expect(unitPoint(seed, unit, 2)).toBe(n));
});

const rounded = (ranges: readonly (readonly [number, number])[]) =>
  ranges.map((r) => r.map((x) => Number(x.toFixed(9))));

describe('bucketRanges', () => {
  it('splits evenly', () =>
    expect(bucketRanges([0.5, 0.5], 1)).toEqual([
      [0, 0.5],
      [0.5, 1],
    ]));
  it('leaves gaps at half coverage', () =>
    expect(bucketRanges([0.5, 0.5], 0.5)).toEqual([
      [0, 0.25],
      [0.5, 0.75],
    ]));
  it('follows weights', () =>
    expect(rounded(bucketRanges([0.2, 0.3, 0.5], 0.2))).toEqual([
      [0, 0.04],
      [0.2, 0.26],
      [0.5, 0.6],
    ]));

  it('raising coverage never moves a unit between arms', () => {
    const weights = fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 2, maxLength: 6 }).map((w) => {
      const sum = w.reduce((a, b) => a + b, 0);
      return w.map((x) => x / sum);
    });
    fc.assert(
      fc.property(
        weights,
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.string(),
        (w, a, b, unit) => {
          const point = unitPoint('s', unit, 2);
          const before = armAt(point, bucketRanges(w, Math.min(a, b)));
          return before === -1 || armAt(point, bucketRanges(w, Math.max(a, b))) === before;
        },
      ),
    );
  });
});

describe('inNamespace', () => {
  it('disjoint shares exclude each other and together hold everybody', () => {
    fc.assert(
      fc.property(fc.string(), (unit) => {
        const first = inNamespace(unit, { name: 'n', range: [0, 0.4] });
        return first !== inNamespace(unit, { name: 'n', range: [0.4, 1] });
      }),
    );
  });
});
