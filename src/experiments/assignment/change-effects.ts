import type { Experiment } from '../definitions/definition.ts';
import type { BucketRange } from './buckets.ts';
import { rangesOf, seedOf } from './prepared-experiment.ts';

/** Returns each arm's interval of the unit line, by name. */
function namedRanges(experiment: Experiment): ReadonlyMap<string, BucketRange> {
  const ranges = rangesOf(experiment);
  return new Map(experiment.arms.map(({ name }, i) => [name, ranges[i]!]));
}

const length = ([from, to]: BucketRange): number => Math.max(0, to - from);
const overlap = (a: BucketRange, b: BucketRange): number => length([Math.max(a[0], b[0]), Math.min(a[1], b[1])]);

const drawOf = (experiment: Experiment): string =>
  JSON.stringify([seedOf(experiment), experiment.hash.version, experiment.unit]);

/**
 * Returns the share of the units of a split that another definition gives to another arm or to none, 0 to 1. With another seed, hash or unit
 * all are drawn anew.
 */
export function movedShare(before: Experiment, after: Experiment): number {
  const [old, now] = [namedRanges(before), namedRanges(after)];
  const all = [...old.values()].reduce((sum, range) => sum + length(range), 0);
  if (all === 0) return 0;
  const isDrawnAnew = drawOf(before) !== drawOf(after);
  const kept = [...old].reduce((sum, [name, range]) => {
    const next = now.get(name) ?? [0, 0];
    return sum + (isDrawnAnew ? length(range) * length(next) : overlap(range, next));
  }, 0);
  return 1 - kept / all;
}

/** Below this share a change moves no unit: what is left is rounding. */
const NO_SHARE = 1e-6;

/** Says what a change of a definition does to the units and figures of a running split, one line an effect. */
export function changeEffects(before: Experiment, after: Experiment): readonly string[] {
  if (before.mode !== 'split' || after.mode !== 'split') return [];
  const moved = movedShare(before, after);
  const keeps = after.sticky === true && drawOf(before) === drawOf(after);
  const redefined = after.arms.flatMap(({ name, model, instruction }) => {
    const old = before.arms.find((arm) => arm.name === name);
    if (!old || (old.model === model && old.instruction === instruction)) return [];
    const change = old.model === model ? 'has another instruction' : `is ${model} instead of ${old.model}`;
    return [`arm ${name} ${change}: figures begin anew with its first answer`];
  });
  const lost = `${(100 * moved).toFixed(1)} % of the units seen so far get another arm or none, and are left out of the figures`;
  return [...(moved > NO_SHARE && !keeps ? [`${lost}; \`sticky: true\` keeps them in their arm`] : []), ...redefined];
}
