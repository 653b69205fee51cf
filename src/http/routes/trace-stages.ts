import type { RerankAnswer, StageRun, Timings } from '../../rerank/rerank-types.ts';
import type { ParentSpan } from '../../telemetry/tracing.ts';

/** A lease that took longer waited for a load, in milliseconds. */
const LOADING_MS = 5;

/** Adds what one model did below `span`, one step after the other from `start`. */
function addSteps(span: ParentSpan, start: number, timings: Timings, leaseMs = 0): void {
  const leasedAt = start + leaseMs;
  const queuedAt = leasedAt + timings.tokenizeMs;
  const inferredAt = queuedAt + timings.queueMs;
  if (leaseMs > LOADING_MS) span.stage('load', start, leasedAt);
  span.stage('tokenize', leasedAt, queuedAt);
  span.stage('queue', queuedAt, inferredAt);
  span.stage('infer', inferredAt, inferredAt + timings.inferMs);
}

function addCascade(span: ParentSpan, start: number, stages: readonly StageRun[]): void {
  let startedAt = start;
  for (const [at, { model, version, passages, leaseMs, timings }] of stages.entries()) {
    const endedAt = start + timings.totalMs;
    const attributes = {
      'winnow.stage': at,
      'winnow.model': model,
      'winnow.version': version,
      'winnow.passages': passages,
    };
    addSteps(span.stage('cascade stage', startedAt, endedAt, attributes), startedAt, timings, leaseMs);
    startedAt = endedAt;
  }
}

/**
 * Adds the steps of a request that was just answered to its span: those of each stage of a cascade below that stage, and otherwise those of all
 * its queries together. Waits and times in the engine are added up over batches that may run side by side.
 */
export function traceStages(span: ParentSpan, answers: readonly RerankAnswer[], totals: Timings): void {
  const start = Date.now() - totals.totalMs;
  const cascades = answers.filter(({ stages }) => stages !== undefined);
  for (const { stages = [] } of cascades) addCascade(span, start, stages);
  if (cascades.length === 0) addSteps(span, start, totals, Math.max(0, ...answers.map(({ leaseMs = 0 }) => leaseMs)));
}
