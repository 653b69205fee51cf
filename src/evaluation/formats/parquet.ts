import { isUtf8 } from 'node:buffer';
import { type FileHandle, open } from 'node:fs/promises';
import {
  type AsyncBuffer,
  type FileMetaData,
  parquetMetadataAsync,
  parquetScan,
  parquetSchema,
  type SchemaTree,
} from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { describe, WinnowError } from '../../errors.ts';
import { unreadable } from '../../util/bytes.ts';
import { setSource } from '../../util/exact-json.ts';
import type { JsonObject } from '../../util/json-files.ts';
import { repeated } from '../../util/repeated.ts';
import { ROW_FIELDS } from './json-rows.ts';

const MAGIC = 'PAR1';
/** Most bytes of the columns of a row group that are read, unpacked: they are in memory together. Writers make far smaller ones. */
const GROUP_GIB = 2;

/** Formats a place in a Parquet file for messages; rows count from 1. */
export const rowPlace = (path: string, row: number): string => `${path}, row ${row}`;

/** Returns whether a file is Parquet: by its name, or by its first and last bytes. */
export async function isParquet(path: string): Promise<boolean> {
  if (/\.parquet$/i.test(path)) return true;
  const file = await open(path, 'r').catch((error) => {
    throw unreadable(path, error);
  });
  try {
    const { size } = await file.stat();
    const at = async (position: number): Promise<string> =>
      (await file.read(Buffer.alloc(4), 0, 4, position)).buffer.toString('latin1');
    return size >= 12 && (await at(0)) === MAGIC && (await at(size - 4)) === MAGIC;
  } catch (error) {
    throw unreadable(path, error);
  } finally {
    await file.close();
  }
}

/** Reads bytes `from` … `end` of a file of `size` bytes. */
async function readRange(file: FileHandle, size: number, from: number, end: number): Promise<ArrayBuffer> {
  if (!(from >= 0 && from <= end && end <= size))
    throw new Error(`a file of ${size} bytes, which names bytes ${from} to ${end}`);
  const bytes = new Uint8Array(end - from);
  for (let done = 0; done < bytes.length; ) {
    const { bytesRead } = await file.read(bytes, done, bytes.length - done, from + done);
    if (bytesRead === 0) throw new Error('a file that became shorter');
    done += bytesRead;
  }
  return bytes.buffer;
}

async function bufferOf(file: FileHandle): Promise<AsyncBuffer> {
  const { size } = await file.stat();
  return {
    byteLength: size,
    slice(start, end = size) {
      const bytes = readRange(file, size, start < 0 ? size + start : start, end);
      // The library reads ahead: a failed read that it does not await would be an unhandled rejection and end the process.
      bytes.catch(() => {});
      return bytes;
    },
  };
}

/** Decodes bytes where they are UTF-8; others stay bytes, and are refused with their row. */
const textOf = (bytes: Uint8Array): string | Uint8Array =>
  isUtf8(bytes) ? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8') : bytes;

const PARSERS = { stringFromBytes: (bytes: Uint8Array | undefined) => bytes && textOf(bytes) };

/** Returns whether a column holds floating-point or decimal numbers. An id in such a column may have been rounded. */
const isReal = ({ element }: SchemaTree): boolean =>
  ['FLOAT', 'DOUBLE'].includes(element.type ?? '') || element.converted_type === 'DECIMAL';

/** Value of a column that is not read: one with another name, or of lists or structures. Rows keep its name. */
const UNREAD: unknown = Object.freeze({});

interface Column {
  readonly name: string;
  readonly real: boolean;
  /** Whether it holds one value a row, under a name that readers know. */
  readonly read: boolean;
}

/** Columns that are read: those of `ROW_FIELDS` with one value a row, or all of them. */
type ReadColumns = 'known' | 'all';

const columnOf = (tree: SchemaTree, which: ReadColumns): Column => ({
  name: tree.element.name,
  real: isReal(tree),
  read:
    which === 'all' ||
    (ROW_FIELDS.has(tree.element.name) && tree.children.length === 0 && tree.element.repetition_type !== 'REPEATED'),
});

function columnsOf(path: string, metadata: FileMetaData, which: ReadColumns): Column[] {
  const columns = parquetSchema(metadata).children.map((tree) => columnOf(tree, which));
  const twice = repeated(columns.map(({ name }) => name));
  if (twice === undefined) return columns;
  throw new WinnowError('invalid_input', { where: path, expected: 'each column once', got: `${twice} twice` });
}

/** Sets a cell of a row. Whole numbers stay exact: those beyond a double's as text. */
function setCell(row: Record<string, unknown>, { name, real }: Column, cell: unknown, where: string): void {
  const value = cell instanceof Uint8Array ? textOf(cell) : cell;
  if (value instanceof Uint8Array)
    throw new WinnowError('invalid_input', { where, expected: `"${name}" in UTF-8`, got: 'bytes of another encoding' });
  const safe = typeof value === 'bigint' && Number.isSafeInteger(Number(value));
  row[name] = typeof value === 'bigint' ? (safe ? Number(value) : value.toString()) : (value ?? null);
  if (real && Number.isInteger(value)) setSource(row, name, `${value}.0`);
}

interface Rows {
  readonly path: string;
  readonly file: AsyncBuffer;
  readonly metadata: FileMetaData;
  readonly columns: readonly Column[];
}

/** Refuses a row group that does not fit into memory. */
function checkGroup({ path, metadata, columns }: Rows, group: number): void {
  const names = new Set(columns.filter(({ read }) => read).map(({ name }) => name));
  const sizes = metadata.row_groups[group]!.columns.flatMap(({ meta_data: data }) =>
    data !== undefined && names.has(data.path_in_schema[0] ?? '') ? [Number(data.total_uncompressed_size)] : [],
  );
  const bytes = sizes.reduce((sum, size) => sum + size, 0);
  if (bytes <= GROUP_GIB * 2 ** 30) return;
  const expected = `row groups of at most ${GROUP_GIB} GiB`;
  throw new WinnowError('invalid_input', { where: `${path}, row group ${group + 1}`, expected, got: `${bytes} bytes` });
}

/** Reads the columns of one row group. */
async function readGroup(rows: Rows, rowStart: number, count: number): Promise<ArrayLike<unknown>[]> {
  const { file, metadata } = rows;
  const range = { rowStart, rowEnd: rowStart + count };
  const columns = rows.columns.filter(({ read }) => read).map(({ name }) => name);
  const scan = await parquetScan({
    file,
    metadata,
    columns,
    compressors,
    parsers: PARSERS,
    useOffsetIndex: false,
    ...range,
  });
  const cells: ArrayLike<unknown>[] = [];
  for (const { name, read } of rows.columns) {
    const column = read ? await scan.readColumn({ column: name, ...range }) : [];
    if (read && column.length !== count) throw new Error(`${column.length} values in ${count} rows of column ${name}`);
    cells.push(column);
  }
  return cells;
}

async function* rowsOf(rows: Rows): AsyncGenerator<readonly [row: JsonObject, number: number]> {
  const { path, metadata, columns } = rows;
  let before = 0;
  for (const [group, { num_rows }] of metadata.row_groups.entries()) {
    const count = Number(num_rows);
    checkGroup(rows, group);
    const cells = await readGroup(rows, before, count);
    for (let i = 0; i < count; i++) {
      const row: Record<string, unknown> = {};
      const number = before + i + 1;
      for (const [c, column] of columns.entries())
        if (column.read) setCell(row, column, cells[c]![i], rowPlace(path, number));
        else row[column.name] = UNREAD;
      yield [row, number];
    }
    before += count;
  }
  if (before !== Number(metadata.num_rows)) throw new Error(`${before} rows where its end says ${metadata.num_rows}`);
}

/**
 * Yields the rows of a Parquet file with their numbers, from 1, one row group in memory at a time. Only columns of `ROW_FIELDS` are read unless
 * all are asked for, lists included; an empty cell is null.
 *
 * @throws WinnowError `invalid_input` for a file that is damaged or of a kind that is not read, and for text that is not UTF-8, with its
 * row.
 */
export async function* parquetRows(
  path: string,
  which: ReadColumns = 'known',
): AsyncGenerator<readonly [row: JsonObject, number: number]> {
  const handle = await open(path, 'r').catch((error) => {
    throw unreadable(path, error);
  });
  try {
    const file = await bufferOf(handle);
    const metadata = await parquetMetadataAsync(file);
    yield* rowsOf({ path, file, metadata, columns: columnsOf(path, metadata, which) });
  } catch (error) {
    if (error instanceof WinnowError) throw error;
    const got = error instanceof Error ? error.message : describe(error);
    throw new WinnowError('invalid_input', { where: path, expected: 'a Parquet file', got }, { cause: error });
  } finally {
    await handle.close();
  }
}
