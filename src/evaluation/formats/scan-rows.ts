import { type JsonObject, scanJsonLines } from '../../util/json-files.ts';
import { placeOf } from '../../util/text.ts';
import { parquetRows, rowPlace } from './parquet.ts';

/**
 * Calls `visit` for every row of JSON lines or of a Parquet file, with its place for messages.
 *
 * @throws WinnowError `invalid_input` with the place of a row that cannot be read.
 */
export async function scanRows(
  path: string,
  kind: 'json' | 'parquet',
  visit: (row: JsonObject, where: string) => void,
): Promise<void> {
  if (kind === 'json') await scanJsonLines(path, (row, line) => visit(row, placeOf(path, line)));
  else for await (const [row, number] of parquetRows(path)) visit(row, rowPlace(path, number));
}
