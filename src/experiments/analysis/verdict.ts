import { holm } from '../../statistics/corrections.ts';
import type { Experiment } from '../definitions/definition.ts';
import type { CreditSection } from './credit.ts';
import { type ArmComparison, FEWEST } from './metrics.ts';
import type { ExperimentReport, Verdict } from './model.ts';

type Draft = Omit<ExperimentReport, 'verdict'>;

const percent = (share: number) => `${share < 0 ? '−' : '+'}${Math.abs(100 * share).toFixed(2)} %`;
const number = (value: number) => `${value < 0 ? '−' : '+'}${Math.abs(value).toPrecision(3)}`;
const pText = (p: number) => (p < 0.0001 ? 'p < 0.0001' : `p = ${p.toFixed(4)}`);

/** `+4.2 % (always-valid 95 % interval +2.0 % to +6.4 %, corrected p = 0.0003)`. */
function effectText({ difference, lift, alwaysValid, adjustedP }: ArmComparison, alpha: number): string {
  const { interval, liftInterval } = alwaysValid;
  const relative = lift !== undefined && liftInterval !== undefined;
  const [low, high] = (relative ? liftInterval : interval).map(relative ? percent : number);
  const size = relative ? percent(lift) : number(difference);
  return `${size} (always-valid ${100 * (1 - alpha)} % interval ${low} to ${high}, corrected ${pText(adjustedP)})`;
}

interface ArmFindings {
  readonly arm: string;
  readonly better: boolean;
  readonly worse: readonly string[];
  readonly out: boolean;
  readonly text: string;
  /** In the direction that is better. */
  readonly size: number;
}

/** What the metrics say of one arm: the first decides, none may be worse. */
function splitFindings(draft: Draft, arm: string): ArmFindings | undefined {
  const [primary] = draft.metrics;
  const main = primary?.comparisons.find((comparison) => comparison.arm === arm);
  if (!primary || !main) return undefined;
  const effects = draft.metrics.flatMap(({ name, comparisons }) =>
    comparisons.filter((comparison) => comparison.arm === arm).map(({ effect }) => ({ name, effect })),
  );
  return {
    arm,
    better: main.effect === 'better',
    worse: effects.filter(({ effect }) => effect === 'worse').map(({ name }) => name),
    out: draft.arms.some((section) => section.arm === arm && section.tripped !== undefined),
    text: `${primary.name} ${effectText(main, draft.alpha)}`,
    size: main.difference * (primary.direction === 'up' ? 1 : -1),
  };
}

/** Corrected always-valid p-values of a section's arms. */
const corrected = ({ preferences }: CreditSection) => holm(preferences.map(({ alwaysValid }) => alwaysValid.p));

function creditFindings(experiment: Experiment, draft: Draft, arm: string): ArmFindings | undefined {
  const [section] = draft.credit;
  const i = section?.preferences.findIndex((one) => one.arm === arm) ?? -1;
  const found = section?.preferences[i];
  if (!section || !found) return undefined;
  const sign = experiment.metrics[0]!.direction === 'up' ? 1 : -1;
  const p = corrected(section)[i]!;
  const [low, high] = found.alwaysValid.interval.map(percent);
  const sure = p < draft.alpha && section.requests >= FEWEST;
  return {
    arm,
    better: sure && sign * found.preference > 0,
    worse: sure && sign * found.preference < 0 ? [section.metric] : [],
    out: draft.arms.some((one) => one.arm === arm && one.tripped !== undefined),
    text: `preferred by ${percent(found.preference)} of interleaved answers with ${section.metric} (always-valid ${100 * (1 - draft.alpha)} % interval ${low} to ${high}, corrected ${pText(p)})`,
    size: sign * found.preference,
  };
}

function judge(experiment: Experiment, findings: readonly ArmFindings[], few: boolean): Verdict {
  if (findings.length === 0) return { state: 'empty', text: 'No outcomes yet: nothing can be said.' };
  const winners = findings.filter(({ better, worse, out }) => better && worse.length === 0 && !out);
  const [winner] = winners.toSorted((a, b) => b.size - a.size);
  if (winner) return { state: 'win', winner: winner.arm, text: `${winner.arm} wins: ${winner.text}.` };
  const lost = findings.filter(({ worse, out }) => worse.length > 0 || out);
  const all = findings.map(({ arm, text }) => `${arm}: ${text}`).join('; ');
  if (lost.length === findings.length) {
    const why = lost.map(
      ({ arm, worse, out }) => `${arm} ${out ? 'was taken out by a guardrail' : `is worse in ${worse.join(', ')}`}`,
    );
    return {
      state: 'loss',
      winner: experiment.control,
      text: `Keep ${experiment.control}: ${why.join('; ')}. ${all}.`,
    };
  }
  return { state: 'open', text: `No decision yet${few ? ` (fewer than ${FEWEST} units in an arm)` : ''}. ${all}.` };
}

/** What an experiment comes to, in one sentence and one word. */
export function verdictOf(experiment: Experiment, draft: Draft): Verdict {
  if (draft.mode === 'shadow') {
    const arms = Object.keys(draft.shadow);
    if (arms.length === 0) return { state: 'empty', text: 'No shadow rankings yet.' };
    return {
      state: 'observed',
      text: `Rankings of ${arms.join(', ')} compared with what was answered; no user saw them.`,
    };
  }
  const { sampleRatio } = draft;
  if (sampleRatio && !sampleRatio.ok) {
    const seen = sampleRatio.arms.map(
      ({ arm, units, expected }) => `${arm} ${units} of ${expected.toFixed(0)} expected`,
    );
    const text = `Sample ratio mismatch (χ² = ${sampleRatio.statistic.toFixed(1)}, ${pText(sampleRatio.p)}): ${seen.join(', ')}. Units went missing, so no figure can be trusted; find out why first.`;
    return { state: 'sample_ratio', text };
  }
  const names = experiment.arms.map(({ name }) => name).filter((name) => name !== experiment.control);
  const find = draft.mode === 'interleave' ? creditFindings.bind(null, experiment) : splitFindings;
  const findings = names.flatMap((arm) => find(draft, arm) ?? []);
  return judge(experiment, findings, draft.mode === 'split' && draft.arms.some(({ units }) => units < FEWEST));
}
