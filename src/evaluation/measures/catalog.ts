import * as calculate from './calculators.ts';
import type { MeasureParams } from './params.ts';

/** How the values of queries are combined: mean, sum, or the geometric mean, in which values below 0.00001 count as that (trec_eval). */
export type Aggregate = 'mean' | 'sum' | 'geometric';

/** A kind of measure: its spellings, its parameters, its formula and how the values of queries are combined. */
export interface MeasureRule {
  readonly summary: string;
  readonly aliases: readonly string[];
  /** trec_eval's name if it writes the cutoff behind an underscore or a dot: `ndcg_cut_10`, `P.20`. */
  readonly trecEvalName?: string;
  /** Parameters that an alias (lower case) stands for. */
  readonly aliasParams?: Readonly<Record<string, Partial<MeasureParams>>>;
  /** Whether `@k` may follow, must follow or is refused. */
  readonly at: 'none' | 'optional' | 'required';
  /** Parameter that `@` sets; default `cutoff`. */
  readonly atParam?: 'cutoff' | 'recall';
  readonly accepts: readonly string[];
  /** Value of `@` (or of an argument of a trec_eval name) if trec_eval's bare name stands for a list. */
  readonly trecEvalList?: readonly number[];
  readonly defaults?: Partial<MeasureParams>;
  readonly aggregate: Aggregate;
  readonly compute: calculate.Calculator;
}

/** Cutoffs and levels of recall that trec_eval takes for a bare name such as `ndcg_cut`. */
const CUTOFFS = [5, 10, 15, 20, 30, 100, 200, 500, 1000] as const;
const RECALLS = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1] as const;

const RANKED = ['rel', 'cutoff', 'ties', 'judged_only'] as const;
const SET = ['rel', 'judged_only'] as const;

const mean = (
  summary: string,
  compute: calculate.Calculator,
  at: MeasureRule['at'],
  accepts: readonly string[],
  more: Partial<MeasureRule> = {},
): MeasureRule => ({ summary, compute, at, accepts, aliases: [], aggregate: 'mean', ...more });

const count = (
  summary: string,
  compute: calculate.Calculator,
  accepts: readonly string[],
  more: Partial<MeasureRule> = {},
): MeasureRule => ({ summary, compute, at: 'none', accepts, aliases: [], aggregate: 'sum', ...more });

/**
 * Every kind by its name in ir_measures. Parsing, `winnow measure --help` and the drift test of docs/measures.md derive from this table.
 */
export const MEASURES = {
  nDCG: mean(
    'discounted gain over that of the best ranking',
    calculate.nDCG,
    'optional',
    ['cutoff', 'gains', 'dcg', 'ties', 'judged_only'],
    { aliases: ['ndcg_cut'], trecEvalName: 'ndcg_cut', trecEvalList: CUTOFFS },
  ),
  RR: mean('1 / rank of the first relevant document', calculate.reciprocalRank, 'optional', RANKED, {
    aliases: ['MRR', 'recip_rank', 'MSMARCO_RR'],
    aliasParams: { msmarco_rr: { ties: 'ascending' } },
  }),
  AP: mean('mean precision at the relevant documents', calculate.averagePrecision, 'optional', RANKED, {
    aliases: ['MAP', 'map_cut'],
    trecEvalName: 'map_cut',
    trecEvalList: CUTOFFS,
  }),
  Success: mean('1 where a relevant document is in the first k', calculate.success, 'required', RANKED, {
    trecEvalName: 'success',
    trecEvalList: [1, 5, 10],
  }),
  P: mean('share of relevant documents in the first k', calculate.precision, 'required', RANKED, {
    aliases: ['Precision'],
    trecEvalName: 'P',
    trecEvalList: CUTOFFS,
  }),
  R: mean('share of the relevant documents that the first k hold', calculate.recall, 'required', RANKED, {
    aliases: ['Recall'],
    trecEvalName: 'recall',
    trecEvalList: CUTOFFS,
  }),
  Rprec: mean('precision at the number of relevant documents', calculate.rPrecision, 'none', [
    'rel',
    'ties',
    'judged_only',
  ]),
  Judged: mean('share of judged documents in the first k', calculate.judged, 'optional', ['cutoff', 'ties']),
  RBO: mean('rank-biased overlap with the ideal ranking or a reference run', calculate.overlap, 'none', ['p', 'ties'], {
    defaults: { p: 0.9 },
  }),
  Compat: mean('rank-biased overlap with the ideal ranking', calculate.compatibility, 'none', ['p', 'ties'], {
    aliases: ['Compatibility'],
    defaults: { p: 0.95 },
  }),
  RBP: mean('rank-biased precision', calculate.rankBiasedPrecision, 'optional', [...RANKED, 'p'], {
    defaults: { p: 0.8 },
  }),
  Bpref: mean('relevant documents above judged non-relevant ones', calculate.bpref, 'none', ['rel', 'ties']),
  IPrec: mean(
    'greatest precision at a recall or beyond',
    calculate.interpolatedPrecision,
    'required',
    ['rel', 'ties', 'judged_only', 'recall'],
    { atParam: 'recall', aliases: ['iprec_at_recall'], trecEvalName: 'iprec_at_recall', trecEvalList: RECALLS },
  ),
  IPrecAvg: mean(
    'mean of IPrec at recall 0, 0.1 … 1',
    calculate.interpolatedAverage,
    'none',
    ['rel', 'ties', 'judged_only'],
    {
      aliases: ['11pt_avg'],
    },
  ),
  ERR: mean(
    'expected reciprocal rank, as by gdeval',
    calculate.expectedReciprocalRank,
    'optional',
    ['cutoff', 'ties', 'judged_only', 'max_rel'],
    { defaults: { maxRel: 4 } },
  ),
  F1: mean('harmonic mean of P and R in the first k', calculate.f1, 'required', RANKED),
  GMAP: mean('geometric mean of AP over queries', calculate.averagePrecision, 'none', ['rel', 'ties', 'judged_only'], {
    aliases: ['gm_map'],
    aggregate: 'geometric',
  }),
  infAP: mean('AP inferred from a sample of judgements', calculate.inferredAveragePrecision, 'none', ['rel', 'ties']),
  SetP: mean('share of relevant documents in all retrieved', calculate.setPrecision, 'none', SET, {
    aliases: ['set_P'],
  }),
  SetR: mean('share of the relevant documents retrieved', calculate.setRecall, 'none', ['rel'], {
    aliases: ['set_recall'],
  }),
  SetF: mean('weighted mean of SetP and SetR', calculate.setF, 'none', [...SET, 'beta'], {
    aliases: ['set_F'],
    defaults: { beta: 1 },
  }),
  SetAP: mean('SetP times SetR', calculate.setAveragePrecision, 'none', SET, { aliases: ['set_map'] }),
  NumRet: count('documents retrieved, or those graded rel or better', calculate.retrievedCount, ['rel'], {
    aliases: ['NumRelRet', 'num_ret', 'num_rel_ret'],
    aliasParams: { numrelret: { rel: 1 }, num_rel_ret: { rel: 1 } },
    defaults: { rel: Number.NEGATIVE_INFINITY },
  }),
  NumRel: count('relevant documents judged', calculate.judgedRelevantCount, ['rel'], { aliases: ['num_rel'] }),
  NumQ: count('judged queries', calculate.one, [], { aliases: ['num_q'] }),
} satisfies Record<string, MeasureRule>;

export type MeasureKind = keyof typeof MEASURES;
