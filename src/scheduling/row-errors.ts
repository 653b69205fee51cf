import { WinnowError } from '../errors.ts';

/** The same failure with the row it names renumbered: a batch's rows are not the caller's. Other failures come back as they are. */
export function renumberRow(error: unknown, indexOf: (row: number) => number | undefined): unknown {
  if (!(error instanceof WinnowError) || typeof error.params.row !== 'number') return error;
  const row = indexOf(error.params.row);
  if (row === undefined) return error;
  const params: Record<string, string | number | boolean> = { ...error.params, row };
  if (typeof params.reason === 'string') params.reason = params.reason.replace(/^row \d+\b/, `row ${row}`);
  return new WinnowError(error.code, params, { cause: error });
}
