import { isObject, type JsonObject } from '../../util/json-files.ts';
import { type Drop, numberCells, passageText, spellsNumber, textCells } from './cells.ts';
import { type Columns, unknownColumn } from './columns.ts';
import { gradesOf, hasReading, refuseReading } from './labels.ts';
import { badRow, type RawList, type RowReading, type RowSkip } from './raw-list.ts';
import { type RowWeights, readWeights, weightsOf } from './row-weights.ts';

/*
 * Rows as sentence-transformers, FlagEmbedding and Tevatron take them. A column has one role, whatever the objective: labels say what is
 * relevant, scores are a teacher's.
 */

/** Whether the `score` of single passages is a label: it is where all scores of the first rows lie between 0 and 1. */
export type PairScores = 'labels' | 'teacher';

/** Whether the column may hold labels of single passages, as sentence-transformers takes them. */
export const isPairScore = (name: string): boolean =>
  /^(score|relevance[_ -]score|similarity([_ -]score)?)$/i.test(name.trim());

/** A row with what reading it needs. */
interface Row {
  readonly cells: JsonObject;
  readonly columns: Columns;
  readonly where: string;
  readonly reading: RowReading;
  readonly pairScores: PairScores;
  readonly weights: RowWeights | undefined;
  readonly drop: Drop;
}

type Texts = readonly (string | undefined)[];

const NO_MATCH = 'scores that differ from the passages in number';
const NO_NUMBER = 'score that is not a number';
const NO_LABEL = 'label that is not a number';
const HALF = 'scores of positives or negatives alone';

/** Returns whether a row has a value in one of the columns. */
const has = ({ cells }: Pick<Row, 'cells'>, names: readonly string[]): boolean =>
  names.some((name) => cells[name] !== null && cells[name] !== undefined);

const textsIn = ({ cells, where, drop }: Row, names: readonly string[]): (string | undefined)[] =>
  names.flatMap((name) => textCells(cells, name, where, drop));

const numbersIn = ({ cells, where }: Row, names: readonly string[]): number[] | undefined => {
  const found = names.filter((name) => has({ cells }, [name]));
  return found.length === 0 ? undefined : found.flatMap((name) => numberCells(cells[name], where, name) ?? []);
};

/** Whether a cell holds a text that is no number: itself, in a list, or as the passage of an object. */
function holdsText(value: unknown): boolean {
  if (Array.isArray(value)) return value.some(holdsText);
  const text = isObject(value) ? passageText(value) : value;
  return typeof text === 'string' && text.trim() !== '' && !spellsNumber(text);
}

/** Refuses texts in columns of unknown names, which may be the passages. */
function refuseUnknown({ cells, columns, where }: Row): void {
  for (const name of columns.unknown) {
    if (holdsText(cells[name])) throw unknownColumn(where, name);
  }
}

/** Returns the columns that hold texts or, where a file of texts is given, ids. @throws WinnowError where ids have no texts. */
function namesOf(row: Row, texts: readonly string[], ids: readonly string[], file: 'queries' | 'collection') {
  const looked = row.reading[file] !== undefined;
  if (looked && has(row, ids)) return ids;
  if (has(row, texts) || !has(row, ids)) return texts;
  throw badRow(row.where, `texts, or \`${file}\` for the texts of ids`, `fields ${Object.keys(row.cells).join(', ')}`);
}

/**
 * Returns the list of positives and negatives. A negative that equals a positive or an earlier one leaves the list with its score.
 * @param teacher one score per positive, then per negative.
 */
function judged(
  row: Row,
  query: string,
  [positives, negatives]: readonly [Texts, Texts],
  teacher: readonly number[] | undefined,
): RawList | RowSkip {
  const all = [...positives, ...negatives];
  const weights = row.weights && weightsOf(row.weights, all, row.where);
  const seen = new Set<string>();
  const places: number[] = [];
  let overlapping = 0;
  for (const [p, text] of all.entries()) {
    if (text === undefined) continue;
    const again = seen.has(text);
    const isPositive = p < positives.length;
    if (again && !isPositive && positives.includes(text)) overlapping++;
    else if (again) row.drop('passage that stands twice in its row');
    if (!again) places.push(p);
    seen.add(text);
  }
  if (!places.some((p) => p < positives.length)) return 'no positive';
  if (overlapping > 0 && places.every((p) => p < positives.length)) return 'positive equals negative';
  if (overlapping > 0) row.drop('negative that equals a positive', overlapping);
  const taught = teacher && places.every((p) => !Number.isNaN(teacher[p]!));
  if (teacher && !taught) row.drop(NO_NUMBER);
  return {
    query,
    passages: places.map((p) => all[p]!),
    relevance: places.map((p) => +(p < positives.length)),
    ...(taught && { teacher: places.map((p) => teacher[p]!) }),
    ...(weights && { weights: places.map((p) => weights[p]!) }),
  };
}

/** Returns the numbers with NaN at the places of missing texts. */
function spread(texts: Texts, given: readonly number[]): number[] {
  let next = 0;
  return texts.map((text) => (text === undefined ? Number.NaN : given[next++]!));
}

const known = (texts: Texts): number => texts.filter((text) => text !== undefined).length;

/**
 * Returns a tuple's scores: one per passage, or the margins between the only positive and each negative, both with or without those of
 * missing passages; undefined where their number fits neither.
 */
function tupleScores(positives: Texts, negatives: Texts, given: readonly number[]): number[] | undefined {
  const all = [...positives, ...negatives];
  if (given.length === all.length) return [...given];
  if (given.length === known(all)) return spread(all, given);
  if (positives.length !== 1 || negatives.length === 0) return undefined;
  const margins = given.length === negatives.length ? given : spread(negatives, given);
  const fits = given.length === negatives.length || given.length === known(negatives);
  return fits ? [0, ...margins.map((margin) => -margin)] : undefined;
}

/** Whether numbers are one label per passage, 1 for positives and 0 for negatives, which says what the columns say. */
function isRestated(row: Row, positives: Texts, negatives: Texts, given: readonly number[]): boolean {
  if (given.length !== known([...positives, ...negatives]) || given.some((x) => x !== 0 && x !== 1)) return false;
  if (given.every((x, i) => x === +(i < known(positives)))) return true;
  throw badRow(row.where, 'labels of 1 for positives and 0 for negatives, or a teacher’s scores in `scores`', given);
}

/** Positives and negatives, with the scores of `scores`, of `pos_scores` and `neg_scores`, or margins. */
function tuple(row: Row, query: string, positive: readonly string[], negative: readonly string[]): RawList | RowSkip {
  const { columns } = row;
  refuseReading(row.reading, row.where, Object.keys(row.cells));
  const positives = textsIn(row, positive);
  const negatives = textsIn(row, negative);
  const [high, low] = [numbersIn(row, columns['positive-score']), numbersIn(row, columns['negative-score'])];
  const scores = numbersIn(row, columns.score);
  const labels = numbersIn(row, columns.label);
  if (!scores && labels && isRestated(row, positives, negatives, labels))
    return judged(row, query, [positives, negatives], undefined);
  const given = scores ?? labels;
  if (!given && (high === undefined) !== (low === undefined) && negatives.length > 0) row.drop(HALF);
  const both = high && (low || negatives.length === 0) ? [...high, ...(low ?? [])] : undefined;
  const fits = both && high!.length === positives.length && (low ?? []).length === negatives.length;
  const teacher = given ? tupleScores(positives, negatives, given) : fits ? both : undefined;
  if ((given ?? both) && !teacher) row.drop(NO_MATCH);
  return judged(row, query, [positives, negatives], teacher);
}

/** Returns the labels of single passages that stand in the column of scores; undefined where it holds a teacher's. */
function scoresAsLabels(row: Row, scores: readonly number[]): readonly number[] | undefined {
  if (hasReading(row.reading)) return scores;
  if (row.pairScores === 'teacher') return undefined;
  const outside = scores.find((score) => score < 0 || score > 1);
  if (outside === undefined) return scores;
  const expected =
    '`score` from 0 to 1 as in the first rows, which makes it a label; a teacher’s scores belong in `scores`, labels of another range need `minRelevance` or `labelScale`';
  throw badRow(row.where, expected, outside);
}

/**
 * Returns a list with one number per passage, or a labeled pair. Labels are grades, and the teacher's scores where there are no `scores`;
 * `scores` alone teach and do not judge.
 */
function labeled(row: Row, query: string, names: readonly string[]): RawList | RowSkip {
  const { columns, where, reading } = row;
  const texts = textsIn(row, names);
  const given = numbersIn(row, columns.label);
  const scores = numbersIn(row, columns.score);
  const single = texts.length === 1 && scores?.length === 1 && columns.score.some(isPairScore);
  const labels = given ?? (single ? scoresAsLabels(row, scores) : undefined);
  const passages = [...texts.keys()].filter((p) => texts[p] !== undefined);
  if (passages.length === 0) return 'no passage that is text';
  if (!given && !scores) return has(row, [...columns.label, ...columns.score]) ? NO_LABEL : noLabels(row, names);
  if ((labels ?? scores)!.length !== texts.length)
    return labels ? 'labels that differ from the passages in number' : NO_MATCH;
  const places = passages.filter((p) => !Number.isNaN((labels ?? scores)![p]));
  if (places.length === 0) return NO_LABEL;
  if (places.length < passages.length) row.drop('passage without a label', passages.length - places.length);
  const taught = scores?.length === texts.length && places.every((p) => !Number.isNaN(scores[p]));
  if (scores && !taught) row.drop(scores.length === texts.length ? NO_NUMBER : NO_MATCH);
  const teacher = taught ? scores : labels!;
  const weights = row.weights && weightsOf(row.weights, texts, where);
  const list = {
    query,
    passages: places.map((p) => texts[p]!),
    teacher: places.map((p) => teacher[p]!),
    ...(weights && { weights: places.map((p) => weights[p]!) }),
  };
  if (!labels) {
    refuseReading(reading, where, Object.keys(row.cells));
    return { ...list, relevance: places.map(() => 0) };
  }
  return {
    ...list,
    relevance: gradesOf(
      places.map((p) => labels[p]!),
      reading,
      where,
    ),
    labeled: reading.minRelevance === undefined ? 'as given' : 'judged',
  };
}

/** Returns the skip of a row whose file has labels but not here, or refuses a row of a file without them. */
function noLabels(row: Row, names: readonly string[]): RowSkip {
  const { columns } = row;
  const { label, score } = columns;
  if (label.length + score.length > 0) return NO_LABEL;
  if (columns['query-id'].length > 0 && columns['passage-id'].length > 0)
    throw badRow(
      row.where,
      'a top1000 file with `qrels`, the judgements of its ids, or a column of labels or scores',
      `fields ${Object.keys(row.cells).join(', ')}`,
    );
  const cure = `\`columns: { ${names[0]}: positive }\` where every passage is relevant`;
  throw badRow(row.where, `a column of labels or scores, or ${cure}`, `fields ${Object.keys(row.cells).join(', ')}`);
}

/**
 * Reads a row by the roles of its columns.
 * @param drop counts what leaves the row.
 * @throws WinnowError `invalid_input` with file and line for columns and numbers that would be read as something else.
 */
export function readRow(
  cells: JsonObject,
  columns: Columns,
  where: string,
  { reading, pairScores, drop }: Pick<Row, 'reading' | 'pairScores' | 'drop'>,
): RawList | RowSkip {
  const weights = readWeights(cells, columns.weight, where);
  const row: Row = { cells, columns, where, reading, pairScores, weights, drop };
  refuseUnknown(row);
  const queries = namesOf(row, columns.query, columns['query-id'], 'queries');
  if (queries.length === 0)
    throw badRow(where, '"query", "anchor" or "question"', `fields ${Object.keys(cells).join(', ')}`);
  const [query, second] = textsIn(row, queries.slice(0, 1));
  if (second !== undefined)
    throw badRow(
      where,
      `one text in "${queries[0]}"; an object with a list for each column is \`format: json\``,
      cells[queries[0]!],
    );
  if (query === undefined) return 'query that is not text';
  const positive = namesOf(row, columns.positive, columns['positive-id'], 'collection');
  const negative = namesOf(row, columns.negative, columns['negative-id'], 'collection');
  if (positive.length > 0) return tuple(row, query, positive, negative);
  const passages = namesOf(row, [...columns.passage, ...columns.answer], columns['passage-id'], 'collection');
  const answers = columns.passage.length === 0 && columns.label.length + columns.score.length === 0;
  if (passages.length > 0 && (negative.length > 0 || (answers && columns.answer.length > 0)))
    return tuple(row, query, passages, negative);
  if (passages.length > 0) return labeled(row, query, passages);
  throw badRow(where, '"pos", "positive", "answer", "docs" or "passage"', `fields ${Object.keys(cells).join(', ')}`);
}
