import { WinnowError } from '../../errors.ts';

/*
 * What a column means follows from its name alone, for training, validation, `mine` and `score`. Names are those of sentence-transformers,
 * FlagEmbedding, Tevatron, MS MARCO and the data sets of the Hugging Face hub.
 */

/** What a column of rows may be; `ignore` is for columns that are not read. */
export const COLUMN_ROLES = [
  'query',
  'passage',
  'positive',
  'negative',
  'label',
  'score',
  'positive-score',
  'negative-score',
  'weight',
  'query-id',
  'passage-id',
  'positive-id',
  'negative-id',
  'ignore',
] as const;
export type ColumnRole = (typeof COLUMN_ROLES)[number];

/** `answer` is a positive where a row has no labels, else a passage. `unread` columns are known, but training does not read them. */
type KnownRole = ColumnRole | 'answer' | 'unread';

const words = (text: string): readonly string[] => text.split(' ');

const NAMES: Readonly<Partial<Record<KnownRole, readonly string[]>>> = {
  query: words('query anchor question sentence1 sentence_1 sentence_a text1 text_1 text_a query_text search_query q'),
  passage: words(
    'passage document doc docs documents passages sentence2 sentence_2 sentence_b text text2 text_2 text_b context contexts candidate candidates passage_text document_text',
  ),
  answer: words('answer answers'),
  positive: words(
    'positive positives pos positive_passages positive_passage positive_text positive_ctxs relevant_passages relevant_passage chosen',
  ),
  negative: words(
    'negative negatives neg negative_passages negative_passage negative_text hard_negative hard_negatives hard_negative_ctxs negative_ctxs irrelevant_passages rejected',
  ),
  label: words('label labels relevance rel grade relevant is_relevant relevance_label'),
  score: words(
    'score scores teacher_score teacher_scores margin margins relevance_score relevance_scores similarity similarity_score',
  ),
  'positive-score': words('pos_scores pos_score positive_score positive_scores'),
  'negative-score': words('neg_scores neg_score negative_score negative_scores'),
  weight: words('weight weights sample_weight sample_weights loss_weight example_weight instance_weight'),
  'query-id': words('query_id qid queryid'),
  'passage-id': words('doc_id doc_ids docid docids pid pids passage_id passage_ids corpus_id corpus_ids document_id'),
  'positive-id': words('positive_id positive_ids pos_id pos_ids positive_pid positive_document_ids'),
  'negative-id': words('negative_id negative_ids neg_id neg_ids negative_pid negative_document_ids'),
  unread: words(
    'id _id idx index source url lang language split dataset dataset_name type prompt task domain meta metadata __index_level_0__',
  ),
};

const ROLES: ReadonlyMap<string, KnownRole> = new Map(
  Object.entries(NAMES).flatMap(([role, names]) => names.map((name) => [name, role as KnownRole] as const)),
);

const NUMBERED: readonly (readonly [RegExp, KnownRole])[] = [
  [/^(hard_)?neg(ative)?s?_?\d+$/, 'negative'],
  [/^pos(itive)?s?_?\d+$/, 'positive'],
];

/** Roles by column name, as a source of the recipe states them. */
export type ColumnNames = Readonly<Record<string, ColumnRole>>;

/** Returns the role of a column; undefined for names that are not known. Upper case, blanks and hyphens make no difference. */
export function roleOf(name: string, stated: ColumnNames | undefined): KnownRole | undefined {
  if (stated && Object.hasOwn(stated, name)) return stated[name];
  const plain = name
    .trim()
    .toLowerCase()
    .replaceAll(/[\s-]+/g, '_');
  return ROLES.get(plain) ?? NUMBERED.find(([pattern]) => pattern.test(plain))?.[1];
}

/** Columns of a row by role. `unread` are known names, `unknown` are others. */
export type Columns = Readonly<Record<KnownRole | 'unknown', readonly string[]>>;

/** Sorts columns into roles; rows with the same columns share the result. */
export function columnSorter(stated: ColumnNames | undefined): (row: Readonly<Record<string, unknown>>) => Columns {
  const known = new Map<string, Columns>();
  return (row) => {
    const names = Object.keys(row);
    const key = names.join('\0');
    const before = known.get(key);
    if (before) return before;
    const of = (role: KnownRole | undefined): string[] => names.filter((name) => roleOf(name, stated) === role);
    const columns: Columns = {
      query: of('query'),
      passage: of('passage'),
      answer: of('answer'),
      positive: of('positive'),
      negative: of('negative'),
      label: of('label'),
      score: of('score'),
      'positive-score': of('positive-score'),
      'negative-score': of('negative-score'),
      weight: of('weight'),
      'query-id': of('query-id'),
      'passage-id': of('passage-id'),
      'positive-id': of('positive-id'),
      'negative-id': of('negative-id'),
      ignore: of('ignore'),
      unread: of('unread'),
      unknown: of(undefined),
    };
    known.set(key, columns);
    return columns;
  };
}

/** Returns the error for a column of texts whose name is not known. */
export const unknownColumn = (where: string, name: string): WinnowError =>
  new WinnowError('invalid_input', {
    where,
    expected: `columns of known names (docs/training-data.md), or a role for this one: \`columns: { ${JSON.stringify(name)}: ignore }\`, or query, passage, positive, negative in place of ignore (commands: \`--columns\`)`,
    got: `texts in column ${JSON.stringify(name)}`,
  });
