import type { Model } from '../../onnx/graph.ts';
import { encodeModel } from '../../onnx/protobuf.ts';
import { quantizeModel } from '../../onnx/rewrites/int8.ts';
import { differences, mean } from '../../statistics/samples.ts';
import type { EncodedRow } from '../../tokenization/tokenization-types.ts';
import { openRowScorer } from '../step/row-scorer.ts';
import type { GroupChoice } from './search.ts';

/*
 * Which layers stay in float32: those whose integers move the scores most for what they save. A layer's own error says little of that: what
 * one layer gets wrong the next may forgive, or double.
 */

/** What one group of layers does to the scores when it alone is in integers. */
interface Sensitivity {
  /** Variance of the scores' differences: a number added to all scores changes no order. */
  readonly variance: number;
  /** Multiplications a token. */
  readonly work: number;
}

const BATCH = 16;

/** Of the values themselves: over n, not n − 1. */
export function varianceOf(x: ArrayLike<number>): number {
  const center = mean(x);
  return mean(Array.from(x, (one) => (one - center) ** 2));
}

async function scoresOf(model: Model, rows: readonly EncodedRow[], padId: number): Promise<Float32Array> {
  const scorer = await openRowScorer(encodeModel(model), { padId });
  try {
    return await scorer.score(rows, { rows: BATCH });
  } finally {
    await scorer.close();
  }
}

interface Sensitivities {
  /** Of the float32 scores on the same rows. */
  readonly variance: number;
  /** In the order of the choices. */
  readonly groups: readonly Sensitivity[];
}

/** Puts each group into integers alone and looks at the scores. */
export async function measureSensitivity(
  model: Model,
  choices: readonly GroupChoice[],
  rows: readonly EncodedRow[],
  { padId, onGroup }: { readonly padId: number; readonly onGroup?: (done: number) => void },
): Promise<Sensitivities> {
  const sorted = [...rows].sort((a, b) => a.ids.length - b.ids.length);
  const exact = await scoresOf(model, sorted, padId);
  const groups: Sensitivity[] = [];
  for (const { quantization } of choices) {
    const got = await scoresOf(quantizeModel(model, [quantization], { tables: false }), sorted, padId);
    const { layers } = quantization.group;
    groups.push({
      variance: varianceOf(differences(got, exact)),
      work: layers.reduce((sum, { matrix }) => sum + matrix.dims[0]! * matrix.dims[1]!, 0),
    });
    onGroup?.(groups.length);
  }
  return { variance: varianceOf(exact), groups };
}

/**
 * Places of the groups that stay in float32: those with the most variance for their work, until what is left is below `noise` of the scores'
 * standard deviation, errors of layers taken as independent; at most `share` of all work.
 */
export function chooseKept(
  { variance, groups }: Sensitivities,
  { noise, share }: { readonly noise: number; readonly share: number },
): ReadonlySet<number> {
  const bound = noise ** 2 * variance;
  let left = groups.reduce((sum, g) => sum + g.variance, 0);
  let room = share * groups.reduce((sum, g) => sum + g.work, 0);
  const kept = new Set<number>();
  const ordered = [...groups.entries()].sort(([, a], [, b]) => b.variance / b.work - a.variance / a.work);
  for (const [place, group] of ordered) {
    if (left <= bound) break;
    if (group.work > room) continue;
    kept.add(place);
    left -= group.variance;
    room -= group.work;
  }
  return kept;
}
