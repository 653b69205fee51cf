/*
 * Deterministic assignment of units to arms by GrowthBook's public hash and bucket ranges: a split made here equals one made by its SDKs,
 * and raising the coverage never moves a unit from one arm to another.
 */

export type HashVersion = 1 | 2;

/** Half-open interval [from, to) of the unit line. */
export type BucketRange = readonly [from: number, to: number];

export interface Namespace {
  readonly name: string;
  /** Share of the namespace this experiment owns. */
  readonly range: BucketRange;
}

/** Hashes a text by FNV-1a, 32 bits, over UTF-16 code units as the reference SDK reads them. */
export function fnv32a(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

const HASHES: Readonly<Record<HashVersion, (seed: string, value: string) => number>> = {
  // Kept for experiments that began in other systems: its values are correlated between seeds and have a grain of 1/1000.
  1: (seed, value) => (fnv32a(value + seed) % 1000) / 1000,
  2: (seed, value) => (fnv32a(String(fnv32a(seed + value))) % 10000) / 10000,
};

/** Returns the place of a unit on the line [0, 1) for a seed. */
export function unitPoint(seed: string, unit: string, version: HashVersion): number {
  return HASHES[version](seed, unit);
}

/**
 * Returns the interval of each arm. Arm i starts where the weights before it end and is `coverage` of its weight long, so that a larger
 * coverage only adds units to an arm.
 * @param weights non-negative, summing to 1 (within 1 %).
 */
export function bucketRanges(weights: readonly number[], coverage: number): readonly BucketRange[] {
  let start = 0;
  return weights.map((weight) => {
    const range: BucketRange = [start, start + coverage * weight];
    start += weight;
    return range;
  });
}

/** Returns the index of the arm whose interval holds the point, or -1 where none does (the unit is not in the experiment). */
export function armAt(point: number, ranges: readonly BucketRange[]): number {
  return ranges.findIndex(([from, to]) => point >= from && point < to);
}

/** Whether a unit falls into an experiment's share of a namespace; experiments with disjoint shares exclude each other. */
export function inNamespace(unit: string, namespace: Namespace): boolean {
  const point = (fnv32a(`${unit}__${namespace.name}`) % 1000) / 1000;
  return point >= namespace.range[0] && point < namespace.range[1];
}
