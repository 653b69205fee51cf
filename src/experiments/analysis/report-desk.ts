import { Mutex } from '../../util/mutex.ts';
import { configHash, type Experiment } from '../definitions/definition.ts';
import type { ExperimentStore } from '../records.ts';
import { analyze, type ReportOptions } from './analyze.ts';
import { type Figures, readFigures } from './figures.ts';
import { LiveFigures, type LiveRead, TooLarge } from './live-figures.ts';
import type { ExperimentReport } from './report-data.ts';
import { type Series, type SeriesOptions, seriesOf } from './series.ts';

/** Bytes of figures that are kept in memory, of all experiments. */
const MAX_KEPT_BYTES = 256 * 1024 * 1024;
/** Exposures of an experiment whose figures are kept: while they are read, they are all in memory. */
const MAX_EXPOSURES = 4_000_000;

/** Share of the time that reading everything again may take. */
export const WHOLE_READS = 0.003;
/** Milliseconds that reading may take before that share counts. */
const BURST_MS = 10_000;
/** Experiments with fewer requests, or half as many units, are always read again: it takes some milliseconds. */
const SMALL_REQUESTS = 5000;

/** What may be read without limit. */
interface DeskLimits {
  readonly burstMs?: number;
  readonly smallRequests?: number;
}

/** Results that are kept, of each kind, and experiments whose figures are. */
const MAX_KEPT = 100;

/** Limits the time that repeated work takes to a share of all time. */
class Allowance {
  readonly #burstMs: number;
  #left: number;
  #at = performance.now();

  constructor(burstMs: number) {
    this.#burstMs = burstMs;
    this.#left = burstMs;
  }

  get isSpent(): boolean {
    const now = performance.now();
    this.#left = Math.min(this.#burstMs, this.#left + WHOLE_READS * (now - this.#at));
    this.#at = now;
    return this.#left < 0;
  }

  async spend<T>(work: () => Promise<T>): Promise<T> {
    const began = performance.now();
    try {
      return await work();
    } finally {
      this.#left -= performance.now() - began;
    }
  }
}

interface Kept<T> {
  readonly value: T;
  /** Milliseconds since 1970 at which it was begun. */
  readonly at: number;
  readonly isSmall: boolean;
}

/** A split experiment whose figures are kept. */
interface Live {
  readonly figures: LiveFigures;
  readonly turns: Mutex;
}

/** Runs one read at a time and shares what was read among all viewers. It belongs to one connection of a store. */
export class ReportDesk {
  readonly #store: ExperimentStore;
  /** By definition and options, the one read last at the end. */
  readonly #live = new Map<string, Live>();
  /** Too large to be kept. */
  readonly #tooLarge = new Set<string>();
  readonly #reports = new Map<string, Kept<ExperimentReport>>();
  readonly #series = new Map<string, Kept<Series>>();
  readonly #allowance: Allowance;
  readonly #smallRequests: number;

  constructor(store: ExperimentStore, { burstMs = BURST_MS, smallRequests = SMALL_REQUESTS }: DeskLimits = {}) {
    this.#store = store;
    this.#allowance = new Allowance(burstMs);
    this.#smallRequests = smallRequests;
  }

  /**
   * Makes a report. The present state of a split experiment takes in only what is new. Other reports, and what changes all figures, are read as a
   * whole; where that takes too much time, the last report is given again, with a warning that says so.
   */
  async report(experiment: Experiment, options: ReportOptions): Promise<ExperimentReport> {
    const key = JSON.stringify([configHash(experiment), options.since, options.until]);
    const live = await this.#readNew(key);
    if (live) return analyze(this.#store, experiment, options, live.figures);
    const { value, at } = await this.#within(this.#reports, key, async () => {
      const figures = await this.#readAll(experiment, key, options);
      const report = await analyze(this.#store, experiment, options, figures);
      return { value: report, isSmall: figures.load.requests < this.#smallRequests };
    });
    if (at === undefined) return value;
    const notice = `figures as of ${new Date(at).toISOString().slice(0, 19)}Z: reading all of them again may take ${100 * WHOLE_READS} % of the time`;
    return { ...value, warnings: [notice, ...value.warnings] };
  }

  /** Computes a series; one that takes too much time is given again, with `asOf`. */
  async series(experiment: Experiment, options: SeriesOptions): Promise<Series> {
    const key = JSON.stringify([configHash(experiment), options.since, options.until]);
    const { value, at } = await this.#within(this.#series, `${options.points} ${key}`, async () => {
      const live = await this.#readNew(key);
      const series = await seriesOf(this.#store, experiment, options, live);
      return { value: series, isSmall: (series.points.at(-1)?.units ?? 0) < this.#smallRequests / 2 };
    });
    return at === undefined ? value : { ...value, asOf: at };
  }

  /** @returns nothing where all must be read. */
  async #readNew(key: string): Promise<LiveRead | undefined> {
    const live = this.#live.get(key);
    if (!live) return undefined;
    this.#live.delete(key);
    this.#live.set(key, live);
    const read = await live.turns.run(() => live.figures.readNew());
    this.#forget(key);
    return read;
  }

  async #readAll(experiment: Experiment, key: string, options: ReportOptions): Promise<Figures> {
    const isKept = experiment.mode === 'split' && options.until === undefined && !this.#tooLarge.has(key);
    if (!isKept) return readFigures(this.#store, experiment, options);
    const live = this.#live.get(key) ?? {
      figures: new LiveFigures(this.#store, experiment, options.since, MAX_EXPOSURES),
      turns: new Mutex(),
    };
    this.#live.set(key, live);
    try {
      const { figures } = await live.turns.run(() => live.figures.readAll());
      this.#forget(key);
      return figures;
    } catch (error) {
      this.#live.delete(key);
      if (!(error instanceof TooLarge)) throw error;
      this.#tooLarge.add(key);
      return readFigures(this.#store, experiment, options);
    }
  }

  /** Keeps the total in bounds: experiments that were read longest ago go first. */
  #forget(present: string): void {
    const total = () => [...this.#live.values()].reduce((sum, { figures }) => sum + figures.bytes, 0);
    for (const key of [...this.#live.keys()]) {
      if (this.#live.size <= MAX_KEPT && total() <= MAX_KEPT_BYTES) return;
      this.#live.delete(key);
      if (key === present) this.#tooLarge.add(key);
    }
  }

  /** @returns what `work` makes, or what it made last where the allowance is spent: then with the time of that. */
  async #within<T>(
    kept: Map<string, Kept<T>>,
    key: string,
    work: () => Promise<{ readonly value: T; readonly isSmall: boolean }>,
  ): Promise<{ readonly value: T; readonly at?: number }> {
    const last = kept.get(key);
    if (last && !last.isSmall && this.#allowance.isSpent) return last;
    const at = Date.now();
    const made = await this.#allowance.spend(work);
    kept.delete(key);
    kept.set(key, { ...made, at });
    if (kept.size > MAX_KEPT) kept.delete(kept.keys().next().value ?? key);
    return made;
  }
}
