import { WinnowError } from '../../errors.ts';
import type { PairOptions, PairTokenizer } from '../../tokenization/tokenization-types.ts';
import type { CandidateList } from '../data/list-types.ts';
import { isQuery, type ModelRow, type SidePrefixes, sideRows } from '../measure/side-rows.ts';

/** Rows for calibration, and others on which the result is compared. */
interface ParityRows {
  readonly calibration: readonly ModelRow[];
  readonly check: readonly ModelRow[];
}

/** Pairs for calibration: a hundred show the ranges of every channel. */
const CALIBRATION = 112;
const CHECK = 128;
const PER_LIST = 8;
/** Pairs that either part needs. */
const LEAST = 16;

const pairsIn = (rows: readonly ModelRow[]): number => rows.filter((row) => !isQuery(row)).length;

/** Divides rows of little data: pairs in turn; queries that are read apart go into both parts. */
function inTurn(rows: readonly ModelRow[]): ParityRows {
  const calibration: ModelRow[] = [];
  const check: ModelRow[] = [];
  let pairs = 0;
  for (const row of rows) {
    const both = isQuery(row);
    if (both || pairs % 2 === 0) calibration.push(row);
    if (both || pairs % 2 === 1) check.push(row);
    if (!both) pairs++;
  }
  return { calibration, check };
}

/**
 * Takes rows from lists in their order: first for calibration, then, of other queries, for the comparison.
 * @param prefixes Of a bi-encoder, which reads queries and passages apart.
 * @throws WinnowError `invalid_input` where there are fewer than 16 pairs of either.
 */
export async function parityRows(
  lists: AsyncIterable<CandidateList> | Iterable<CandidateList>,
  tokenizer: PairTokenizer,
  pairs: PairOptions,
  prefixes?: SidePrefixes,
): Promise<ParityRows> {
  const calibration: ModelRow[] = [];
  const check: ModelRow[] = [];
  let list = 0;
  for await (const { query, passages } of lists) {
    const first = passages.slice(0, PER_LIST);
    const rows = prefixes
      ? await sideRows(tokenizer, { query, passages: first, list }, pairs, prefixes)
      : (await tokenizer.encode(query, first, pairs)).rows;
    list++;
    if (pairsIn(calibration) < CALIBRATION) calibration.push(...rows);
    else check.push(...rows);
    if (pairsIn(check) >= CHECK) break;
  }
  if (pairsIn(check) >= LEAST) return { calibration, check };
  const divided = inTurn([...calibration, ...check]);
  if (pairsIn(divided.check) >= LEAST) return divided;
  throw new WinnowError('invalid_input', {
    where: 'calibration data',
    expected: `at least ${2 * LEAST} pairs`,
    got: `${pairsIn(calibration) + pairsIn(check)}`,
  });
}
