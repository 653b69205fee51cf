import type { Model } from '../../onnx/graph.ts';
import { quantizeModel } from '../../onnx/rewrites/int8.ts';
import { differences, mean } from '../../statistics/samples.ts';
import type { ModelRow } from '../measure/side-rows.ts';
import type { GroupChoice } from './group-search.ts';
import type { Reader } from './reader.ts';

/*
 * Chooses the layers that stay in float32: those that change the scores most for the work they save. The error of a layer's outputs does not
 * show this, since later layers may reduce or amplify it.
 */

/** How the scores change when one group of layers alone is quantized. */
interface Sensitivity {
  /** Variance of the differences of scores: a number added to all scores does not change the order. */
  readonly variance: number;
  /** Multiplications per token. */
  readonly work: number;
}

/** Rows of a batch. */
const BATCH = 16;

/** Returns the population variance, Σ (x − mean)² / n. */
export function varianceOf(x: ArrayLike<number>): number {
  const center = mean(x);
  return mean(Array.from(x, (one) => (one - center) ** 2));
}

/** Returns the scores of rows that files are compared by. */
export async function scoresOf(model: Model, rows: readonly ModelRow[], reader: Reader): Promise<Float32Array> {
  const scorer = await reader.open(model);
  try {
    return reader.compared(rows, await scorer.score(rows, { rows: BATCH }));
  } finally {
    await scorer.close();
  }
}

export interface Sensitivities {
  /** Variance of the float32 scores on the same rows. */
  readonly variance: number;
  /** In the order of the choices. */
  readonly groups: readonly Sensitivity[];
}

/** Quantizes each group alone and measures how the scores change. */
export async function measureSensitivity(
  model: Model,
  choices: readonly GroupChoice[],
  rows: readonly ModelRow[],
  { reader, onGroup }: { readonly reader: Reader; readonly onGroup?: (done: number) => void },
): Promise<Sensitivities> {
  const sorted = [...rows].sort((a, b) => a.ids.length - b.ids.length);
  const exact = await scoresOf(model, sorted, reader);
  const groups: Sensitivity[] = [];
  for (const { quantization } of choices) {
    const got = await scoresOf(quantizeModel(model, [quantization], { tables: false }), sorted, reader);
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
 * Returns the places of the groups that stay in float32: those with the most variance for their work, until the sum of the others' variances
 * (errors of layers taken as independent) is below `noise`² of the scores'. Their work is at most `share` of all work.
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
