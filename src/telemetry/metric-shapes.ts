/** Seconds, 1 ms to 60 s; narrow buckets from 50 ms to 1 s, where the limits of interactive requests lie. */
export const LATENCY = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8, 1, 2.5, 5, 10, 30, 60,
];
export const ROWS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];
export const TOKENS = [64, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768];
export const PASSAGES = [1, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000];

/** A row of the table of metrics. */
export interface Shape {
  readonly kind: 'counter' | 'gauge' | 'histogram';
  readonly name: string;
  readonly help: string;
  readonly labels: readonly string[];
  readonly buckets?: readonly number[];
  /** Whether samples may name the trace of a request (exemplars of OpenMetrics). */
  readonly traced?: true;
}

export const counter = <const L extends readonly string[]>(name: string, help: string, labels: L) =>
  ({ kind: 'counter', name, help, labels }) as const;
export const gauge = <const L extends readonly string[]>(name: string, help: string, labels: L) =>
  ({ kind: 'gauge', name, help, labels }) as const;
export const histogram = <const L extends readonly string[]>(
  name: string,
  help: string,
  labels: L,
  buckets: readonly number[],
) => ({ kind: 'histogram', name, help, labels, buckets }) as const;

/** A counter whose increments name traces. */
export const tracedCounter = <const L extends readonly string[]>(name: string, help: string, labels: L) =>
  ({ kind: 'counter', name, help, labels, traced: true }) as const;
/** A histogram whose observations name traces. */
export const tracedHistogram = <const L extends readonly string[]>(
  name: string,
  help: string,
  labels: L,
  buckets: readonly number[],
) => ({ kind: 'histogram', name, help, labels, buckets, traced: true }) as const;
