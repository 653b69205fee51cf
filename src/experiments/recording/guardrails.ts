import type { ErrorCode } from '../../errors.ts';
import { CATALOG } from '../../errors.ts';
import type { Plan } from '../assignment/prepared.ts';
import type { Guardrail } from '../definitions/definition.ts';

/** One request of an arm, as guardrails see it. */
export interface ArmEvent {
  readonly failed: boolean;
  readonly latencyMs: number | undefined;
}

/** Least number of an arm's newest requests that a guardrail looks at; `minRequests` where that is more. */
const WINDOW = 500;
/** Requests between two looks at a window. */
const EVERY = 20;

/** Whether a failure is the arm's or the server's doing; what the client sent wrong says nothing of an arm. */
export const countsAgainstArm = (code: ErrorCode | undefined): boolean =>
  code !== undefined && (CATALOG[code].status >= 500 || code === 'not_a_number');

/** The newest values, up to a number. */
class Ring {
  readonly #values: Float64Array;
  #seen = 0;

  constructor(size: number) {
    this.#values = new Float64Array(size);
  }

  push(value: number): void {
    this.#values[this.#seen++ % this.#values.length] = value;
  }

  values(): Float64Array {
    return this.#values.slice(0, Math.min(this.#seen, this.#values.length));
  }
}

interface Window {
  readonly failures: Ring;
  readonly latencies: Ring;
  requests: number;
}

const share = (values: Float64Array) => values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);

/** Nearest rank. */
function percentile95(values: Float64Array): number {
  return values.sort()[Math.max(0, Math.ceil(0.95 * values.length) - 1)] ?? 0;
}

const READINGS: Readonly<Record<Guardrail['metric'], (window: Window) => number>> = {
  errors: ({ failures }) => share(failures.values()),
  latency_p95_ms: ({ latencies }) => percentile95(latencies.values()),
};

/** Why an arm was taken out. */
export interface Trip {
  readonly plan: Plan;
  readonly arm: string;
  readonly metric: Guardrail['metric'];
  /** One line for people, that begins with `arm NAME: `. */
  readonly reason: string;
}

/** The arm a stored trip is about. */
export const trippedArm = (reason: string): string | undefined => /^arm (\S+): /.exec(reason)?.[1];

/** Watches the newest requests of each arm; says when one breaks a guardrail of its experiment. Control is what arms fall back to. */
export class GuardrailWatch {
  readonly #windows = new Map<string, Window>();

  record(plan: Plan, arm: string, { failed, latencyMs }: ArmEvent): Trip | undefined {
    const { guardrails } = plan.definition;
    if (guardrails.length === 0 || arm === plan.control.name) return undefined;
    const window = this.#window(plan, arm);
    window.failures.push(failed ? 1 : 0);
    if (latencyMs !== undefined) window.latencies.push(latencyMs);
    window.requests++;
    if (window.requests % EVERY !== 0 && !guardrails.some(({ minRequests }) => minRequests === window.requests))
      return undefined;
    for (const { metric, max, minRequests } of guardrails) {
      if (window.requests < minRequests) continue;
      const seen = READINGS[metric](window);
      if (seen > max) return { plan, arm, metric, reason: `arm ${arm}: ${metric} ${round(seen)} > ${max}` };
    }
    return undefined;
  }

  /** Forgets what was seen of definitions that are no longer in effect. */
  keepOnly(plans: readonly Plan[]): void {
    const kept = new Set(plans.flatMap((plan) => plan.definition.arms.map(({ name }) => keyOf(plan, name))));
    for (const key of this.#windows.keys()) if (!kept.has(key)) this.#windows.delete(key);
  }

  #window(plan: Plan, arm: string): Window {
    const key = keyOf(plan, arm);
    let window = this.#windows.get(key);
    if (!window) {
      const size = Math.max(WINDOW, ...plan.definition.guardrails.map(({ minRequests }) => minRequests));
      window = { failures: new Ring(size), latencies: new Ring(size), requests: 0 };
      this.#windows.set(key, window);
    }
    return window;
  }
}

/** Names an arm of one definition: a change of the definition makes another one. */
export const keyOf = (plan: Plan, arm: string): string => `${plan.definition.name}\u0000${plan.hash}\u0000${arm}`;

const round = (value: number) => Math.round(value * 1e4) / 1e4;
