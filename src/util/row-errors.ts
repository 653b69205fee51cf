import { WinnowError } from '../errors.ts';

/** Returns an error with its row number replaced by that of the caller's rows. Returns other errors unchanged. */
export function renumberRow(error: unknown, indexOf: (row: number) => number | undefined): unknown {
  if (!(error instanceof WinnowError) || typeof error.params.row !== 'number') return error;
  const row = indexOf(error.params.row);
  if (row === undefined) return error;
  const params: Record<string, string | number | boolean> = { ...error.params, row };
  if (typeof params.reason === 'string') params.reason = params.reason.replace(/^row \d+\b/, `row ${row}`);
  return new WinnowError(error.code, params, { cause: error });
}
