import type { SelfTest } from '../../registry/manifest.ts';
import { type PairLimits, pairsWithin } from '../../registry/pair-limits.ts';
import { createLocalTokenizer } from '../../tokenization/local.ts';
import type { EncodedRow } from '../../tokenization/tokenization-types.ts';
import { openRowScorer } from '../step/row-scorer.ts';

/** Pairs that a server scores before it serves the version. They were written for this test and are in no data set. */
const SELF_TEST: readonly (readonly [query: string, passage: string])[] = [
  [
    'how to sharpen a kitchen knife',
    'Hold the blade at a steady angle against the whetstone and draw it from heel to tip.',
  ],
  ['how to sharpen a kitchen knife', 'The museum opens at ten and closes at six, on Mondays it stays shut.'],
  ['opening hours of the museum', 'The museum opens at ten and closes at six, on Mondays it stays shut.'],
  [
    'opening hours of the museum',
    'Hold the blade at a steady angle against the whetstone and draw it from heel to tip.',
  ],
];

/** Allowed difference of scores: int8 kernels differ a little between processors, fp32 ones hardly. */
const SELF_TEST_TOLERANCE = 0.1;

/** Scores the self-test pairs one by one with a file to be served. */
export async function selfTestScores(file: string, folder: string, limits: PairLimits): Promise<number[]> {
  const tokenizer = await createLocalTokenizer(folder);
  const scorer = await openRowScorer(file, { padId: tokenizer.padId }, { threads: 1 });
  try {
    const rows: EncodedRow[] = [];
    for (const [query, passage] of SELF_TEST)
      rows.push(...(await tokenizer.encode(query, [passage], pairsWithin(limits))).rows);
    return Array.from(await scorer.score(rows, { rows: 1 }));
  } finally {
    await scorer.close();
    await tokenizer.close();
  }
}

/** Makes the self-test of a version from the scores of each of its files. */
export function selfTest(byVariant: Readonly<Record<string, readonly number[]>>): SelfTest {
  return {
    tolerance: SELF_TEST_TOLERANCE,
    pairs: SELF_TEST.map(([query, passage], i) => ({
      query,
      passage,
      scores: Object.fromEntries(Object.entries(byVariant).map(([variant, scores]) => [variant, scores[i]!])),
    })),
  };
}
