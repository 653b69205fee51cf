import { pStatement, signedPercent, withSign } from '../../reports/format.ts';
import type { Experiment } from '../definitions/definition.ts';
import { type ArmComparison, MIN_UNITS } from './metric-sections.ts';
import type { ExperimentReport, Verdict } from './report-data.ts';

/** A report without its verdict. */
type Findings = Omit<ExperimentReport, 'verdict'>;

const signedFigure = (value: number) => withSign(value, Math.abs(value).toPrecision(3));
const level = (alpha: number) => `always-valid ${100 * (1 - alpha)} % interval`;

/** Returns text such as `+4.2 % (always-valid 95 % interval +2.0 % to +6.4 %, corrected p = 3.0e-4)`. */
function effectText({ difference, lift, alwaysValid, adjustedP }: ArmComparison, alpha: number): string {
  const { interval, liftInterval } = alwaysValid;
  const isRelative = lift !== undefined && liftInterval !== undefined;
  const format = (value: number) => (isRelative ? signedPercent(value) : signedFigure(value));
  const [low, high] = isRelative ? liftInterval : interval;
  const size = format(isRelative ? lift : difference);
  return `${size} (${level(alpha)} ${format(low)} to ${format(high)}, corrected ${pStatement(adjustedP)})`;
}

interface ArmFindings {
  readonly arm: string;
  /** Better than control in the primary metric. */
  readonly isBetter: boolean;
  /** Metrics in which the arm is worse than control. */
  readonly worseIn: readonly string[];
  /** A guardrail took the arm out. */
  readonly isTripped: boolean;
  readonly text: string;
  /** Size of the effect on the primary metric, positive in the direction that is better. */
  readonly size: number;
}

const isTripped = ({ arms }: Findings, arm: string): boolean =>
  arms.some((section) => section.arm === arm && section.tripped !== undefined);

/** Collects what a split experiment found about one arm: the first metric decides, no other may be worse. */
function splitFindings(findings: Findings, arm: string): ArmFindings | undefined {
  const [primary] = findings.metrics;
  const main = primary?.comparisons.find((comparison) => comparison.arm === arm);
  if (!primary || !main) return undefined;
  const effects = findings.metrics.flatMap(({ name, comparisons }) =>
    comparisons.filter((comparison) => comparison.arm === arm).map(({ effect }) => ({ name, effect })),
  );
  return {
    arm,
    isBetter: main.effect === 'better',
    worseIn: effects.filter(({ effect }) => effect === 'worse').map(({ name }) => name),
    isTripped: isTripped(findings, arm),
    text: `${primary.name} ${effectText(main, findings.alpha)}`,
    size: main.difference * (primary.direction === 'up' ? 1 : -1),
  };
}

/** Collects what an interleaving experiment found about one arm. */
function creditFindings(experiment: Experiment, findings: Findings, arm: string): ArmFindings | undefined {
  const [section] = findings.credit;
  const found = section?.preferences.find((one) => one.arm === arm);
  if (!section || !found) return undefined;
  const { alpha } = findings;
  const { preference, alwaysValid, adjustedP: p } = found;
  const sign = experiment.metrics[0]!.direction === 'up' ? 1 : -1;
  const [low, high] = alwaysValid.interval;
  const interval = `${level(alpha)} ${signedPercent(low)} to ${signedPercent(high)}`;
  const isSignificant = p < alpha && section.requests >= MIN_UNITS;
  return {
    arm,
    isBetter: isSignificant && sign * preference > 0,
    worseIn: isSignificant && sign * preference < 0 ? [section.metric] : [],
    isTripped: isTripped(findings, arm),
    text: `preferred by ${signedPercent(preference)} of interleaved answers with ${section.metric} (${interval}, corrected ${pStatement(p)})`,
    size: sign * preference,
  };
}

/** @param tooFew an arm has fewer units than a conclusion needs. */
function conclude(experiment: Experiment, arms: readonly ArmFindings[], tooFew: boolean): Verdict {
  if (arms.length === 0) return { state: 'empty', text: 'No outcomes yet: nothing can be said.' };
  const winners = arms.filter((one) => one.isBetter && one.worseIn.length === 0 && !one.isTripped);
  const [winner] = winners.toSorted((a, b) => b.size - a.size);
  if (winner) return { state: 'win', winner: winner.arm, text: `${winner.arm} wins: ${winner.text}.` };
  const losers = arms.filter((one) => one.worseIn.length > 0 || one.isTripped);
  const all = arms.map(({ arm, text }) => `${arm}: ${text}`).join('; ');
  if (losers.length === arms.length) {
    const reasons = losers.map(
      (one) => `${one.arm} ${one.isTripped ? 'was taken out by a guardrail' : `is worse in ${one.worseIn.join(', ')}`}`,
    );
    return {
      state: 'loss',
      winner: experiment.control,
      text: `Keep ${experiment.control}: ${reasons.join('; ')}. ${all}.`,
    };
  }
  const few = tooFew ? ` (fewer than ${MIN_UNITS} units in an arm)` : '';
  return { state: 'open', text: `No decision yet${few}. ${all}.` };
}

function shadowVerdict(arms: readonly string[]): Verdict {
  if (arms.length === 0) return { state: 'empty', text: 'No shadow rankings yet.' };
  return {
    state: 'observed',
    text: `Rankings of ${arms.join(', ')} compared with what was answered; no user saw them.`,
  };
}

function mismatchVerdict({ arms, alwaysValidP }: NonNullable<Findings['sampleRatio']>): Verdict {
  const seen = arms.map(({ arm, units, expected }) => `${arm} ${units} of ${expected.toFixed(0)} expected`).join(', ');
  return {
    state: 'sample_ratio',
    text: `Sample ratio mismatch (always-valid ${pStatement(alwaysValidP)}): ${seen}. Units went missing, so no figure can be trusted; find out why first.`,
  };
}

function reshuffledVerdict(crossed: number, { share, configHash }: NonNullable<Findings['reshuffled']>): Verdict {
  return {
    state: 'open',
    text: `No decision: ${crossed} units (${(100 * share).toFixed(1)} %) changed arm with the weights and are left out. They are units that came back, so those that are left cannot be compared. Begin with the present weights (since = ${configHash}), and set \`sticky: true\` before the next change.`,
  };
}

/** Returns the conclusion of a report, in one word and one sentence. */
export function verdictOf(experiment: Experiment, findings: Findings): Verdict {
  const { mode, sampleRatio, shadow } = findings;
  if (mode === 'shadow') return shadowVerdict(Object.keys(shadow));
  if (sampleRatio && !sampleRatio.ok) return mismatchVerdict(sampleRatio);
  if (findings.reshuffled) return reshuffledVerdict(findings.crossed, findings.reshuffled);
  const names = experiment.arms.map(({ name }) => name).filter((name) => name !== experiment.control);
  const arms = names.flatMap(
    (arm) => (mode === 'interleave' ? creditFindings(experiment, findings, arm) : splitFindings(findings, arm)) ?? [],
  );
  return conclude(experiment, arms, mode === 'split' && findings.arms.some(({ units }) => units < MIN_UNITS));
}
