import { CATALOG, type ErrorCode } from '../../errors.ts';
import type { PreparedExperiment } from '../assignment/prepared-experiment.ts';
import type { Guardrail } from '../definitions/definition.ts';

/** One request of an arm, as guardrails see it. */
export interface ArmEvent {
  readonly failed: boolean;
  readonly latencyMs: number | undefined;
}

/** A window holds at least this many of an arm's newest requests; `minRequests` where that is more. */
const WINDOW = 500;
/** Requests of an arm between two checks of its window. */
const CHECK_EVERY = 20;

/** Whether a failure is the arm's or the server's fault. An invalid request says nothing about the arm. */
export const countsAgainstArm = (code: ErrorCode | undefined): boolean =>
  code !== undefined && (CATALOG[code].status >= 500 || code === 'not_a_number');

/** The newest values, up to `size` of them. */
class NewestValues {
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
  readonly failures: NewestValues;
  readonly latencies: NewestValues;
  requests: number;
}

const share = (values: Float64Array) => values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);

/** Returns the 95th percentile by nearest rank. Sorts `values`. */
function percentile95(values: Float64Array): number {
  return values.sort()[Math.max(0, Math.ceil(0.95 * values.length) - 1)] ?? 0;
}

const READINGS: Readonly<Record<Guardrail['metric'], (window: Window) => number>> = {
  errors: ({ failures }) => share(failures.values()),
  latency_p95_ms: ({ latencies }) => percentile95(latencies.values()),
};

/** An arm that broke a guardrail. */
export interface Trip {
  readonly prepared: PreparedExperiment;
  readonly arm: string;
  readonly metric: Guardrail['metric'];
  /** One line to read, which begins with `arm NAME: `. */
  readonly reason: string;
}

/** Returns the arm that the reason of a stored trip names. */
export const trippedArm = (reason: string): string | undefined => /^arm (\S+): /.exec(reason)?.[1];

/** Watches the newest requests of each arm for breaches of guardrails. Control is exempt: arms fall back to it. */
export class GuardrailWatch {
  readonly #windows = new Map<string, Window>();

  /** Adds a request of an arm. @returns the trip where the arm now breaks a guardrail. */
  record(prepared: PreparedExperiment, arm: string, { failed, latencyMs }: ArmEvent): Trip | undefined {
    const { guardrails } = prepared.definition;
    if (guardrails.length === 0 || arm === prepared.control.name) return undefined;
    const window = this.#window(prepared, arm);
    window.failures.push(failed ? 1 : 0);
    if (latencyMs !== undefined) window.latencies.push(latencyMs);
    window.requests++;
    if (window.requests % CHECK_EVERY !== 0 && !guardrails.some(({ minRequests }) => minRequests === window.requests))
      return undefined;
    for (const { metric, max, minRequests } of guardrails) {
      if (window.requests < minRequests) continue;
      const value = READINGS[metric](window);
      if (value > max) return { prepared, arm, metric, reason: `arm ${arm}: ${metric} ${round(value)} > ${max}` };
    }
    return undefined;
  }

  /** Forgets the requests of definitions that are no longer in effect. */
  keepOnly(experiments: readonly PreparedExperiment[]): void {
    const kept = armKeys(experiments);
    for (const key of this.#windows.keys()) if (!kept.has(key)) this.#windows.delete(key);
  }

  #window(prepared: PreparedExperiment, arm: string): Window {
    const key = armKey(prepared, arm);
    let window = this.#windows.get(key);
    if (!window) {
      const size = Math.max(WINDOW, ...prepared.definition.guardrails.map(({ minRequests }) => minRequests));
      window = { failures: new NewestValues(size), latencies: new NewestValues(size), requests: 0 };
      this.#windows.set(key, window);
    }
    return window;
  }
}

/** Returns a key for an arm of one definition: a changed definition has other keys. */
export const armKey = ({ definition, hash }: PreparedExperiment, arm: string): string =>
  `${definition.name}\u0000${hash}\u0000${arm}`;

/** Returns the keys of all arms of some experiments. */
export const armKeys = (experiments: readonly PreparedExperiment[]): ReadonlySet<string> =>
  new Set(experiments.flatMap((prepared) => prepared.definition.arms.map(({ name }) => armKey(prepared, name))));

const round = (value: number) => Math.round(value * 1e4) / 1e4;
