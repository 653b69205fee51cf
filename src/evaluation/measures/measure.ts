import { describe } from '../../errors.ts';
import type { Calculator } from './calculators.ts';
import { MEASURES, type MeasureKind, type MeasureRule } from './catalog.ts';
import { failMeasure, readArguments } from './measure-arguments.ts';
import type { MeasureParams } from './params.ts';

/** A measure with its parameters. `parseMeasure(measure.name)` returns an equal one. */
export interface Measure {
  readonly kind: MeasureKind;
  readonly params: MeasureParams;
  readonly name: string;
  /** Computes the value of one query. */
  readonly compute: Calculator;
  /** How the values of queries are combined: the mean over all judged queries, or the sum (counts only). */
  readonly aggregate: 'mean' | 'sum';
}

function kindOf(text: string, name: string): MeasureKind {
  const wanted = name.toLowerCase();
  for (const [kind, rule] of Object.entries(MEASURES))
    if (kind.toLowerCase() === wanted || rule.aliases.some((alias) => alias.toLowerCase() === wanted))
      return kind as MeasureKind;
  return failMeasure(text, `one of ${Object.keys(MEASURES).join(', ')}`, describe(name));
}

function writeGains(gains: ReadonlyMap<number, number>): string {
  const pairs = [...gains].sort((a, b) => a[0] - b[0]);
  return `{${pairs.map(([grade, gain]) => `${grade}:${gain}`).join(',')}}`;
}

/** Writes each parameter that differs from its default, in the order of the parentheses. */
const WRITTEN: readonly ((params: MeasureParams, defaults: MeasureParams) => string | undefined)[] = [
  ({ rel }, defaults) => (rel === defaults.rel ? undefined : `rel=${rel}`),
  ({ gains }) => (gains === 'linear' ? undefined : `gains=${gains === 'exp' ? 'exp' : writeGains(gains)}`),
  ({ p }, defaults) => (p === defaults.p ? undefined : `p=${p}`),
  ({ beta }, defaults) => (beta === defaults.beta ? undefined : `beta=${beta}`),
  ({ ties }) => (ties === 'descending' ? undefined : 'ties=ascending'),
  ({ judgedOnly }) => (judgedOnly ? 'judged_only=True' : undefined),
];

function nameOf(kind: MeasureKind, params: MeasureParams): string {
  const defaults = { ...BASE, ...MEASURES[kind].defaults };
  const inside = WRITTEN.map((write) => write(params, defaults)).filter((part) => part !== undefined);
  const at = params.recall ?? params.cutoff;
  return `${kind}${inside.length > 0 ? `(${inside.join(',')})` : ''}${at === undefined ? '' : `@${at}`}`;
}

const BASE: MeasureParams = { rel: 1, gains: 'linear', ties: 'descending', judgedOnly: false };

/** Builds a measure from its kind and valid parameters; the rest are the kind's defaults. */
export function createMeasure(kind: MeasureKind, given: Partial<MeasureParams> = {}): Measure {
  const rule = MEASURES[kind];
  const params: MeasureParams = { ...BASE, ...rule.defaults, ...given };
  return { kind, params, name: nameOf(kind, params), compute: rule.compute, aggregate: rule.aggregate };
}

const SHAPE = /^\s*([A-Za-z]\w*)\s*(?:\((.*)\))?\s*(?:@\s*([\d.]+))?\s*$/s;

const trecEvalNames = Object.values<MeasureRule>(MEASURES).flatMap((rule) => rule.trecEvalName ?? []);
const TREC_EVAL_CUTOFF = new RegExp(`^\\s*(${trecEvalNames.join('|')})[_.](\\d[\\d.]*)\\s*$`);

/**
 * Parses a measure's name as ir_measures spells it: `nDCG@10`, `AP(rel=2)`, `RR(rel=2)@10`, `nDCG(gains={0:0,1:1,2:3})@10`. Aliases (`MRR`,
 * `MAP`, `Recall`, trec_eval's `ndcg_cut_10`) and any letter case are accepted; `name` of the result is the normal form.
 *
 * @throws WinnowError `invalid_input` for a name, parameter or cutoff that no measure has.
 */
export function parseMeasure(text: string): Measure {
  const match = SHAPE.exec(text.replace(TREC_EVAL_CUTOFF, '$1@$2'));
  if (match === null) return failMeasure(text, 'NAME, NAME@k or NAME(parameter=value)@k', describe(text));
  const kind = kindOf(text, match[1]!);
  const rule = MEASURES[kind];
  const aliased = rule.aliasParams?.[match[1]!.toLowerCase()] ?? {};
  const given = { ...aliased, ...readArguments(text, match[2] ?? '', rule.accepts) };
  if (match[3] === undefined) {
    if (rule.at === 'required' && given[rule.atParam ?? 'cutoff'] === undefined)
      failMeasure(text, `a cutoff, as in ${kind}@10`, 'none');
    return createMeasure(kind, given);
  }
  if (rule.at === 'none') failMeasure(text, `${kind} without a cutoff`, `@${match[3]}`);
  const at = Number(match[3]);
  if (rule.atParam === 'recall') {
    if (!(at >= 0 && at <= 1)) failMeasure(text, 'a recall between 0 and 1', match[3]);
    return createMeasure(kind, { ...given, recall: at });
  }
  if (!Number.isInteger(at) || at < 1) failMeasure(text, 'a whole cutoff of at least 1', match[3]);
  return createMeasure(kind, { ...given, cutoff: at });
}
