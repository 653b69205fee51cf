import { median, table } from '../load/figures.ts';
import { BASELINE, OURS } from './rows.ts';
import type { Accuracy } from './work.ts';

/** One row of the table. */
export interface Result {
  readonly id: string;
  readonly title: string;
  readonly given: string;
  readonly isOurs: boolean;
  readonly version: string;
  /** Why it was not measured, or not to the end. */
  readonly reason?: string;
  /** Seconds of each round, by the clock and of the processors. */
  readonly seconds: readonly number[];
  readonly cpu: readonly number[];
  /** Most resident memory of its processes, in bytes. */
  readonly bytes: number;
  readonly accuracy?: Accuracy;
}

/** Everything that a run found. */
export interface Found {
  readonly machine: string;
  /** Pairs of a round, and their mean tokens. */
  readonly pairs: number;
  readonly tokens: number;
  readonly layout: string;
  readonly load: string;
  /** Processor use of all else during the rounds, in percent of a core. */
  readonly otherCpu: number;
  readonly results: readonly Result[];
}

const range = (values: readonly number[], digits: number) =>
  `${median(values).toFixed(digits)} (${Math.min(...values).toFixed(digits)}–${Math.max(...values).toFixed(digits)})`;

/** Returns how many times as fast `mine` is as `other` in each round both have. */
export function ratios(mine: readonly number[], other: readonly number[]): readonly number[] {
  return mine.slice(0, other.length).map((seconds, round) => other[round]! / seconds);
}

const number = (value: number | undefined, digits: number) =>
  value === undefined || !Number.isFinite(value) ? '–' : value.toFixed(digits);
/** Writes a drift: 0 is exactly 0. */
const small = (value: number | undefined) =>
  value === undefined ? '–' : value === 0 ? '0' : value < 1e-3 ? value.toExponential(0) : value.toFixed(3);

const HEAD = [
  'program',
  'given',
  'pairs/s',
  '× float32',
  '× by processor time',
  'nDCG@10',
  'error',
  'drift',
  'drift, mixed',
  'memory MB',
] as const;

function cellsOf(result: Result, base: Result | undefined, pairs: number): readonly string[] {
  const { title, given, seconds, cpu, accuracy, bytes, reason } = result;
  const drifts = [small(accuracy?.drift), small(accuracy?.mixedDrift)];
  const known = [number(accuracy?.ndcg, 3), number(accuracy?.error, 3), ...drifts];
  if (reason !== undefined) return [title, reason, '–', '–', '–', ...known, '–'];
  const isTimed = seconds.length > 0;
  const rates = seconds.map((s) => pairs / s);
  const isCompared = isTimed && base !== undefined && base.seconds.length > 0;
  return [
    title,
    given,
    isTimed ? range(rates, 0) : '–',
    isCompared ? range(ratios(seconds, base.seconds), 2) : '–',
    isCompared ? median(ratios(cpu, base.cpu)).toFixed(2) : '–',
    ...known,
    bytes > 0 ? (bytes / 1e6).toFixed(0) : '–',
  ];
}

/** Says how the service compares with the fastest other program. */
export function verdict({ results }: Found): string {
  const timed = results.filter(({ seconds, reason }) => seconds.length > 0 && reason === undefined);
  const ours = timed.find(({ id }) => id === OURS);
  const others = timed.filter(({ isOurs }) => !isOurs);
  if (!ours || others.length === 0) return 'No comparison: the service or every other program is missing.';
  const against = others.map((other) => ({ other, all: ratios(ours.seconds, other.seconds) }));
  const hardest = against.reduce((a, b) => (median(a.all) <= median(b.all) ? a : b));
  return `${ours.title}: ${range(hardest.all, 2)} times the pairs/s of the fastest other program, ${hardest.other.title}.`;
}

/** Formats a run as Markdown: what was measured on, the table, the verdict. */
export function markdown(found: Found): string {
  const base = found.results.find(({ id }) => id === BASELINE);
  const versions = [...new Set(found.results.map(({ version }) => version).filter(Boolean))].join(', ');
  const rounds = Math.max(0, ...found.results.map(({ seconds }) => seconds.length));
  return [
    `${found.machine}; ${versions}.`,
    `${rounds} rounds of ${found.pairs} pairs of ${found.tokens} tokens on average; ${found.layout} for every program; ${found.load}.`,
    `Other CPU ${found.otherCpu} % of a core.`,
    '',
    table(
      HEAD,
      found.results.map((result) => cellsOf(result, base, found.pairs)),
    ),
    '',
    verdict(found),
  ].join('\n');
}
