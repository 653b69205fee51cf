import type { ErrorCode } from '../../errors.ts';
import type { RequestDecision } from '../assignment/decisions.ts';
import type { PreparedExperiment } from '../assignment/prepared-experiment.ts';
import type { Unit } from '../assignment/units.ts';
import type { ArmRanking, FinishedRequest, RankedPassage } from '../ports.ts';
import type { ExposedItem, Exposure } from '../records.ts';

type Candidate = Omit<ExposedItem, 'digest'>;

/** An exposure whose texts are not digested and whose unit is not hashed yet: both happen after the answer has left. */
export interface PendingExposure {
  readonly record: Omit<Exposure, 'unit' | 'items'>;
  readonly unitId: string;
  readonly passages: readonly string[];
  /** Candidates to keep, those shown first. */
  readonly candidates: readonly Candidate[];
}

/** Candidates kept of one request; of longer lists the tail is left out. */
const MAX_CANDIDATES = 1000;

/** Failures of an arm that mean its model is not there, rather than not working. */
const MISSING: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'unknown_model',
  'unknown_version',
  'model_refused',
  'model_not_ready',
]);

/** Rank of each passage in each arm's own ranking. */
function ranksByArm(arms: readonly ArmRanking[]): (index: number) => Readonly<Record<string, number>> {
  const ranks = arms.map(({ arm, ranking }) => ({ arm, rankOf: new Map(ranking.map(({ index }, i) => [index, i])) }));
  return (index) => Object.fromEntries(ranks.map(({ arm, rankOf }) => [arm, rankOf.get(index) ?? -1]));
}

function candidatesOf(shown: readonly RankedPassage[], arms: readonly ArmRanking[], interleaved: boolean): Candidate[] {
  const ranks = interleaved ? ranksByArm(arms) : undefined;
  const candidate = ({ index, score, team }: RankedPassage): Candidate => ({
    index,
    score,
    ...(team === undefined ? {} : { team }),
    ...(ranks ? { ranks: ranks(index) } : {}),
  });
  const kept = shown.slice(0, MAX_CANDIDATES).map(candidate);
  const whole = arms[0]?.ranking ?? [];
  if (kept.length >= whole.length || kept.length === MAX_CANDIDATES) return kept;
  const seen = new Set(kept.map(({ index }) => index));
  for (const ranked of whole) {
    if (kept.length === MAX_CANDIDATES) break;
    if (!seen.has(ranked.index)) kept.push({ ...candidate(ranked), shown: false });
  }
  return kept;
}

/** Returns why control answered instead of the arm; nothing where the arm did. */
export function fallbackOf({ decision, fallback }: FinishedRequest<RequestDecision>): string | undefined {
  if (fallback) return MISSING.has(fallback.code) ? 'missing' : 'failed';
  return decision.answering?.tripped ? 'guardrail' : undefined;
}

/** The unit and arm that a request counts for in one experiment. */
interface Assignment {
  readonly prepared: PreparedExperiment;
  readonly unit: Unit;
  readonly arm: string;
  readonly forced: boolean;
  /** Milliseconds since 1970. */
  readonly at: number;
}

function recordOf(
  { prepared, unit, arm, forced, at }: Assignment,
  finished: FinishedRequest<RequestDecision>,
): PendingExposure['record'] {
  const fallback = fallbackOf(finished);
  return {
    requestId: finished.request.requestId,
    at,
    experiment: prepared.definition.name,
    configHash: prepared.hash,
    mode: prepared.definition.mode,
    unitKind: unit.kind,
    hashVersion: prepared.hashVersion,
    arm,
    models: Object.fromEntries(finished.arms.map((one) => [one.arm, `${one.model}@${one.version}`])),
    forced,
    ...(fallback === undefined ? {} : { fallback }),
    failed: finished.answer === undefined,
    latencyMs: finished.latencyMs,
    truncated: finished.answer?.truncated.filter(Boolean).length ?? 0,
    ...(finished.answer?.queryCut ? { queryTruncated: finished.answer.queryCut } : {}),
    passages: finished.request.passages.length,
    ...(finished.answer?.kept ? { keptPassages: finished.answer.kept.hits } : {}),
  };
}

/** Makes the exposure of a finished request to one experiment. */
export function pendingExposure(assignment: Assignment, finished: FinishedRequest<RequestDecision>): PendingExposure {
  const interleaved = assignment.prepared.definition.mode === 'interleave' && finished.arms.length > 1;
  return {
    record: recordOf(assignment, finished),
    unitId: assignment.unit.id,
    passages: finished.request.passages,
    candidates: candidatesOf(finished.answer?.ranking ?? [], finished.arms, interleaved),
  };
}

/** Returns the whole ranking that the answer was made from; an interleaved one is as long as the answer. */
export function answeredRanking({ arms, answer }: FinishedRequest): readonly RankedPassage[] {
  return arms.length === 1 ? arms[0]!.ranking : (answer?.ranking ?? []);
}
