import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { describe, WinnowError } from '../../errors.ts';
import type { DatasetFormat } from '../../evaluation/formats/dataset.ts';
import { loadDataset, openCollection } from '../../evaluation/formats/load-dataset.ts';
import { readQrels, splitEmpty } from '../../evaluation/formats/qrels.ts';
import { readQueries } from '../../evaluation/formats/topics.ts';
import { someIds } from '../../evaluation/measures/coverage.ts';
import type { Qrels } from '../../evaluation/measures/ranked.ts';
import { type DataSource, dataSourceSchema } from '../data/data-schema.ts';
import { type IdentifiedList, skipCount } from '../data/list-types.ts';
import { isRowFormat } from '../data/row-formats.ts';
import { readRunGroups } from '../data/run-groups.ts';
import { openRaw, refuseUnusedFields } from '../data/sources.ts';

/** A recipe's `validation.data`, or part of it: without a format, the layout follows from the files. */
export type ValidationData = Pick<DataSource, 'path'> & {
  readonly [Key in keyof DataSource]?: DataSource[Key] | undefined;
};

/** Judged queries with candidate lists, best first. */
export interface ValidationSet {
  readonly queries: ReadonlyMap<string, string>;
  readonly qrels: Qrels;
  readonly candidates: ReadonlyMap<string, { readonly docids: readonly string[] }>;
  /** Returns the texts of passages. @throws WinnowError `invalid_input` for an id that the collection lacks. */
  texts(docids: readonly string[]): Promise<readonly string[]>;
  /** What was read in another way than the recipe says or left out, a line each. */
  readonly notes: readonly string[];
  close(): Promise<void>;
}

/** Fields of a source that only have an effect in training, with what they do there. */
const TRAINING_ONLY = {
  teacher: 'learns from a teacher',
  randomNegatives: 'adds passages to the lists',
  addRelevant: 'adds passages to the lists',
  drop: 'leaves negatives out',
  teacherPositives: 'judges by a teacher',
  labelScale: 'makes targets of labels; `minRelevance` says which are relevant',
} as const;

/** Refuses fields that a validation would not read. @throws WinnowError `invalid_input`. */
function refuseTrainingFields(data: DataSource): void {
  for (const [field, effect] of Object.entries(TRAINING_ONLY)) {
    const value = data[field as keyof typeof TRAINING_ONLY];
    if (value === undefined || value === 0 || value === false) continue;
    throw new WinnowError('invalid_input', {
      where: `validation ${data.path}`,
      expected: 'only fields that a validation reads',
      got: `\`${field}\`, which ${effect}`,
    });
  }
  if (data.teacherScale !== 1 || data.weight !== 1)
    throw new WinnowError('invalid_input', {
      where: `validation ${data.path}`,
      expected: 'only fields that a validation reads',
      got: data.weight === 1 ? '`teacherScale`' : '`weight`',
    });
}

/** Returns the judgements from `least` on; lower grades become 0, as in training. */
const judgedFrom = (qrels: Qrels, least: number | undefined): Qrels =>
  least === undefined
    ? qrels
    : new Map(
        [...qrels].map(([qid, grades]) => [
          qid,
          new Map([...grades].map(([docid, grade]) => [docid, grade >= least ? grade : Math.min(0, grade)])),
        ]),
      );

/** Returns the whole-number grade of a label. @throws WinnowError `invalid_input` for a label between 0 and 1, which measures do not know. */
function gradeOf(grade: number, { labeled, query }: IdentifiedList, path: string): number {
  if (Number.isInteger(grade)) return grade;
  if (labeled === 'judged') return 1;
  throw new WinnowError('invalid_input', {
    where: `validation ${path}, query ${JSON.stringify(query.slice(0, 60))}`,
    expected: 'labels that are whole numbers, or `minRelevance`, from which on a label is relevant',
    got: describe(grade),
  });
}

/** Collects lists of a training format by query. Queries without a relevant passage are not measured and counted. */
async function fromLists(data: DataSource, folder: string): Promise<ValidationSet> {
  const raw = await openRaw(data, folder);
  const counts = skipCount();
  const queries = new Map<string, string>();
  const qrels = new Map<string, Map<string, number>>();
  const lists = new Map<string, Set<string>>();
  const texts = new Map<string, string>();
  let weighted = false;
  try {
    for await (const list of raw.lists(counts)) {
      weighted ||= list.weights !== undefined;
      const { qid, query, docids, passages, relevance } = list;
      const judged = qrels.get(qid) ?? new Map<string, number>();
      const listed = lists.get(qid) ?? new Set<string>();
      for (const [p, docid] of docids.entries()) {
        judged.set(docid, Math.max(judged.get(docid) ?? 0, gradeOf(relevance[p]!, list, data.path)));
        listed.add(docid);
        texts.set(docid, passages[p]!);
      }
      queries.set(qid, query);
      qrels.set(qid, judged);
      lists.set(qid, listed);
    }
  } finally {
    await raw.close();
  }
  const hopeless = [...qrels]
    .filter(([, grades]) => [...grades.values()].every((grade) => grade <= 0))
    .map(([qid]) => qid);
  for (const qid of hopeless) qrels.delete(qid);
  const left = Object.entries({
    ...counts.skipped(),
    ...(hopeless.length > 0 && { 'queries without a relevant passage': hopeless.length }),
  });
  return {
    queries,
    qrels,
    candidates: new Map([...lists].map(([qid, docids]) => [qid, { docids: [...docids] }])),
    texts: async (docids) => docids.map((docid) => texts.get(docid)!),
    notes: [
      ...(left.length === 0
        ? []
        : [`validation ${data.path}: left out: ${left.map(([reason, n]) => `${n} ${reason}`).join(', ')}`]),
      ...(weighted ? [`validation ${data.path}: weights of rows are not read; measures weigh all queries alike`] : []),
    ],
    close: async () => undefined,
  };
}

/** Opens a run with queries, collection and judgements. */
async function fromRun(data: DataSource, folder: string): Promise<ValidationSet> {
  const at = (field: 'queries' | 'collection' | 'qrels'): string => {
    const path = data[field];
    if (path !== undefined) return resolve(folder, path);
    throw new WinnowError('invalid_input', {
      where: `validation ${data.path}`,
      expected: '`queries`, `collection` and `qrels` in addition to a run, which holds ids only',
      got: `no \`${field}\``,
    });
  };
  const [queryFile, collection, judgements] = [at('queries'), at('collection'), at('qrels')];
  const candidates = new Map<string, { readonly docids: readonly string[] }>();
  for await (const { qid, docids } of readRunGroups(resolve(folder, data.path), data.teacherValue))
    candidates.set(qid, { docids });
  const passages = await openCollection(collection);
  return {
    queries: await readQueries(queryFile),
    qrels: judgedFrom(splitEmpty(await readQrels(judgements)).qrels, data.minRelevance),
    candidates,
    texts: (docids) => passages.texts(docids),
    notes: [],
    close: () => passages.close(),
  };
}

const LAYOUTS: Readonly<Partial<Record<DataSource['format'], DatasetFormat>>> = {
  rank_llm: 'rank-llm',
  beir: 'beir',
  wikiqa: 'wikiqa',
  squad: 'squad',
};

/** Loads a test collection: its layout follows from the files, as in suites. */
async function fromDataset(data: ValidationData, folder: string): Promise<ValidationSet> {
  const at = (path: string) => resolve(folder, path);
  const dataset = await loadDataset({
    path: at(data.path),
    ...(data.qrels !== undefined && { qrels: at(data.qrels) }),
    ...(data.candidates !== undefined && { candidates: at(data.candidates) }),
    ...(data.queries !== undefined && { queries: at(data.queries) }),
    ...(data.collection !== undefined && { corpus: at(data.collection) }),
    ...(data.split !== undefined && { split: data.split }),
  });
  const asked = data.format && (LAYOUTS[data.format] ?? data.format);
  return {
    queries: dataset.queries,
    qrels: judgedFrom(splitEmpty(dataset.qrels).qrels, data.minRelevance),
    candidates: dataset.candidates ?? new Map(),
    texts: (docids) => dataset.passages.texts(docids),
    notes:
      asked === undefined || asked === dataset.format
        ? []
        : [`validation ${data.path}: format ${asked} is set, the files are read as ${dataset.format}`],
    close: () => dataset.passages.close(),
  };
}

async function openFormat(data: DataSource, folder: string): Promise<ValidationSet> {
  const isFile = (await stat(resolve(folder, data.path))).isFile();
  if (isRowFormat(data.format) || (data.format === 'squad' && data.candidates === undefined))
    return fromLists(data, folder);
  return data.format === 'trec' && isFile ? fromRun(data, folder) : fromDataset(data, folder);
}

/** Leaves out the queries of `excludeJudged`. */
async function withoutHeldOut(set: ValidationSet, data: DataSource, folder: string): Promise<ValidationSet> {
  if (data.excludeJudged === undefined) return set;
  const heldOut = await readQrels(resolve(folder, data.excludeJudged));
  const excluded = [...set.qrels.keys()].filter((qid) => heldOut.has(qid));
  const notes =
    excluded.length === 0
      ? []
      : [`validation ${data.path}: ${excluded.length} queries held out by \`excludeJudged\`: ${someIds(excluded)}`];
  return {
    ...set,
    qrels: new Map([...set.qrels].filter(([qid]) => !heldOut.has(qid))),
    notes: [...set.notes, ...notes],
  };
}

/**
 * Opens a validation set in any form that training reads. Without a format, the layout of a test collection is detected.
 * @throws WinnowError `invalid_input` as the readers do, for fields that a validation does not read, and for labels between 0 and 1.
 */
export async function openValidationSet(given: ValidationData, folder: string): Promise<ValidationSet> {
  if (given.format === undefined) return fromDataset(given, folder);
  const data = dataSourceSchema.parse(given);
  refuseTrainingFields(data);
  refuseUnusedFields(data);
  return withoutHeldOut(await openFormat(data, folder), data, folder);
}
