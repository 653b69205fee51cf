import { textId } from './ids.ts';
import { jsonRow } from './json-rows.ts';
import { type IdentifiedList, pick, type SkipCount, UNKNOWN_PASSAGE } from './list-types.ts';
import { badRow, type RawList, type RowReader, type RowSkip } from './raw-list.ts';

function fields(text: string, count: number, where: string): string[] {
  const found = text.split('\t');
  if (found.length !== count)
    throw badRow(where, `${count} fields separated by tabs`, `${found.length} in ${text.slice(0, 40)}`);
  return found;
}

/** `query <tab> positive <tab> negative`: ids (MS MARCO qidpidtriples) or texts (triples.train.small). */
const triple: RowReader = (text, where) => {
  const [query, positive, negative] = fields(text, 3, where) as [string, string, string];
  if (positive === negative) return 'positive equals negative';
  return { query, passages: [positive, negative], relevance: [1, 0] };
};

/** `positive score <tab> negative score <tab> query <tab> positive <tab> negative`: ids or texts (Hofstätter et al. 2020). */
const teacherRow: RowReader = (text, where) => {
  const [high, low, query, positive, negative] = fields(text, 5, where) as [string, string, string, string, string];
  const teacher = [Number(high), Number(low)];
  if (high === '' || low === '' || !teacher.every(Number.isFinite))
    throw badRow(where, 'two scores first', `${high}, ${low}`);
  if (positive === negative) return 'positive equals negative';
  return { query, passages: [positive, negative], relevance: [1, 0], teacher };
};

/** Parsers by format. */
export const ROW_READERS = { triples: triple, teacher_tsv: teacherRow, jsonl: jsonRow } as const satisfies Record<
  string,
  RowReader
>;
export type RowFormat = keyof typeof ROW_READERS;

export const isRowFormat = (format: string): format is RowFormat => format in ROW_READERS;

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
  counts.drop(UNKNOWN_PASSAGE, raw.passages.length - places.length);
  const row = pick(raw, places);
  return {
    ...row,
    qid: lookup.query ? raw.query : textId(query),
    query,
    docids: known ? row.passages : row.passages.map(textId),
    passages: known ? row.passages.map((id) => known.get(id)!) : row.passages,
  };
}
