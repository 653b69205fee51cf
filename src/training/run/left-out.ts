import { WinnowError } from '../../errors.ts';
import type { Data } from '../data/data-schema.ts';
import type { LeftOut, ListSource, Usage } from '../data/list-types.ts';

/** Lists of a source that are looked at before the first step: files of tens of millions of rows are not read to the end. */
const LOOKED_AT = 200_000;
const SHARE = 0.5;

const reasonText = ({ reason, count, first }: LeftOut): string =>
  `${count} ${reason}${first === undefined ? '' : ` (first: ${first})`}`;

/** Returns what was left out as text: `3 no positive (first: rows.jsonl:7), …`, most first. */
export const leftOutReasons = (leftOut: readonly LeftOut[]): string =>
  leftOut
    .toSorted((a, b) => b.count - a.count)
    .map(reasonText)
    .join(', ');

const CURES: readonly (readonly [RegExp, string])[] = [
  [
    /no other passage|fewer than two passages/,
    'rows without negatives: `winnow mine` finds some, `inBatch` of the sampler takes those of other rows',
  ],
  [/no teacher score/, 'rows without scores: `winnow score` writes them, `teacher` of the source reads them'],
  [
    /no relevant passage/,
    'rows without a relevant passage: labels or `teacherPositives` name some; MSE, or `mode: list` of the sampler, learns from scores alone',
  ],
];

/** Refuses a source of which more rows are left out than the recipe allows. @throws WinnowError `invalid_input` with the reasons. */
export function refuseLeftOut({ path, used, unused, leftOut }: Usage, share = SHARE): void {
  const all = used + unused;
  if (all === 0 || (used > 0 && unused <= share * all)) return;
  const reasons = leftOutReasons(leftOut);
  const cures = CURES.filter(([pattern]) => pattern.test(reasons)).map(([, cure]) => `; ${cure}`);
  throw new WinnowError('invalid_input', {
    where: `data ${path}`,
    expected:
      used === 0
        ? 'at least one list that the objective can use'
        : `at most ${share * 100} % of the rows to be left out (\`maxLeftOut\` of the recipe's data)`,
    got: `${unused} of ${all} left out: ${reasons}${cures.join('')}`,
  });
}

/**
 * Reads up to 200,000 lists of each source before the first step, and reports what is left out and which columns are not read.
 * @returns what was reported.
 * @throws WinnowError `invalid_input` where more than half of a source's rows, or the recipe's share of them, are left out.
 */
export async function guardLeftOut(
  { maxLeftOut }: Data,
  source: ListSource,
  seed: number,
  note: ((text: string) => void) | undefined,
): Promise<readonly LeftOut[]> {
  // Nothing would be told or refused.
  if (maxLeftOut === 1 && !note) return [];
  const told: LeftOut[] = [];
  for await (const usage of source.usage(seed, LOOKED_AT)) {
    refuseLeftOut(usage, maxLeftOut);
    const { path, used, unused, leftOut, notes } = usage;
    if (leftOut.length > 0)
      note?.(`data ${path}: ${used} of ${used + unused} rows are trained on; left out: ${leftOutReasons(leftOut)}`);
    for (const each of notes) note?.(`data ${path}: ${each}`);
    told.push(...leftOut);
  }
  return told;
}

/** Returns what was left out while the run went on and had not been reported before it. */
export function leftOutSince(told: readonly LeftOut[], leftOut: readonly LeftOut[]): readonly LeftOut[] {
  const before = new Map<string, number>();
  for (const { reason, count } of told) before.set(reason, (before.get(reason) ?? 0) + count);
  return leftOut.filter(({ reason, count }) => count > (before.get(reason) ?? 0));
}
