import type { SelfTest } from '../../registry/manifest.ts';
import { type PairLimits, pairsWithin } from '../../registry/pair-limits.ts';
import type { SideEncoder } from '../../registry/registry-types.ts';
import { toleranceFor } from '../../registry/version-self-test.ts';
import { createLocalTokenizer } from '../../tokenization/local.ts';
import type { EncodedRow, PairTokenizer } from '../../tokenization/tokenization-types.ts';
import { openRowScorer } from '../step/row-scorer.ts';
import { type ModelRow, rowScores, sideRows } from './side-rows.ts';

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

/** Tokenizes the self-test pairs. */
export async function selfTestPairs(tokenizer: PairTokenizer, limits: PairLimits): Promise<EncodedRow[]> {
  const rows: EncodedRow[] = [];
  for (const [query, passage] of SELF_TEST)
    rows.push(...(await tokenizer.encode(query, [passage], pairsWithin(limits))).rows);
  return rows;
}

/** Scores the self-test pairs one by one with a file to be served. @param encoder Of a bi-encoder. */
export async function selfTestScores(
  file: string,
  folder: string,
  limits: PairLimits,
  encoder?: SideEncoder,
): Promise<number[]> {
  const tokenizer = await createLocalTokenizer(folder);
  const scorer = await openRowScorer(file, { padId: tokenizer.padId }, { threads: 1 });
  try {
    const rows: ModelRow[] = [];
    const pairs = pairsWithin(limits);
    for (const [list, [query, passage]] of SELF_TEST.entries())
      rows.push(
        ...(encoder
          ? await sideRows(tokenizer, { query, passages: [passage], list }, pairs, encoder)
          : (await tokenizer.encode(query, [passage], pairs)).rows),
      );
    const scores = rowScores(rows, await scorer.score(rows, { rows: 1 }));
    return Array.from(scores.map((x) => x * (encoder?.scale ?? 1)));
  } finally {
    await scorer.close();
    await tokenizer.close();
  }
}

/** Makes the self-test of a version from the scores of each of its files. @param encoder Of a bi-encoder. */
export function selfTest(byVariant: Readonly<Record<string, readonly number[]>>, encoder?: SideEncoder): SelfTest {
  return {
    tolerance: toleranceFor(SELF_TEST_TOLERANCE, encoder, Object.values(byVariant).flat()),
    pairs: SELF_TEST.map(([query, passage], i) => ({
      query,
      passage,
      scores: Object.fromEntries(Object.entries(byVariant).map(([variant, scores]) => [variant, scores[i]!])),
    })),
  };
}
