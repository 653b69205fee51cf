import { CATALOG, type ErrorCode } from '../../errors.ts';
import { fisherExactGreater, type Share } from '../../statistics/fisher-exact.ts';
import { nearestRank } from '../../statistics/ranks.ts';
import type { PreparedExperiment } from '../assignment/prepared-experiment.ts';
import type { Guardrail } from '../definitions/definition.ts';

/** One request of an arm, as guardrails see it. */
export interface ArmEvent {
  readonly failed: boolean;
  /** Absent where the arm did not answer. */
  readonly latencyMs: number | undefined;
}

/** A window holds at least this many of an arm's newest requests; `minRequests` where that is more. */
const WINDOW = 500;
/** Requests of an arm between two checks of its window, and in one part of it. */
const CHECK_EVERY = 20;
/** The most latencies of control in one part: control may have many times the arm's traffic. */
const CONTROL_LATENCIES = 100;
/** An arm is worse than control where chance explains it with a smaller p. Windows are checked again and again, hence far below 5 %. */
const ALPHA = 1e-4;

/**
 * Whether a failure is the arm's or the server's fault. An invalid request says nothing about the arm, nor does a deadline that the client
 * chose.
 */
export function countsAgainstArm(code: ErrorCode | undefined, clientDeadline = false): boolean {
  if (code === undefined || (code === 'deadline_exceeded' && clientDeadline)) return false;
  return CATALOG[code].status >= 500 || code === 'not_a_number';
}

/** What happened to the arm and to control while the arm had CHECK_EVERY requests. */
interface Part {
  readonly arm: { failed: number; requests: number; readonly latencies: number[] };
  readonly control: { failed: number; requests: number; readonly latencies: number[] };
}

const emptyPart = (): Part => ({
  arm: { failed: 0, requests: 0, latencies: [] },
  control: { failed: 0, requests: 0, latencies: [] },
});

function addEvent(side: Part['arm'], { failed, latencyMs }: ArmEvent): void {
  side.requests++;
  if (failed) side.failed++;
  if (latencyMs === undefined) return;
  // Beyond the limit the newest ones are kept.
  if (side.latencies.length < CONTROL_LATENCIES) side.latencies.push(latencyMs);
  else side.latencies[side.requests % CONTROL_LATENCIES] = latencyMs;
}

/** An arm's newest requests, and those of control in the same time. */
class ComparedWindow {
  readonly #parts: Part[] = [emptyPart()];
  readonly #most: number;
  requests = 0;

  /** @param size requests of the arm. */
  constructor(size: number) {
    this.#most = Math.ceil(size / CHECK_EVERY);
  }

  add(side: keyof Part, event: ArmEvent): void {
    const newest = this.#parts.at(-1)!;
    if (side === 'arm' && newest.arm.requests >= CHECK_EVERY) {
      this.#parts.push(emptyPart());
      if (this.#parts.length > this.#most) this.#parts.shift();
    }
    addEvent(this.#parts.at(-1)![side], event);
    if (side === 'arm') this.requests++;
  }

  failures(side: keyof Part): Share {
    const total = (of: 'failed' | 'requests') => this.#parts.reduce((sum, part) => sum + part[side][of], 0);
    return { hits: total('failed'), trials: total('requests') };
  }

  /** Returns the latencies of answers, ascending. */
  latencies(side: keyof Part): Float64Array {
    return Float64Array.from(this.#parts.flatMap((part) => part[side].latencies)).sort();
  }
}

/** Returns the 95th percentile, 0 without values. */
const percentile95 = (sorted: Float64Array): number => nearestRank(sorted, 0.95) ?? 0;

/** The value of a guardrail's metric in an arm and in control, and how well chance explains that the arm's is larger. */
interface Reading {
  readonly arm: number;
  readonly control: number;
  readonly p: number;
}

function readErrors(window: ComparedWindow): Reading {
  const [arm, control] = [window.failures('arm'), window.failures('control')];
  const share = ({ hits, trials }: Share) => hits / Math.max(1, trials);
  return { arm: share(arm), control: share(control), p: fisherExactGreater(arm, control) };
}

/** Compares how many answers took longer than the limit, or than 95 % of control's where control is above the limit itself. */
function readLatency(window: ComparedWindow, max: number): Reading {
  const [arm, control] = [window.latencies('arm'), window.latencies('control')];
  const limit = Math.max(max, percentile95(control));
  const slow = (sorted: Float64Array): Share => ({
    hits: sorted.filter((ms) => ms > limit).length,
    trials: sorted.length,
  });
  return {
    arm: percentile95(arm),
    control: percentile95(control),
    p: fisherExactGreater(slow(arm), slow(control)),
  };
}

const READINGS: Readonly<Record<Guardrail['metric'], (window: ComparedWindow, max: number) => Reading>> = {
  errors: readErrors,
  latency_p95_ms: readLatency,
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

/**
 * Watches the newest requests of each arm, and those of control in the same time, for breaches of guardrails: a value above the limit that
 * is also larger than control's by more than chance. What hits both alike, such as an outage, takes no arm out.
 */
export class GuardrailWatch {
  readonly #windows = new Map<string, ComparedWindow>();

  /** Adds a request of an arm. @returns the trip where the arm now breaks a guardrail. */
  record(prepared: PreparedExperiment, arm: string, event: ArmEvent): Trip | undefined {
    const { guardrails, arms } = prepared.definition;
    if (guardrails.length === 0) return undefined;
    if (arm === prepared.control.name) {
      for (const { name } of arms) if (name !== arm) this.#window(prepared, name).add('control', event);
      return undefined;
    }
    const window = this.#window(prepared, arm);
    window.add('arm', event);
    if (window.requests % CHECK_EVERY !== 0 && !guardrails.some(({ minRequests }) => minRequests === window.requests))
      return undefined;
    for (const { metric, max, minRequests } of guardrails) {
      if (window.requests < minRequests) continue;
      const { arm: value, control, p } = READINGS[metric](window, max);
      if (value <= max || p >= ALPHA) continue;
      const reason = `arm ${arm}: ${metric} ${round(value)} > ${max} (control ${round(control)})`;
      return { prepared, arm, metric, reason };
    }
    return undefined;
  }

  /** Forgets the requests of definitions that are no longer in effect. */
  keepOnly(experiments: readonly PreparedExperiment[]): void {
    const kept = armKeys(experiments);
    for (const key of this.#windows.keys()) if (!kept.has(key)) this.#windows.delete(key);
  }

  #window(prepared: PreparedExperiment, arm: string): ComparedWindow {
    const key = armKey(prepared, arm);
    let window = this.#windows.get(key);
    if (!window) {
      const size = Math.max(WINDOW, ...prepared.definition.guardrails.map(({ minRequests }) => minRequests));
      window = new ComparedWindow(size);
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
