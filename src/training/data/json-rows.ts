import { badRow, type LabelReading, type RawList, type RowReader, type RowSkip } from './raw-list.ts';

/*
 * Rows of JSON, as sentence-transformers and FlagEmbedding take them. A column has one role, whatever the objective: labels say what is
 * relevant, scores are a teacher's.
 */

type Json = Readonly<Record<string, unknown>>;

const QUERY = ['query', 'anchor', 'question', 'sentence1'] as const;
const PASSAGES = ['docs', 'documents', 'passages', 'passage', 'document', 'sentence2', 'answer', 'answers'] as const;

/** Returns the first of these columns that the row has. */
const columnOf = (row: Json, names: readonly string[]): string | undefined => names.find((name) => row[name] != null);

function texts(value: unknown, where: string, field: string): string[] {
  const list = typeof value === 'string' ? [value] : value;
  if (Array.isArray(list) && list.every((x): x is string => typeof x === 'string')) return list;
  throw badRow(where, `"${field}" to be text or a list of texts`, value);
}

/** Returns a number, a boolean as 1 or 0, or the number that a text spells; NaN for others. */
function toNumber(value: unknown): number {
  if (typeof value === 'boolean') return +value;
  if (typeof value === 'string') return value.trim() === '' ? Number.NaN : Number(value);
  return typeof value === 'number' ? value : Number.NaN;
}

function numbers(value: unknown, counts: readonly number[], where: string, field: string): number[] {
  const list = (Array.isArray(value) ? value : [value]).map(toNumber);
  if (counts.includes(list.length) && list.every(Number.isFinite)) return list;
  throw badRow(where, `"${field}" to be ${[...new Set(counts)].join(' or ')} number(s)`, value);
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
  if (positives.length === 0) return 'no positive';
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
  const scored = row.pos_scores != null && row.neg_scores != null;
  const teacher = scored
    ? [
        ...numbers(row.pos_scores, [positives.length], where, 'pos_scores'),
        ...numbers(row.neg_scores, [negatives.length], where, 'neg_scores'),
      ]
    : undefined;
  return judged(query, positives, negatives, teacher);
}

const isNegative = (column: string): boolean => /^negatives?(_\d+)?$/.test(column);

/** Returns the teacher's scores of a tuple: one per passage, or the margins between the only positive and each negative. */
function tupleScores(value: unknown, positives: number, negatives: number, where: string): number[] {
  const margins = positives === 1 && negatives > 0 ? [negatives] : [];
  const given = numbers(value, [positives + negatives, ...margins], where, 'scores');
  return given.length === positives + negatives ? given : [0, ...given.map((margin) => -margin)];
}

/**
 * sentence-transformers: `{query|anchor, positive|answer, negative|negatives|negative_1…, scores?}`. Empty (null) negatives are passed over
 * with their scores. @param column that of the positives, one text or several.
 */
function tuple(row: Json, query: string, column: string, where: string): RawList | RowSkip {
  const positives = texts(row[column], where, column);
  const all = Object.keys(row)
    .filter(isNegative)
    .flatMap((k) => (row[k] == null ? [undefined] : texts(row[k], where, k)));
  const negatives = all.filter((text) => text !== undefined);
  const value = row.scores ?? row.score ?? row.labels ?? row.label;
  if (value == null) return judged(query, positives, negatives, undefined);
  const padded = Array.isArray(value) && value.length > positives.length + negatives.length;
  const given = tupleScores(value, positives.length, padded ? all.length : negatives.length, where);
  const places = [...all.keys()].filter((i) => all[i] !== undefined);
  const teacher = padded
    ? [...given.slice(0, positives.length), ...places.map((i) => given[positives.length + i]!)]
    : given;
  return judged(query, positives, negatives, teacher);
}

/** Returns the grade of a label. @throws WinnowError `invalid_input` for numbers that may be a teacher's. */
function gradeOf(label: number, { minRelevance, labelScale }: LabelReading, where: string): number {
  if (minRelevance !== undefined) return label >= minRelevance ? Math.max(1, label) : 0;
  const [low, high] = labelScale ?? [0, Number.POSITIVE_INFINITY];
  if (label < low || label > high)
    throw badRow(
      where,
      labelScale
        ? `labels of ${low} to ${high} (\`labelScale\`)`
        : 'labels of at least 0, which say what is relevant (a teacher’s logits belong in `scores`; `minRelevance` says which labels are relevant)',
      label,
    );
  return labelScale ? (label - low) / (high - low) : label;
}

/**
 * A list with one number per passage: `{query, docs|documents|passages|answer: [], labels}`, or a labeled pair `{query|sentence1,
 * passage|document|sentence2|answer, label}`. Labels are grades, and the teacher's scores where there are no `scores`. `scores` alone teach
 * and do not judge; the `score` of a pair is a label where it is between 0 and 1.
 */
function labeled(row: Json, query: string, column: string, where: string, reading: LabelReading): RawList {
  const passages = texts(row[column], where, column);
  const given = columnOf(row, ['labels', 'label']);
  const taught = columnOf(row, ['scores', 'score']);
  const of = (name: string): number[] => numbers(row[name], [passages.length], where, name);
  if (given === undefined && taught === undefined) return { query, passages, relevance: of('labels') };
  const scores = taught === undefined ? undefined : of(taught);
  const isLabel = taught === 'score' && (hasReading(reading) || scores!.every((score) => score >= 0 && score <= 1));
  const labels = given === undefined ? (isLabel ? scores : undefined) : of(given);
  const teacher = (scores ?? labels)!;
  if (!labels) {
    refuseReading(reading, where, row);
    return { query, passages, relevance: passages.map(() => 0), teacher };
  }
  return {
    query,
    passages,
    relevance: labels.map((label) => gradeOf(label, reading, where)),
    teacher,
    labeled: reading.minRelevance === undefined ? 'as given' : 'judged',
  };
}

const hasReading = ({ minRelevance, labelScale }: LabelReading): boolean =>
  minRelevance !== undefined || labelScale !== undefined;

/** Refuses settings on labels for a row that has none. */
function refuseReading(reading: LabelReading, where: string, row: Json): void {
  if (!hasReading(reading)) return;
  const name = reading.minRelevance === undefined ? 'labelScale' : 'minRelevance';
  throw badRow(where, `labels, which \`${name}\` is for`, `fields ${Object.keys(row).join(', ')}`);
}

function parse(text: string, where: string): Json {
  let row: Json;
  try {
    row = JSON.parse(text) as Json;
  } catch (error) {
    throw badRow(where, 'a JSON object', (error as Error).message);
  }
  if (typeof row !== 'object' || row === null || Array.isArray(row)) throw badRow(where, 'a JSON object', row);
  return row;
}

/** Parses a row of JSON in one of the forms above. @throws WinnowError `invalid_input` with file and line. */
export const jsonRow: RowReader = (text, where, reading) => {
  const row = parse(text, where);
  const query = texts(row[columnOf(row, QUERY) ?? 'query'], where, 'query')[0]!;
  const list = columnOf(row, PASSAGES);
  const hasLabels = columnOf(row, ['labels', 'label', 'scores', 'score']) !== undefined;
  const positive =
    'positive' in row
      ? 'positive'
      : Object.keys(row).some(isNegative) || (!hasLabels && 'answer' in row)
        ? list
        : undefined;
  if ('pos' in row || positive !== undefined) {
    refuseReading(reading, where, row);
    return 'pos' in row ? flagEmbedding(row, query, where) : tuple(row, query, positive!, where);
  }
  if (list !== undefined) return labeled(row, query, list, where, reading);
  throw badRow(where, '"pos", "positive", "answer", "docs" or "passage"', `fields ${Object.keys(row).join(', ')}`);
};
