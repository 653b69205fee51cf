import { parquetRows, rowPlace } from '../../evaluation/formats/parquet.ts';
import { hasJsonLines, isObject, type JsonObject, parseJsonLine, readJsonFile } from '../../util/json-files.ts';
import { readLines } from '../../util/lines.ts';
import type { ColumnNames } from './columns.ts';
import { badRow, type DataRecord } from './raw-list.ts';
import { tableRecords } from './table-records.ts';

/** Formats of files whose rows have named columns. */
export type RecordFormat = 'jsonl' | 'json' | 'csv' | 'tsv' | 'parquet' | 'arrow';

async function* jsonLines(path: string): AsyncGenerator<DataRecord> {
  let first = true;
  for await (const { line, text } of readLines(path)) {
    if (text.trim() === '') continue;
    const where = `${path}:${line}`;
    if (first && text.trimStart().startsWith('['))
      throw badRow(
        where,
        'a JSON object on each line; `format: json` reads a file that is one list',
        text.slice(0, 40),
      );
    first = false;
    yield { cells: parseJsonLine(path, line, text), where };
  }
}

/** Returns the rows of a document that holds columns: `{query: [], passage: []}`; undefined for others. */
function rowsOfColumns(document: JsonObject): JsonObject[] | undefined {
  const columns = Object.entries(document);
  const count = Array.isArray(columns[0]?.[1]) ? columns[0][1].length : 0;
  if (count === 0 || !columns.every(([, cells]) => Array.isArray(cells) && cells.length === count)) return undefined;
  return Array.from({ length: count }, (_, i) =>
    Object.fromEntries(columns.map(([name, cells]) => [name, Array.isArray(cells) ? cells[i] : null])),
  );
}

/** Rows of one JSON document: a list, the list in its `data`, or an object of columns. JSON lines are read as such. */
async function* jsonDocument(path: string): AsyncGenerator<DataRecord> {
  if (await hasJsonLines(path)) return yield* jsonLines(path);
  const document = await readJsonFile(path);
  const held = isObject(document) && Array.isArray(document.data) ? document.data : document;
  const rows: unknown = isObject(held) ? rowsOfColumns(held) : held;
  if (!Array.isArray(rows)) throw badRow(path, 'a list of rows, or an object with a list for each column', document);
  for (const [i, row] of rows.entries()) {
    const where = `${path}, entry ${i + 1}`;
    if (!isObject(row)) throw badRow(where, 'a JSON object', row);
    yield { cells: row, where };
  }
}

async function* parquet(path: string): AsyncGenerator<DataRecord> {
  for await (const [cells, number] of parquetRows(path, 'all')) yield { cells, where: rowPlace(path, number) };
}

/** Apache Arrow is loaded by the first file of its kind: it is half of the modules that a training would load. */
async function* arrow(path: string): AsyncGenerator<DataRecord> {
  const { arrowRecords } = await import('./arrow-records.ts');
  yield* arrowRecords(path);
}

/** Yields the rows of a file. @throws WinnowError `invalid_input` with file and line for what does not parse. */
export const RECORDS: Readonly<
  Record<RecordFormat, (path: string, columns: ColumnNames | undefined) => AsyncIterable<DataRecord>>
> = {
  jsonl: jsonLines,
  json: jsonDocument,
  csv: (path, columns) => tableRecords(path, ',', columns),
  tsv: (path, columns) => tableRecords(path, '\t', columns),
  parquet,
  arrow,
};
