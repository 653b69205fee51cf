import type { ErrorCode } from '../../errors.ts';
import type { RequestDecision } from '../assignment/decisions.ts';
import type { Plan } from '../assignment/prepared.ts';
import type { Unit } from '../assignment/units.ts';
import type { Exposed, HookArm, HookRanked } from '../ports.ts';
import type { Exposure } from '../records.ts';

/** An exposure before its texts are digested and its unit is hashed: both happen after the answer has left. */
export interface ExposureDraft {
  readonly row: Omit<Exposure, 'unit' | 'items'>;
  readonly unit: string;
  readonly passages: readonly string[];
  /** Candidates to keep, those shown first. */
  readonly candidates: readonly Candidate[];
}

export interface Candidate {
  readonly index: number;
  readonly score: number;
  readonly team?: string;
  readonly ranks?: Readonly<Record<string, number>>;
  readonly shown?: false;
}

/** Candidates kept of one request; of longer lists the tail is left out. */
const MOST_CANDIDATES = 1000;

/** Failures of an arm that mean its model is not there, rather than not working. */
const MISSING: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'unknown_model',
  'unknown_version',
  'model_refused',
  'model_not_ready',
]);

/** Rank of each passage in each arm's own ranking. */
function ranksOf(arms: readonly HookArm[]): (index: number) => Readonly<Record<string, number>> {
  const places = arms.map(({ arm, ranking }) => ({ arm, places: new Map(ranking.map(({ index }, i) => [index, i])) }));
  return (index) => Object.fromEntries(places.map(({ arm, places: of }) => [arm, of.get(index) ?? -1]));
}

function candidatesOf(shown: readonly HookRanked[], arms: readonly HookArm[], interleaved: boolean): Candidate[] {
  const ranks = interleaved ? ranksOf(arms) : undefined;
  const candidate = ({ index, score, team }: HookRanked): Candidate => ({
    ...{ index, score },
    ...(team === undefined ? {} : { team }),
    ...(ranks ? { ranks: ranks(index) } : {}),
  });
  const kept = shown.slice(0, MOST_CANDIDATES).map(candidate);
  const whole = arms[0]?.ranking ?? [];
  if (kept.length >= whole.length || kept.length === MOST_CANDIDATES) return kept;
  const seen = new Set(kept.map(({ index }) => index));
  for (const ranked of whole) {
    if (kept.length === MOST_CANDIDATES) break;
    if (!seen.has(ranked.index)) kept.push({ ...candidate(ranked), shown: false });
  }
  return kept;
}

/** Why control answered; nothing where the arm did. */
export function fallbackOf(exposed: Exposed<RequestDecision>): string | undefined {
  if (exposed.fallback) return MISSING.has(exposed.fallback.code) ? 'missing' : 'failed';
  return exposed.decision.answering?.tripped ? 'guardrail' : undefined;
}

interface Frame {
  readonly plan: Plan;
  readonly unit: Unit;
  readonly arm: string;
  readonly forced: boolean;
  readonly at: number;
}

function rowOf({ plan, unit, arm, forced, at }: Frame, exposed: Exposed<RequestDecision>): ExposureDraft['row'] {
  const fallback = fallbackOf(exposed);
  return {
    requestId: exposed.request.requestId,
    at,
    experiment: plan.definition.name,
    configHash: plan.hash,
    mode: plan.definition.mode,
    unitKind: unit.kind,
    hashVersion: plan.hashVersion,
    arm,
    models: Object.fromEntries(exposed.arms.map((one) => [one.arm, `${one.model}@${one.version}`])),
    forced,
    ...(fallback === undefined ? {} : { fallback }),
    failed: exposed.answer === undefined,
    latencyMs: exposed.latencyMs,
    truncated: exposed.answer?.truncated.filter(Boolean).length ?? 0,
  };
}

/** What the request's answering experiment logs of it. */
export function draftOf(frame: Frame, exposed: Exposed<RequestDecision>): ExposureDraft {
  const interleaved = frame.plan.definition.mode === 'interleave' && exposed.arms.length > 1;
  return {
    row: rowOf(frame, exposed),
    unit: frame.unit.id,
    passages: exposed.request.passages,
    candidates: candidatesOf(exposed.answer?.ranking ?? [], exposed.arms, interleaved),
  };
}

/** The ranking that the answer was made from, whole: interleaved ones are as long as the answer. */
export function answeredRanking({ arms, answer }: Exposed<RequestDecision>): readonly HookRanked[] {
  return arms.length === 1 ? arms[0]!.ranking : (answer?.ranking ?? []);
}
