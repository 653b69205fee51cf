import { describe, WinnowError } from '../../errors.ts';
import type { Calculator } from './calculators.ts';
import { MEASURES, type MeasureKind } from './catalog.ts';
import type { MeasureParams } from './params.ts';
import { readArguments } from './parse.ts';

/** A measure as a value. `parseMeasure(measure.name)` gives it back. */
export interface Measure {
  readonly kind: MeasureKind;
  readonly params: MeasureParams;
  readonly name: string;
  /** Value of one query. */
  readonly compute: Calculator;
  /** How queries are put together: the mean over all judged queries, or a sum (counts only). */
  readonly aggregate: 'mean' | 'sum';
}

const fail = (text: string, expected: string, got: string): never => {
  throw new WinnowError('invalid_input', { where: `measure ${text}`, expected, got });
};

function kindOf(text: string, name: string): MeasureKind {
  const wanted = name.toLowerCase();
  for (const [kind, rule] of Object.entries(MEASURES))
    if (kind.toLowerCase() === wanted || rule.aliases.some((alias) => alias.toLowerCase() === wanted))
      return kind as MeasureKind;
  return fail(text, `one of ${Object.keys(MEASURES).join(', ')}`, describe(name));
}

function showGains(gains: ReadonlyMap<number, number>): string {
  const pairs = [...gains].sort((a, b) => a[0] - b[0]);
  return `{${pairs.map(([grade, gain]) => `${grade}:${gain}`).join(',')}}`;
}

/** How a parameter that differs from its default is written inside the parentheses, in this order. */
const SHOW: readonly ((params: MeasureParams, defaults: MeasureParams) => string | undefined)[] = [
  ({ rel }, defaults) => (rel === defaults.rel ? undefined : `rel=${rel}`),
  ({ gains }) => (gains === 'linear' ? undefined : `gains=${gains === 'exp' ? 'exp' : showGains(gains)}`),
  ({ p }, defaults) => (p === defaults.p ? undefined : `p=${p}`),
  ({ beta }, defaults) => (beta === defaults.beta ? undefined : `beta=${beta}`),
  ({ ties }) => (ties === 'descending' ? undefined : 'ties=ascending'),
  ({ judgedOnly }) => (judgedOnly ? 'judged_only=True' : undefined),
];

function nameOf(kind: MeasureKind, params: MeasureParams): string {
  const defaults = { ...BASE, ...MEASURES[kind].defaults };
  const inside = SHOW.map((show) => show(params, defaults)).filter((part) => part !== undefined);
  const at = params.recall ?? params.cutoff;
  return `${kind}${inside.length > 0 ? `(${inside.join(',')})` : ''}${at === undefined ? '' : `@${at}`}`;
}

const BASE: MeasureParams = { rel: 1, gains: 'linear', ties: 'descending', judgedOnly: false };

/** Builds a measure from parts; the parts are taken as valid. */
export function createMeasure(kind: MeasureKind, given: Partial<MeasureParams> = {}): Measure {
  const rule = MEASURES[kind];
  const params: MeasureParams = { ...BASE, ...rule.defaults, ...given };
  return { kind, params, name: nameOf(kind, params), compute: rule.compute, aggregate: rule.aggregate };
}

const SHAPE = /^\s*([A-Za-z]\w*)\s*(?:\((.*)\))?\s*(?:@\s*([\d.]+))?\s*$/s;

/** trec_eval writes the cutoff behind an underscore or a dot: `ndcg_cut_10`, `P.20`. */
const TREC_EVAL_CUTOFF = /^\s*(ndcg_cut|map_cut|P|recall|success|iprec_at_recall)[_.](\d[\d.]*)\s*$/;

/**
 * Reads a measure's name as ir_measures spells it: `nDCG@10`, `AP(rel=2)`, `RR(rel=2)@10`, `nDCG(gains={0:0,1:1,2:3})@10`. Aliases (`MRR`,
 * `MAP`, `Recall`, trec_eval's `ndcg_cut_10`) and any letter case are accepted; `name` of the result is the normal form.
 *
 * @throws WinnowError `invalid_input` that says what was expected.
 */
export function parseMeasure(text: string): Measure {
  const match = SHAPE.exec(text.replace(TREC_EVAL_CUTOFF, '$1@$2'));
  if (match === null) return fail(text, 'NAME, NAME@k or NAME(parameter=value)@k', describe(text));
  const kind = kindOf(text, match[1]!);
  const rule = MEASURES[kind];
  const aliased = rule.aliasParams?.[match[1]!.toLowerCase()] ?? {};
  const given = { ...aliased, ...readArguments(text, match[2] ?? '', rule.accepts) };
  if (match[3] === undefined) {
    if (rule.at === 'required' && given[rule.atParam ?? 'cutoff'] === undefined)
      fail(text, `a cutoff, as in ${kind}@10`, 'none');
    return createMeasure(kind, given);
  }
  if (rule.at === 'none') fail(text, `${kind} without a cutoff`, `@${match[3]}`);
  const at = Number(match[3]);
  if (rule.atParam === 'recall') {
    if (!(at >= 0 && at <= 1)) fail(text, 'a recall between 0 and 1', match[3]);
    return createMeasure(kind, { ...given, recall: at });
  }
  if (!Number.isInteger(at) || at < 1) fail(text, 'a whole cutoff of at least 1', match[3]);
  return createMeasure(kind, { ...given, cutoff: at });
}
