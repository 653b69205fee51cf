import { createRandom, deriveSeed } from '../../../util/random.ts';

/** Numbers that are kept for quantiles and bars. */
const KEPT = 20_000;
/** Different numbers that are counted one by one. */
const VALUES = 12;
/** Bars of a histogram of more values than that. */
const BARS = 10;

/** A bar of a histogram: numbers from `from` to `to`, the last bar with its end. */
interface Bar {
  readonly from: number;
  readonly to: number;
  readonly share: number;
}

/** What is said about many numbers. */
export interface NumberFacts {
  readonly count: number;
  readonly min: number;
  readonly max: number;
  readonly mean: number;
  readonly median: number;
  /** 90 and 99 % of the numbers are at most this. */
  readonly p90: number;
  readonly p99: number;
  readonly bars: readonly Bar[];
  /** Whether quantiles and bars are those of a random part of the numbers. */
  readonly sampled: boolean;
}

/** Summarizes a stream of numbers in bounded memory: a random part of 20,000 stands for more. */
export class NumberSummary {
  readonly #random = createRandom(deriveSeed(0, 'summary'));
  readonly #kept: number[] = [];
  readonly #values = new Map<number, number>();
  #count = 0;
  #sum = 0;
  #min = Number.POSITIVE_INFINITY;
  #max = Number.NEGATIVE_INFINITY;

  add(value: number): void {
    this.#count++;
    this.#sum += value;
    this.#min = Math.min(this.#min, value);
    this.#max = Math.max(this.#max, value);
    const seen = this.#values.get(value);
    if (seen !== undefined || this.#values.size <= VALUES) this.#values.set(value, (seen ?? 0) + 1);
    if (this.#kept.length < KEPT) this.#kept.push(value);
    else {
      const place = this.#random.below(this.#count);
      if (place < KEPT) this.#kept[place] = value;
    }
  }

  /** Returns the facts; undefined for no numbers. */
  facts(): NumberFacts | undefined {
    if (this.#count === 0) return undefined;
    const sorted = this.#kept.toSorted((a, b) => a - b);
    const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)]!;
    return {
      count: this.#count,
      min: this.#min,
      max: this.#max,
      mean: this.#sum / this.#count,
      median: at(0.5),
      p90: at(0.9),
      p99: at(0.99),
      bars: this.#values.size <= VALUES ? this.#valueBars() : this.#equalBars(sorted),
      sampled: this.#count > KEPT,
    };
  }

  #valueBars(): Bar[] {
    const values = [...this.#values].sort(([a], [b]) => a - b);
    return values.map(([value, n]) => ({ from: value, to: value, share: n / this.#count }));
  }

  /** Bars of equal width; those of whole numbers begin and end at whole numbers. */
  #equalBars(sorted: readonly number[]): Bar[] {
    const whole = sorted.every(Number.isInteger);
    const width = whole ? Math.ceil((this.#max - this.#min + 1) / BARS) : (this.#max - this.#min) / BARS;
    const barOf = (value: number): number => Math.min(BARS - 1, Math.floor((value - this.#min) / width));
    const counts = new Array<number>(barOf(this.#max) + 1).fill(0);
    for (const value of sorted) counts[barOf(value)]!++;
    return counts.map((n, i) => {
      const from = this.#min + i * width;
      return {
        from,
        to: i === counts.length - 1 ? this.#max : from + width - (whole ? 1 : 0),
        share: n / sorted.length,
      };
    });
  }
}
