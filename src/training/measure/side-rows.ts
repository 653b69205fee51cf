import { queryOptions } from '../../tokenization/query-options.ts';
import type { EncodedRow, PairOptions, PairTokenizer } from '../../tokenization/tokenization-types.ts';
import { dot } from '../../util/vectors.ts';

/** A row of a bi-encoder: a query, or a passage of a query's list. */
interface SideRow extends EncodedRow {
  readonly side: 'query' | 'passage';
  /** Number of the list; equal for a query and its passages. */
  readonly list: number;
}

/** A row of any model: a pair, or one side of it. */
export type ModelRow = EncodedRow | SideRow;

/** What stands before the texts of a bi-encoder. */
export interface SidePrefixes {
  readonly queryPrefix: string;
  readonly passagePrefix: string;
}

const sideOf = (row: ModelRow): SideRow | undefined => ('side' in row ? row : undefined);

/** Whether a row is a query that a bi-encoder reads apart. */
export const isQuery = (row: ModelRow): boolean => sideOf(row)?.side === 'query';

/** Returns the rows of a list as a bi-encoder reads them: the query, then each passage. */
export async function sideRows(
  tokenizer: PairTokenizer,
  { query, passages, list }: { readonly query: string; readonly passages: readonly string[]; readonly list: number },
  pairs: PairOptions,
  { queryPrefix, passagePrefix }: SidePrefixes,
): Promise<readonly SideRow[]> {
  const asked = await tokenizer.encodeTexts([query], { ...queryOptions(pairs), prefix: queryPrefix });
  const read = await tokenizer.encodeTexts(passages, { ...pairs, prefix: passagePrefix });
  return [
    ...asked.rows.map((row) => ({ ...row, side: 'query' as const, list })),
    ...read.rows.map((row) => ({ ...row, side: 'passage' as const, list })),
  ];
}

/** Returns the dot products of each list's query with its passages, list after list, passages in the order of the rows. */
function listScores(rows: readonly SideRow[], numbers: Float32Array): readonly (readonly number[])[] {
  const width = numbers.length / rows.length;
  const vector = (row: number) => numbers.subarray(row * width, (row + 1) * width);
  const queries = new Map<number, Float32Array>();
  const lists = new Map<number, number[]>();
  for (const [r, { side, list }] of rows.entries()) if (side === 'query') queries.set(list, vector(r));
  for (const [r, { side, list }] of rows.entries()) {
    const query = queries.get(list);
    if (side === 'query' || !query) continue;
    lists.set(list, [...(lists.get(list) ?? []), dot(query, vector(r))]);
  }
  return [...lists.values()];
}

/**
 * Returns the scores of rows from the numbers that a model gave for them: the same numbers where rows are pairs; of a bi-encoder, one dot product
 * a passage, list after list.
 */
export function rowScores(rows: readonly ModelRow[], numbers: Float32Array): Float32Array {
  const sides = rows.map(sideOf).filter((row) => row !== undefined);
  return sides.length < rows.length ? numbers : Float32Array.from(listScores(sides, numbers).flat());
}

/**
 * Returns what a comparison of two files is about. Scores of pairs as they are; of a bi-encoder, whose cosines differ more between queries than
 * between the passages of one, less the mean of their list: only what orders a list counts.
 */
export function comparedScores(rows: readonly ModelRow[], numbers: Float32Array): Float32Array {
  const sides = rows.map(sideOf).filter((row) => row !== undefined);
  if (sides.length < rows.length) return numbers;
  return Float32Array.from(
    listScores(sides, numbers).flatMap((scores) => {
      const center = scores.reduce((sum, x) => sum + x, 0) / scores.length;
      return scores.map((x) => x - center);
    }),
  );
}
