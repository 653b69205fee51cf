import { describe, WinnowError } from '../../errors.ts';
import { textId } from './ids.ts';
import { type IdentifiedList, type SkipCount, UNKNOWN_PASSAGE } from './list-types.ts';

/** A row of a file, with ids or texts. */
export interface RawList {
  /** Text of the query, or its id where a file of queries is given. */
  readonly query: string;
  /** Texts, or ids where a collection is given. */
  readonly passages: readonly string[];
  readonly relevance: readonly number[];
  readonly teacher?: readonly number[];
  /** Number of negatives that were left out because they equal a positive. */
  readonly overlapping?: number;
}

/** Why a row gives no list. Rows that do not parse are errors, not skips. */
type RowSkip = 'unknown query' | 'unknown passage' | 'positive equals negative' | 'no positive';

/** Parses one line. @param where file and line, for errors. */
type RowReader = (text: string, where: string) => RawList | RowSkip;

const bad = (where: string, expected: string, got: unknown): WinnowError =>
  new WinnowError('invalid_input', { where, expected, got: describe(got) });

function fields(text: string, count: number, where: string): string[] {
  const found = text.split('\t');
  if (found.length !== count)
    throw bad(where, `${count} fields separated by tabs`, `${found.length} in ${text.slice(0, 40)}`);
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
    throw bad(where, 'two scores first', `${high}, ${low}`);
  if (positive === negative) return 'positive equals negative';
  return { query, passages: [positive, negative], relevance: [1, 0], teacher };
};

type Json = Readonly<Record<string, unknown>>;

function texts(value: unknown, where: string, field: string): string[] {
  const list = typeof value === 'string' ? [value] : value;
  if (Array.isArray(list) && list.every((x): x is string => typeof x === 'string')) return list;
  throw bad(where, `"${field}" to be text or a list of texts`, value);
}

function numbers(value: unknown, count: number, where: string, field: string): number[] {
  const list = typeof value === 'number' ? [value] : value;
  if (Array.isArray(list) && list.length === count && list.every((x): x is number => Number.isFinite(x))) return list;
  throw bad(where, `"${field}" to be ${count} number(s)`, value);
}

/**
 * Returns the list of positives and negatives. A negative that equals a positive leaves the list with its score; the others stay.
 * @param teacher one score per positive, then per negative.
 */
function judged(
  query: string,
  positives: readonly string[],
  negatives: readonly string[],
  teacher: readonly number[] | undefined,
): RawList | RowSkip {
  const relevant = new Set(positives);
  const kept = [...negatives.keys()].filter((i) => !relevant.has(negatives[i]!));
  const overlapping = negatives.length - kept.length;
  if (overlapping > 0 && kept.length === 0) return 'positive equals negative';
  return {
    query,
    passages: [...positives, ...kept.map((i) => negatives[i]!)],
    relevance: [...positives.map(() => 1), ...kept.map(() => 0)],
    ...(teacher && {
      teacher: [...teacher.slice(0, positives.length), ...kept.map((i) => teacher[positives.length + i]!)],
    }),
    ...(overlapping > 0 && { overlapping }),
  };
}

/** FlagEmbedding: `{query, pos: [], neg: [], pos_scores?, neg_scores?}`. */
function flagEmbedding(row: Json, query: string, where: string): RawList | RowSkip {
  const positives = texts(row.pos, where, 'pos');
  const negatives = texts(row.neg ?? [], where, 'neg');
  if (positives.length === 0) return 'no positive';
  const scored = row.pos_scores != null && row.neg_scores != null;
  const teacher = scored
    ? [
        ...numbers(row.pos_scores, positives.length, where, 'pos_scores'),
        ...numbers(row.neg_scores, negatives.length, where, 'neg_scores'),
      ]
    : undefined;
  return judged(query, positives, negatives, teacher);
}

/** sentence-transformers: `{query|anchor, positive, negative|negative_1…, scores?}`, an n-tuple with optional teacher scores. */
function tuple(row: Json, query: string, where: string): RawList | RowSkip {
  const positive = texts(row.positive, where, 'positive')[0]!;
  const negatives = Object.keys(row)
    .filter((k) => /^negative(_\d+)?$/.test(k))
    .flatMap((k) => texts(row[k], where, k));
  const given = row.scores ?? row.score ?? row.labels ?? row.label;
  const teacher = given === undefined ? undefined : numbers(given, 1 + negatives.length, where, 'scores');
  return judged(query, [positive], negatives, teacher);
}

/**
 * A list with one grade per passage: `{query, docs|documents|passages: [], labels|scores: []}`, or a labeled pair `{query|sentence1,
 * passage|document|sentence2, label|score}`. Grades above 0 are relevant; they are also the teacher's scores.
 */
function labeled(row: Json, query: string, passages: readonly string[], where: string): RawList {
  const grades = numbers(row.labels ?? row.scores ?? row.label ?? row.score, passages.length, where, 'labels');
  return { query, passages, relevance: grades.map((x) => Math.max(0, x)), teacher: grades };
}

const jsonRow: RowReader = (text, where) => {
  let row: Json;
  try {
    row = JSON.parse(text) as Json;
  } catch (error) {
    throw bad(where, 'a JSON object', (error as Error).message);
  }
  if (typeof row !== 'object' || row === null || Array.isArray(row)) throw bad(where, 'a JSON object', row);
  const query = texts(row.query ?? row.anchor ?? row.question ?? row.sentence1, where, 'query')[0]!;
  if ('pos' in row) return flagEmbedding(row, query, where);
  if ('positive' in row) return tuple(row, query, where);
  const list = row.docs ?? row.documents ?? row.passages ?? row.passage ?? row.document ?? row.sentence2;
  if (list !== undefined) return labeled(row, query, texts(list, where, 'docs'), where);
  throw bad(where, '"pos", "positive", "docs" or "passage"', `fields ${Object.keys(row).join(', ')}`);
};

/** Parsers by format. */
export const ROW_READERS = { triples: triple, teacher_tsv: teacherRow, jsonl: jsonRow } as const satisfies Record<
  string,
  RowReader
>;
export type RowFormat = keyof typeof ROW_READERS;

export const isRowFormat = (format: string): format is RowFormat => format in ROW_READERS;

/** Joins consecutive pairs of one query, as in files of labeled pairs, into one list. */
export async function* joinPairs(rows: AsyncIterable<RawList>): AsyncGenerator<RawList> {
  let open: RawList | undefined;
  for await (const row of rows) {
    const pair = row.passages.length === 1;
    if (open && pair && row.query === open.query && (open.teacher === undefined) === (row.teacher === undefined)) {
      open = {
        query: open.query,
        passages: [...open.passages, ...row.passages],
        relevance: [...open.relevance, ...row.relevance],
        ...(open.teacher && { teacher: [...open.teacher, ...row.teacher!] }),
      };
      continue;
    }
    if (open) yield open;
    open = pair ? row : undefined;
    if (!pair) yield row;
  }
  if (open) yield open;
}

/** Finds the texts of ids. */
export interface TextLookup {
  /** Undefined if rows hold the query's text. */
  readonly query: ((id: string) => string | undefined) | undefined;
  /** Returns the texts by id; unknown ids are missing. Undefined if rows hold texts. */
  readonly passages: ((ids: readonly string[]) => Promise<ReadonlyMap<string, string>>) | undefined;
}

/** Returns the row without the passages at other places. */
function only(raw: RawList, places: readonly number[]): RawList {
  const { teacher, ...rest } = raw;
  return {
    ...rest,
    passages: places.map((p) => raw.passages[p]!),
    relevance: places.map((p) => raw.relevance[p]!),
    ...(teacher && { teacher: places.map((p) => teacher[p]!) }),
  };
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
  const { overlapping: _o, ...row } = only(raw, places);
  return {
    ...row,
    qid: lookup.query ? raw.query : textId(query),
    query,
    docids: known ? row.passages : row.passages.map(textId),
    passages: known ? row.passages.map((id) => known.get(id)!) : row.passages,
  };
}
