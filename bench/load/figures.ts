import type { Run } from './loops.ts';

/** Returns the median: the mean of the middle two values if their number is even. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1]! + sorted[sorted.length >> 1]!) / 2;
}

export const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

/** Returns the nearest-rank percentile of a list; NaN for an empty one. */
export function percentile(values: readonly number[], p: number): number {
  if (values.length === 0) return Number.NaN;
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil((p / 100) * sorted.length) - 1))]!;
}

export interface Summary {
  readonly requests: number;
  readonly answered: number;
  /** Refused at once with 429. */
  readonly refused: number;
  /** Answered with another status, or not at all. */
  readonly failed: number;
  readonly firstError?: string;
  /** Pairs answered a second. */
  readonly pairsPerSecond: number;
  /** Pairs answered within the deadline, per second of arrivals. */
  readonly goodput: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
}

/** Summarizes a run. Percentiles are of answered requests, in milliseconds. */
export function summarize(run: Run, deadlineMs = Number.POSITIVE_INFINITY): Summary {
  const answered = run.samples.filter(({ status }) => status === 200);
  const refused = run.samples.filter(({ status }) => status === 429);
  const failed = run.samples.filter(({ status }) => status !== 200 && status !== 429);
  const pairs = (samples: typeof answered) => samples.reduce((sum, { passages }) => sum + passages, 0);
  const ms = answered.map((s) => s.ms);
  const first = failed[0];
  return {
    requests: run.samples.length,
    answered: answered.length,
    refused: refused.length,
    failed: failed.length,
    ...(first ? { firstError: `${first.status} ${first.error ?? ''}` } : {}),
    pairsPerSecond: pairs(answered) / run.seconds,
    goodput: pairs(answered.filter((s) => s.ms <= deadlineMs)) / run.arrivalSeconds,
    p50: percentile(ms, 50),
    p90: percentile(ms, 90),
    p99: percentile(ms, 99),
  };
}

/** Returns a Markdown table, aligned for a terminal; the first column is left-aligned, the others right. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]!.length)));
  const line = (row: readonly string[]) =>
    `| ${row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join(' | ')} |`;
  const rule = `|${widths.map((w, i) => (i === 0 ? '-'.repeat(w + 2) : `${'-'.repeat(w + 1)}:`)).join('|')}|`;
  return [line(head), rule, ...rows.map(line)].join('\n');
}
