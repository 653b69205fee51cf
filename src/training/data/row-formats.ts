import { roleOf } from './columns.ts';
import { textId } from './ids.ts';
import { type IdentifiedList, pick, type SkipCount, UNKNOWN_PASSAGE } from './list-types.ts';
import { badRow, type LineReader, type RawList, type RowSkip } from './raw-list.ts';

function fields(text: string, count: number, where: string): string[] {
  const found = text.split('\t');
  if (found.length !== count)
    throw badRow(where, `${count} fields separated by tabs`, `${found.length} in ${text.slice(0, 40)}`);
  return found;
}

/** `query <tab> positive <tab> negative`: ids (MS MARCO qidpidtriples) or texts (triples.train.small). */
const triple: LineReader = (text, where) => {
  const [query, positive, negative] = fields(text, 3, where) as [string, string, string];
  if (positive === negative) return 'positive equals negative';
  return { query, passages: [positive, negative], relevance: [1, 0] };
};

/** `positive score <tab> negative score <tab> query <tab> positive <tab> negative`: ids or texts (Hofstätter et al. 2020). */
const teacherRow: LineReader = (text, where) => {
  const [high, low, query, positive, negative] = fields(text, 5, where) as [string, string, string, string, string];
  const teacher = [Number(high), Number(low)];
  if (high === '' || low === '' || !teacher.every(Number.isFinite))
    throw badRow(where, 'two scores first', `${high}, ${low}`);
  if (positive === negative) return 'positive equals negative';
  return { query, passages: [positive, negative], relevance: [1, 0], teacher };
};

/** Parsers of lines without column names. */
const LINE_READERS = { triples: triple, teacher_tsv: teacherRow } as const satisfies Record<string, LineReader>;

const ROW_FORMATS = ['triples', 'teacher_tsv', 'jsonl', 'json', 'csv', 'tsv', 'parquet', 'datasets'] as const;
export type RowFormat = (typeof ROW_FORMATS)[number];

export const isRowFormat = (format: string): format is RowFormat => ROW_FORMATS.some((known) => known === format);

const isLineFormat = (format: RowFormat): format is keyof typeof LINE_READERS => format in LINE_READERS;

/** Returns the parser of a format without column names; undefined for formats with them. */
export const lineReader = (format: RowFormat): LineReader | undefined =>
  isLineFormat(format) ? LINE_READERS[format] : undefined;

/** Roles of the columns of lines, in their order. */
const ORDER: Readonly<Record<keyof typeof LINE_READERS, readonly string[]>> = {
  triples: ['query', 'positive', 'negative'],
  teacher_tsv: ['', '', 'query', 'positive', 'negative'],
};

/**
 * Returns whether the first line names the columns, which is then passed over. @throws WinnowError `invalid_input` for columns in another order
 * than the format's.
 */
export function isHeaderLine(text: string, format: RowFormat, where: string): boolean {
  const cells = text.split('\t');
  const roles = cells.map((cell) => roleOf(cell, undefined)?.replace(/-id$/, ''));
  if (cells.length < 3 || roles.some((role) => role === undefined)) return false;
  const order = isLineFormat(format) ? ORDER[format] : [];
  if (order.every((role, i) => role === '' || roles[i] === role || (i > 0 && roles[i] === 'passage'))) return true;
  throw badRow(where, `columns in the order ${order.join(', ')} (\`format: tsv\` reads others by their names)`, text);
}

/** Finds the texts of ids. */
export interface TextLookup {
  /** Undefined if rows hold the query's text. */
  readonly query: ((id: string) => string | undefined) | undefined;
  /** Returns the texts by id; unknown ids are missing. Undefined if rows hold texts. */
  readonly passages: ((ids: readonly string[]) => Promise<ReadonlyMap<string, string>>) | undefined;
}

/**
 * Returns the list of a row; texts without ids get one from their content. Passages of unknown id leave the list; a row that has nothing to
 * compare any more is skipped.
 */
export async function resolve(raw: RawList, lookup: TextLookup, counts: SkipCount): Promise<IdentifiedList | RowSkip> {
  const query = lookup.query ? lookup.query(raw.query) : raw.query;
  if (query === undefined) return 'unknown query';
  const known = await lookup.passages?.(raw.passages);
  const places = [...raw.passages.keys()].filter((p) => !known || known.has(raw.passages[p]!));
  if (places.length < Math.min(2, raw.passages.length)) return 'unknown passage';
  counts.drop(UNKNOWN_PASSAGE, raw.passages.length - places.length, raw.where);
  const { where: _w, rows: _r, ...row } = pick(raw, places);
  return {
    ...row,
    qid: raw.qid ?? (lookup.query ? raw.query : textId(query)),
    query,
    docids: row.docids ?? (known ? row.passages : row.passages.map(textId)),
    passages: known ? row.passages.map((id) => known.get(id)!) : row.passages,
  };
}
