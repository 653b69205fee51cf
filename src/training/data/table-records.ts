import { WinnowError } from '../../errors.ts';
import { readLines } from '../../util/lines.ts';
import { repeated } from '../../util/repeated.ts';
import { spellsNumber } from './cells.ts';
import { type ColumnNames, roleOf } from './columns.ts';
import type { DataRecord } from './raw-list.ts';

/** Rows that decide the columns of a table without a header. */
const LOOKED_AT = 50;
/** Most lines of one quoted cell; a quotation mark that is never closed would swallow the file. */
const CELL_LINES = 10_000;

const bad = (where: string, expected: string, got: string): WinnowError =>
  new WinnowError('invalid_input', { where, expected, got });

interface TableRow {
  readonly line: number;
  readonly cells: readonly string[];
}

/** Splits complete text into cells (RFC 4180); undefined while a quoted cell is open. */
function splitCells(text: string, separator: string): string[] | undefined {
  const cells: string[] = [];
  for (let at = 0; ; ) {
    if (text[at] !== '"') {
      const end = text.indexOf(separator, at);
      cells.push(end < 0 ? text.slice(at) : text.slice(at, end));
      if (end < 0) return cells;
      at = end + 1;
      continue;
    }
    let end = text.indexOf('"', at + 1);
    while (end >= 0 && text[end + 1] === '"') end = text.indexOf('"', end + 2);
    if (end < 0) return undefined;
    const after = text.indexOf(separator, end + 1);
    const rest = after < 0 ? text.slice(end + 1) : text.slice(end + 1, after);
    cells.push(text.slice(at + 1, end).replaceAll('""', '"') + rest);
    if (after < 0) return cells;
    at = after + 1;
  }
}

const QUOTED = /^"(?:[^"]|"")*"$/s;

/**
 * Splits a line at tabs; undefined where a quoted cell goes on in the next line. A cell is unquoted only where it is quoted as a whole: queries begin
 * with quotation marks too. Tabs and line breaks stand in quotation marks only where the row would have another number of cells otherwise.
 * @param width cells of the first row, where it is known.
 */
export function tabCells(text: string, width?: number): string[] | undefined {
  const cells = text.split('\t');
  const plain = cells.map((cell) => (QUOTED.test(cell) ? cell.slice(1, -1).replaceAll('""', '"') : cell));
  if (width === undefined || cells.length === width || !/(?:^|\t)"/.test(text)) return plain;
  const quoted = splitCells(text, '\t');
  if (quoted === undefined) return cells.length < width ? undefined : plain;
  return quoted.length === width ? quoted : plain;
}

/** Returns the separator of a table: that of the format, or the semicolon of spreadsheets where the first line has more of them. */
function separatorOf(first: string, separator: string): string {
  if (separator === '\t') return separator;
  const count = (mark: string): number => (splitCells(first, mark) ?? []).length;
  return [';', '\t'].reduce((best, mark) => (count(mark) > count(best) ? mark : best), separator);
}

async function* tableRows(path: string, format: ',' | '\t'): AsyncGenerator<TableRow> {
  let separator: string | undefined;
  let open: { readonly line: number; readonly lines: string[] } | undefined;
  let width: number | undefined;
  const split = (text: string): string[] | undefined =>
    format === '\t' ? tabCells(text, width) : splitCells(text, separator!);
  for await (const { line, text } of readLines(path)) {
    if (!open && text.trim() === '') continue;
    separator ??= separatorOf(text, format);
    open ??= { line, lines: [] };
    open.lines.push(text);
    const cells = open.lines.length === 1 ? split(text) : closed(open.lines, split);
    if (cells) {
      width ??= cells.length;
      yield { line: open.line, cells };
      open = undefined;
    } else if (open.lines.length > CELL_LINES)
      throw bad(`${path}:${open.line}`, 'a quotation mark that ends the cell', `none in ${CELL_LINES} lines`);
  }
  if (open) throw bad(`${path}:${open.line}`, 'a quotation mark that ends the cell', 'the end of the file');
}

/** Returns the cells of joined lines where the last line may close a quoted cell. */
const closed = (lines: readonly string[], split: (text: string) => string[] | undefined): string[] | undefined =>
  lines.at(-1)!.includes('"') ? split(lines.join('\n')) : undefined;

/** One word, as names of columns are as a rule. */
const WORD = /^[\p{L}\p{N}_.-]*$/u;

/**
 * Whether the first row names columns: no number, and two known names, or one where every cell is a word. The first name may be empty, as
 * pandas writes the index.
 */
function isHeader(cells: readonly string[], stated: ColumnNames | undefined): boolean {
  const names = cells.map((cell) => cell.trim());
  const known = names.filter((name) => name.length > 2 && roleOf(name, stated) !== undefined).length;
  return (
    known > (names.every((name) => WORD.test(name)) ? 0 : 1) &&
    names.every((name, c) => (c === 0 || name !== '') && !spellsNumber(name) && name.length <= 64)
  );
}

function headerOf({ line, cells }: TableRow, path: string): readonly string[] {
  const names = cells.map((cell) => (cell.trim() === '' ? 'index' : cell.trim()));
  const twice = repeated(names);
  if (twice === undefined) return names;
  throw bad(`${path}:${line}`, 'each column once', `${twice} twice`);
}

/** Layouts of tables without a header: `n` is a column of numbers, `t` one of texts. */
const LAYOUTS: Readonly<Record<string, readonly string[]>> = {
  tt: ['query', 'positive'],
  ttn: ['query', 'passage', 'label'],
  ttt: ['query', 'positive', 'negative'],
  tttn: ['query', 'positive', 'negative', 'scores'],
  nntt: ['qid', 'pid', 'query', 'passage'],
  nnttt: ['pos_scores', 'neg_scores', 'query', 'positive', 'negative'],
};

const CURES: Readonly<Record<string, string>> = {
  nnn: '`format: triples` with `queries` and `collection`, for ids, or a header line',
  nnnn: '`format: beir` or `trec` with these judgements as `qrels`, or a header line',
};

/** Whether the first row holds one word in each cell, and all others several: names of columns, which are not known. */
function startsWithNames([first, ...others]: readonly TableRow[]): boolean {
  const isWords = ({ cells }: TableRow): boolean =>
    cells.every((cell) => !WORD.test(cell.trim()) || spellsNumber(cell));
  return (
    others.length > 0 &&
    first!.cells.every((cell) => WORD.test(cell.trim()) && !spellsNumber(cell)) &&
    others.every(isWords)
  );
}

/** Returns the names of the columns of a table without a header. @throws WinnowError that asks for a header. */
function layoutOf(rows: readonly TableRow[], path: string): readonly string[] {
  const width = rows[0]!.cells.length;
  const numeric = (column: number, from: number): boolean =>
    rows.length > from && rows.slice(from).every(({ cells }) => spellsNumber(cells[column] ?? ''));
  const kinds = Array.from({ length: width }, (_, c) => (numeric(c, 0) ? 'n' : 't')).join('');
  const where = `${path}:${rows[0]!.line}`;
  const columns = Array.from({ length: width }, (_, c) => c);
  const isNamed = columns.some((c) => !numeric(c, 0) && numeric(c, 1)) || startsWithNames(rows);
  const names = LAYOUTS[kinds];
  if (names && !isNamed) return names;
  const expected = isNamed
    ? 'a header of known names (docs/training-data.md); `columns` gives others a role'
    : (CURES[kinds] ?? 'a header line with the names of the columns, such as query, passage, label');
  throw bad(where, expected, rows[0]!.cells.map((cell) => cell.slice(0, 30)).join(' | '));
}

/**
 * Yields the rows of a CSV or TSV file by column name. Without a header, the positions of the numbers decide what two to five columns hold.
 * Empty cells are null. @throws WinnowError `invalid_input` with file and line for rows of another width.
 */
export async function* tableRecords(
  path: string,
  format: ',' | '\t',
  stated: ColumnNames | undefined,
): AsyncGenerator<DataRecord> {
  const waiting: TableRow[] = [];
  let names: readonly string[] | undefined;
  const record = ({ line, cells }: TableRow): DataRecord => {
    const where = `${path}:${line}`;
    if (cells.length > names!.length)
      throw bad(where, `at most ${names!.length} cells, as in the first row`, `${cells.length}`);
    const values = names!.map(
      (name, i) => [name, cells[i] === undefined || cells[i] === '' ? null : cells[i]] as const,
    );
    return { cells: Object.fromEntries(values), where };
  };
  const start = function* (): Generator<DataRecord> {
    names = layoutOf(waiting, path);
    for (const row of waiting) yield record(row);
  };
  for await (const row of tableRows(path, format)) {
    if (names) yield record(row);
    else if (waiting.length === 0 && isHeader(row.cells, stated)) names = headerOf(row, path);
    else if (waiting.push(row) === LOOKED_AT) yield* start();
  }
  if (!names && waiting.length > 0) yield* start();
}
