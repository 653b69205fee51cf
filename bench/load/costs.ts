import { createRandom } from '../../src/util/random.ts';
import { mean, median, percentile } from './figures.ts';

/** Measurements of one kind of load, one value a round. */
export interface Measured {
  /** Pairs a second. */
  readonly throughput: readonly number[];
  /** CPU milliseconds of the server's processes a pair. */
  readonly cpu: readonly number[];
  /** CPU milliseconds of the HTTP process a request, all its threads together: only this process does work for experiments. */
  readonly own: readonly number[];
  /** Requests refused with 429. */
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
  /** Differences in milliseconds, over all rounds together: arrivals are the same in both. */
  readonly p50: Cost;
  readonly p99: Cost;
}

const RESAMPLES = 2000;

/** Computes a statistic of rounds with its percentile bootstrap interval over rounds. */
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

/** Compares a kind of load with another one measured in the same rounds. */
export function costsOf(own: Measured, baseline: Measured): Costs {
  const ratio = (a: readonly number[], b: readonly number[]) =>
    withInterval(a.length, (drawn) => median(drawn.map((i) => a[i]! / b[i]!)));
  const latencyDifference = (p: number) =>
    withInterval(own.latencies.length, (drawn) => {
      const of = ({ latencies }: Measured) =>
        percentile(
          drawn.flatMap((i) => latencies[i]!),
          p,
        );
      return of(own) - of(baseline);
    });
  return {
    own: withInterval(own.own.length, (drawn) => mean(drawn.map((i) => own.own[i]! - baseline.own[i]!))),
    throughput: ratio(own.throughput, baseline.throughput),
    cpu: ratio(own.cpu, baseline.cpu),
    p50: latencyDifference(50),
    p99: latencyDifference(99),
  };
}
