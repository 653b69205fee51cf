import { createRandom } from '../../src/util/random.ts';
import { percentile } from './report.ts';

/** What one kind of load came to, round by round. */
export interface Measured {
  /** Pairs a second. */
  readonly throughput: readonly number[];
  /** CPU milliseconds of the server's processes a pair. */
  readonly cpu: readonly number[];
  /** CPU milliseconds of the HTTP process a request, all its threads together: the only place where experiments do anything. */
  readonly own: readonly number[];
  /** Requests that got no answer because the server had too much to do. */
  readonly refused: readonly number[];
  /** Milliseconds of each request. */
  readonly latencies: readonly (readonly number[])[];
}

/** A figure with its 95 % interval. */
export interface Cost {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

export interface Costs {
  /** Medians over rounds of ratios within a round. */
  readonly throughput: Cost;
  readonly cpu: Cost;
  /** Mean difference in milliseconds a request. */
  readonly own: Cost;
  /** Differences in milliseconds, over all rounds together: their arrivals are the same. */
  readonly p50: Cost;
  readonly p99: Cost;
}

const RESAMPLES = 2000;

/** The mean of the middle two where their number is even. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1]! + sorted[sorted.length >> 1]!) / 2;
}

export const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

/** A statistic of rounds, with the percentile interval of rounds drawn with replacement. */
function withInterval(rounds: number, statistic: (drawn: readonly number[]) => number): Cost {
  const random = createRandom(1);
  const draw = () => Array.from({ length: rounds }, () => random.below(rounds));
  const draws = Array.from({ length: RESAMPLES }, () => statistic(draw()));
  return {
    value: statistic(Array.from({ length: rounds }, (_, i) => i)),
    low: percentile(draws, 2.5),
    high: percentile(draws, 97.5),
  };
}

/** What a kind of load costs beside another one that was measured in the same rounds. */
export function costsOf(own: Measured, beside: Measured): Costs {
  const ratio = (a: readonly number[], b: readonly number[]) =>
    withInterval(a.length, (drawn) => median(drawn.map((i) => a[i]! / b[i]!)));
  const slower = (p: number) =>
    withInterval(own.latencies.length, (drawn) => {
      const of = ({ latencies }: Measured) =>
        percentile(
          drawn.flatMap((i) => latencies[i]!),
          p,
        );
      return of(own) - of(beside);
    });
  return {
    own: withInterval(own.own.length, (drawn) => mean(drawn.map((i) => own.own[i]! - beside.own[i]!))),
    throughput: ratio(own.throughput, beside.throughput),
    cpu: ratio(own.cpu, beside.cpu),
    p50: slower(50),
    p99: slower(99),
  };
}
