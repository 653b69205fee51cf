import { listScale } from '../../util/standardize.ts';
import type { ScoredList } from './margins.ts';
import { addSums, type Sums, solveRidge, sumsOf } from './ridge.ts';

/** Features and scores of the passages of a list. */
export interface ListFeatures {
  readonly query: string;
  readonly features: readonly Float32Array[];
  readonly scores: Float32Array;
}

interface FittedEarly {
  readonly weights: Float32Array;
  /** The lists with early scores of weights that were fitted without them. */
  readonly apart: readonly ScoredList[];
}

/** Ridges that are tried, as parts of the squares of each feature. */
const RIDGES = [0.3, 1, 3];

/** Parts of the lists; each is scored by weights of the others. */
const PARTS = 4;

/** Passages of a part of the sums: their features fit into memory twice. */
const CHUNK = 8192;

/** Returns a list less its means, with scores of deviation 1: only differences inside a list decide what is pruned. */
function centered({ features, scores }: ListFeatures): { rows: Float32Array; targets: Float32Array } {
  const n = scores.length;
  const width = features[0]!.length;
  const rows = new Float32Array(n * width);
  const means = new Float64Array(width);
  for (const row of features) for (let c = 0; c < width; c++) means[c]! += row[c]! / n;
  for (const [i, row] of features.entries()) for (let c = 0; c < width; c++) rows[i * width + c] = row[c]! - means[c]!;
  const { mean, deviation } = listScale(scores);
  return { rows, targets: scores.map((score) => (score - mean) / deviation) };
}

/** Returns the sums of some lists. */
async function sumsOfLists(lists: readonly ListFeatures[], width: number): Promise<Sums> {
  let total: Sums = { gram: new Float64Array(width * width), moment: new Float64Array(width) };
  let batch: ReturnType<typeof centered>[] = [];
  const flush = async () => {
    const n = batch.reduce((sum, { targets }) => sum + targets.length, 0);
    const [rows, targets] = [new Float32Array(n * width), new Float32Array(n)];
    let at = 0;
    for (const part of batch) {
      rows.set(part.rows, at * width);
      targets.set(part.targets, at);
      at += part.targets.length;
    }
    batch = [];
    if (n > 0) total = addSums(total, await sumsOf(rows, targets, width));
  };
  for (const list of lists) {
    batch.push(centered(list));
    if (batch.reduce((sum, { targets }) => sum + targets.length, 0) >= CHUNK) await flush();
  }
  await flush();
  return total;
}

function score({ features, scores }: ListFeatures, weights: ArrayLike<number>): ScoredList {
  const early = Float32Array.from(features, (row) => row.reduce((sum, x, i) => sum + x * weights[i]!, 0));
  return { early, scores };
}

/** Returns how well early scores follow the scores inside lists, as the correlation of both. */
function agreement(lists: readonly ScoredList[]): number {
  let [xy, xx, yy] = [0, 0, 0];
  for (const { early, scores } of lists) {
    const n = scores.length;
    const [mx, my] = [early, scores].map((values) => values.reduce((sum, x) => sum + x, 0) / n) as [number, number];
    for (const [i, x] of early.entries()) {
      xy += (x - mx) * (scores[i]! - my);
      xx += (x - mx) ** 2;
      yy += (scores[i]! - my) ** 2;
    }
  }
  return xx > 0 && yy > 0 ? xy / Math.sqrt(xx * yy) : 0;
}

/**
 * Fits the weights of the early score by least squares with a ridge. The ridge is the one with which lists that were left out are estimated best.
 * All lists of a query are left out together.
 */
export async function fitEarly(lists: readonly ListFeatures[]): Promise<FittedEarly> {
  const queries = [...new Set(lists.map(({ query }) => query))];
  const partOf = new Map(queries.map((query, i) => [query, i % PARTS]));
  const width = lists[0]!.features[0]!.length;
  const parts = Array.from({ length: PARTS }, (_, p) => lists.filter(({ query }) => partOf.get(query) === p));
  const sums: Sums[] = [];
  for (const part of parts) sums.push(await sumsOfLists(part, width));
  const without = (p: number) => sums.filter((_, i) => i !== p).reduce(addSums);
  const tried = RIDGES.map((ridge) => {
    const apart = parts.flatMap((part, p) => {
      const weights = solveRidge(without(p), ridge);
      return part.map((list) => score(list, weights));
    });
    return { ridge, apart, agreement: agreement(apart) };
  });
  const best = tried.reduce((a, b) => (b.agreement > a.agreement ? b : a));
  return { weights: Float32Array.from(solveRidge(sums.reduce(addSums), best.ridge)), apart: best.apart };
}
