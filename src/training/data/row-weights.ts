import type { JsonObject } from '../../util/json-files.ts';
import { numberCells } from './cells.ts';
import { badRow } from './raw-list.ts';

/** What stands in the columns of a row's weights. */
export interface RowWeights {
  /** One for all passages, or one each. */
  readonly given: readonly number[];
  readonly field: string;
}

const isWeight = (x: number): boolean => x >= 0 && Number.isFinite(Math.fround(x));

/**
 * Reads the weight of a row, or those of its passages; undefined for an empty cell.
 * @throws WinnowError `invalid_input` with file and line for text, NaN, negative numbers and more than one column of weights.
 */
export function readWeights(cells: JsonObject, names: readonly string[], where: string): RowWeights | undefined {
  const [field, second] = names;
  if (field === undefined) return undefined;
  const cure = `\`columns: { ${JSON.stringify(second ?? field)}: ignore }\` leaves the column out`;
  if (second !== undefined) throw badRow(where, `one column of weights (${cure})`, names.join(' and '));
  const value = cells[field];
  const given = numberCells(value, where, field);
  if (given === undefined) return undefined;
  if (given.length === 0 || !given.every(isWeight)) throw badRow(where, `"${field}" of at least 0 (${cure})`, value);
  return { given, field };
}

/**
 * Returns one weight for each text of a row; missing texts may have one or not.
 * @throws WinnowError `invalid_input` where their number is neither 1 nor that of the texts.
 */
export function weightsOf(
  { given, field }: RowWeights,
  texts: readonly (string | undefined)[],
  where: string,
): readonly number[] {
  if (given.length === 1) return texts.map(() => given[0]!);
  if (given.length === texts.length) return given;
  const known = texts.filter((text) => text !== undefined).length;
  if (given.length !== known)
    throw badRow(where, `one number in "${field}", or one for each of ${known} passages`, `${given.length} numbers`);
  let next = 0;
  return texts.map((text) => (text === undefined ? Number.NaN : given[next++]!));
}
