import { WinnowError } from '../../errors.ts';
import type { EncodedRow, PairOptions, PairTokenizer } from '../../tokenization/tokenization-types.ts';
import type { CandidateList } from '../data/list-types.ts';

/** Rows for calibration, and others on which the result is compared. */
interface ParityRows {
  readonly calibration: readonly EncodedRow[];
  readonly check: readonly EncodedRow[];
}

/** Rows for calibration: a hundred show the ranges of every channel. */
const CALIBRATION = 112;
const CHECK = 128;
const PER_LIST = 8;

/**
 * Takes rows from lists in their order: first for calibration, then, of other queries, for the comparison.
 * @throws WinnowError `invalid_input` where there are fewer than 16 of either.
 */
export async function parityRows(
  lists: AsyncIterable<CandidateList> | Iterable<CandidateList>,
  tokenizer: PairTokenizer,
  pairs: PairOptions,
): Promise<ParityRows> {
  const calibration: EncodedRow[] = [];
  const check: EncodedRow[] = [];
  for await (const { query, passages } of lists) {
    const { rows } = await tokenizer.encode(query, passages.slice(0, PER_LIST), pairs);
    if (calibration.length < CALIBRATION) calibration.push(...rows);
    else check.push(...rows);
    if (check.length >= CHECK) break;
  }
  // Little data: alternate rows.
  if (check.length < 16) {
    const all = [...calibration, ...check];
    calibration.splice(0, calibration.length, ...all.filter((_, i) => i % 2 === 0));
    check.splice(0, check.length, ...all.filter((_, i) => i % 2 === 1));
  }
  if (check.length < 16)
    throw new WinnowError('invalid_input', {
      where: 'calibration data',
      expected: 'at least 32 pairs',
      got: `${calibration.length + check.length}`,
    });
  return { calibration, check };
}
