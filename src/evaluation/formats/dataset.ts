import { MEASURES } from '../measures/catalog.ts';
import type { Run } from '../measures/evaluation.ts';
import { createMeasure, type Measure } from '../measures/measure.ts';
import type { Qrels } from '../measures/ranked.ts';
import type { PassageStore } from './passage-store.ts';
import type { TopicField } from './topic-fields.ts';
import type { Queries } from './topics.ts';

export const DATASET_FORMATS = [
  'beir',
  'lotte',
  'msmarco',
  'rank-llm',
  'cranfield',
  'wikiqa',
  'squad',
  'smart',
  'trec',
] as const;

export type DatasetFormat = (typeof DATASET_FORMATS)[number];

/** Properties of a data set that follow from its name unless the specification sets them. */
interface DatasetRules {
  /** Least grade that counts as relevant in binary measures. */
  readonly relevanceLevel: number;
  /** Whether a hit whose docid is the query's own id is dropped before measuring. */
  readonly dropSelfHits: boolean;
  /** Measures usually reported. */
  readonly measures: readonly string[];
}

/** A test collection: queries, judgements, passages, and candidate lists if the set has some. */
export interface Dataset extends DatasetRules {
  readonly name: string;
  readonly format: DatasetFormat;
  readonly queries: Queries;
  readonly qrels: Qrels;
  readonly passages: PassageStore;
  /** Candidate lists that come with the set, best first. */
  readonly candidates?: Run | undefined;
  /** Files the set was read from. */
  readonly files: readonly string[];
}

/** Path of a data set, and what differs from its name's rules and its layout. */
export interface DatasetSpec extends Partial<DatasetRules> {
  /** A folder, or a file that holds queries and texts (rank_llm, SQuAD). */
  readonly path: string;
  readonly name?: string;
  readonly format?: DatasetFormat;
  /** `train`, `dev`, `test`; LoTTE: `search`, `forum`. */
  readonly split?: string;
  /** Part of a TREC topic that is the query. */
  readonly field?: TopicField;
  /** Files in place of those the layout names, relative to the folder. */
  readonly queries?: string;
  readonly qrels?: string;
  /** Files or folders of the collection. */
  readonly corpus?: string | readonly string[];
  /** A run that holds the candidate lists. */
  readonly candidates?: string;
}

interface NamedRule extends Partial<DatasetRules> {
  readonly pattern: RegExp;
}

const DEFAULTS: DatasetRules = { relevanceLevel: 1, dropSelfHits: false, measures: ['nDCG@10'] };

/**
 * TREC-DL passages: grade 1 ("related") is not relevant, so binary measures start at 2 while nDCG keeps all grades (NIST, Deep Learning
 * track 2019–2023). ArguAna's and Quora's queries are in their own corpus.
 */
const NAMED: readonly NamedRule[] = [
  {
    pattern: /(^|[^a-z0-9])(trec-?)?dl-?(20)?(19|2[0-3])([^0-9]|$)/i,
    relevanceLevel: 2,
    measures: ['nDCG@10', 'RR(rel=2)@10', 'AP(rel=2)'],
  },
  { pattern: /arguana|quora/i, dropSelfHits: true },
  { pattern: /lotte/i, measures: ['nDCG@10', 'Success@5'] },
  { pattern: /ms-?marco/i, measures: ['nDCG@10', 'RR@10'] },
  { pattern: /robust-?0?4/i, measures: ['nDCG@10', 'nDCG@20', 'P@20', 'AP'] },
];

/** Returns the rules of a data set by its name, with those in `given` taking precedence. */
export function rulesOf(name: string, given: Partial<DatasetRules> = {}): DatasetRules {
  const { pattern: _, ...named } = NAMED.find(({ pattern }) => pattern.test(name)) ?? { pattern: /$/ };
  const { relevanceLevel, dropSelfHits, measures } = { ...DEFAULTS, ...named };
  return {
    relevanceLevel: given.relevanceLevel ?? relevanceLevel,
    dropSelfHits: given.dropSelfHits ?? dropSelfHits,
    measures: given.measures ?? measures,
  };
}

/**
 * Applies the data set's relevance level to a binary measure without a threshold of its own (`AP` becomes `AP(rel=2)` on TREC-DL). nDCG
 * and measures that name a threshold stay as they are.
 */
export function measureFor(rules: DatasetRules, measure: Measure): Measure {
  const { kind, params } = measure;
  const accepts: readonly string[] = MEASURES[kind].accepts;
  return accepts.includes('rel') && params.rel === 1
    ? createMeasure(kind, { ...params, rel: rules.relevanceLevel })
    : measure;
}

/** Removes hits on the query itself from a run if the data set's rules say so. */
export function prepareRun(rules: DatasetRules, run: Run): Run {
  if (!rules.dropSelfHits) return run;
  const prepared = new Map<string, { docids: string[]; scores: number[] }>();
  for (const [qid, { docids, scores }] of run) {
    const kept = docids.map((_, i) => i).filter((i) => docids[i] !== qid);
    prepared.set(qid, { docids: kept.map((i) => docids[i]!), scores: kept.map((i) => scores[i]!) });
  }
  return prepared;
}
