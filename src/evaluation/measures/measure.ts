import { describe } from '../../errors.ts';
import type { Calculator } from './calculators.ts';
import { type Aggregate, MEASURES, type MeasureKind, type MeasureRule } from './catalog.ts';
import { failMeasure, readArguments } from './measure-arguments.ts';
import type { MeasureParams } from './params.ts';
import { nearestMeasure, trecEvalMeasures } from './trec-eval-names.ts';

/** A measure with its parameters. `parseMeasure(measure.name)` returns an equal one. */
export interface Measure {
  readonly kind: MeasureKind;
  readonly params: MeasureParams;
  readonly name: string;
  /** Computes the value of one query. */
  readonly compute: Calculator;
  readonly aggregate: Aggregate;
}

function kindNamed(name: string): MeasureKind | undefined {
  const wanted = name.toLowerCase();
  for (const [kind, rule] of Object.entries(MEASURES))
    if (kind.toLowerCase() === wanted || rule.aliases.some((alias) => alias.toLowerCase() === wanted))
      return kind as MeasureKind;
  return undefined;
}

function kindOf(text: string, name: string): MeasureKind {
  const kind = kindNamed(name);
  if (kind !== undefined) return kind;
  const nearest = nearestMeasure(name, Object.keys(MEASURES));
  const hint = nearest === undefined ? '' : `; nearest is ${nearest}`;
  return failMeasure(text, `one of ${Object.keys(MEASURES).join(', ')}`, `${describe(name)}${hint}`);
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
  ({ maxRel }, defaults) => (maxRel === defaults.maxRel ? undefined : `max_rel=${maxRel}`),
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

const SHAPE = /^\s*(\w+)\s*(?:\((.*)\))?\s*(?:@\s*([\d.]+))?\s*$/s;

/** Parses one measure in the spelling of ir_measures; aliases and any letter case count as well. */
function parseOne(text: string): Measure {
  const match = SHAPE.exec(text);
  if (match === null) return failMeasure(text, 'NAME, NAME@k or NAME(parameter=value)@k', describe(text));
  const kind = kindOf(text, match[1]!);
  const rule: MeasureRule = MEASURES[kind];
  const aliased = rule.aliasParams?.[match[1]!.toLowerCase()] ?? {};
  const given = { ...aliased, ...readArguments(text, match[2] ?? '', rule.accepts) };
  if (match[3] === undefined) {
    if (rule.at === 'required' && given[rule.atParam ?? 'cutoff'] === undefined)
      failMeasure(text, `a cutoff, as in ${kind}@10`, 'none');
    return createMeasure(kind, given);
  }
  if (rule.at === 'none') failMeasure(text, `${kind} without a cutoff`, `@${match[3]}`);
  return createMeasure(kind, { ...given, ...readAt(text, match[3], rule) });
}

/** Reads what stands behind `@`. */
function readAt(text: string, at: string, { atParam }: MeasureRule): Partial<MeasureParams> {
  const value = Number(at);
  if (atParam === 'recall') {
    if (!(value >= 0 && value <= 1)) failMeasure(text, 'a recall between 0 and 1', at);
    return { recall: value };
  }
  if (!Number.isInteger(value) || value < 1) failMeasure(text, 'a whole cutoff of at least 1', at);
  return { cutoff: value };
}

/**
 * Parses a name that may stand for several measures. The spellings of ir_measures are one measure each: `nDCG@10`, `AP(rel=2)`,
 * `nDCG(gains={0:0,1:1,2:3})@10`. Those of trec_eval mean what they mean there: `ndcg_cut` and `P` are lists of cutoffs, `P.5,10` gives
 * them, `set_F.0.5` and `ndcg.1=3,2=7` have parameters, `official` is trec_eval's default set.
 *
 * @throws WinnowError `invalid_input` for a name, parameter or cutoff that no measure has; it names the nearest measure.
 */
export function parseMeasures(text: string): Measure[] {
  const names = trecEvalMeasures(text.trim());
  return names === undefined ? [parseOne(text)] : names.map(parseOne);
}

/** Returns each measure once, by name. */
export const distinctMeasures = (measures: readonly Measure[]): Measure[] => [
  ...new Map(measures.map((measure) => [measure.name, measure])).values(),
];

/**
 * Parses a name that stands for one measure; `name` of the result is the normal form.
 *
 * @throws WinnowError `invalid_input` as `parseMeasures`, and for a name of several measures.
 */
export function parseMeasure(text: string): Measure {
  const [first, ...more] = parseMeasures(text);
  if (first !== undefined && more.length === 0) return first;
  const names = [first, ...more].map((measure) => measure?.name).join(', ');
  const kinds = new Set([first, ...more].map((measure) => measure?.kind));
  return failMeasure(
    text,
    kinds.size === 1 ? `a cutoff, as in ${first?.kind}@${first?.params.recall ?? 10}` : 'one measure',
    `none, which stands for ${names}`,
  );
}
