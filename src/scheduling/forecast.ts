import type { Batch } from './batch-former.ts';
import { batchMs, type Cost, type CostModel, createCostModel, TRUSTED } from './cost-model.ts';
import { rowWork, type WorkRate, workRate } from './queued-job.ts';

/** Assumed tokens of a batch before any has run. The fixed cost is divided by them when the work of a row is predicted. */
const TYPICAL_BATCH_TOKENS = 512;

/** Weight of a new value in running means. */
const RUNNING_SHARE = 0.05;

/**
 * Weight of the last batch in the factor by which batches take longer than the cost model says. The model remembers a hundred batches,
 * which may be half a minute; a machine slows down at once when another process starts on it.
 */
const PACE_SHARE = 0.2;
const PACE_LIMITS = { least: 0.5, most: 8 } as const;

/** Share of an error that a round of jobs corrects, and the least number of jobs in a round. */
const CORRECTION = 0.3;
const LEAST_OPEN = 8;

/** Limits of the factor by which jobs take longer than predicted. */
const DRIFT_LIMITS = { least: 0.8, most: 4 } as const;

const clamp = (value: number, { least, most }: { readonly least: number; readonly most: number }) =>
  Math.min(most, Math.max(least, value));

/** What was learned from one model's batches. */
interface ModelCosts {
  readonly model: CostModel;
  /** Running mean of the padded tokens of a batch. */
  batchTokens: number;
}

/**
 * Predicts how long batches and jobs take, on four levels: the cost of a model's batches (CostModel); the cost of batches relative to the
 * work of their rows, which is padding; the present speed relative to the cost model; and how much longer jobs take than predicted for
 * any other reason, such as rows of other jobs in their batches.
 */
export class Forecast {
  readonly #prior: Cost | undefined;
  readonly #known = new Map<string, ModelCosts>();
  #overhead = 1;
  #pace = 1;
  #drift = 1;

  constructor(prior?: Cost) {
    this.#prior = prior;
  }

  cost(key: string): Cost {
    return this.#get(key).model.cost();
  }

  rate(key: string): WorkRate {
    const { model, batchTokens } = this.#get(key);
    return workRate(model.cost(), batchTokens);
  }

  /** Returns the predicted milliseconds of a batch. */
  batchMs<Owner>(batch: Batch<Owner>): number {
    return batchMs(this.cost(batch.key), batch.rows.length, batch.length);
  }

  /** Whether enough batches of a model have run for its predictions to be used. */
  isTrusted(key: string): boolean {
    return this.#get(key).model.observations >= TRUSTED;
  }

  /** Milliseconds of one runner for each unit of the rows' work. */
  get msPerWork(): number {
    return this.#overhead * this.#pace * this.#drift;
  }

  /** Learns from a batch that took `ms` milliseconds of wall time. */
  learnBatch<Owner>(batch: Batch<Owner>, ms: number): void {
    const known = this.#get(batch.key);
    if (this.isTrusted(batch.key))
      this.#pace += PACE_SHARE * (clamp(ms / this.batchMs(batch), PACE_LIMITS) - this.#pace);
    known.model.observe({ tokens: batch.paddedTokens, squares: batch.paddedTokens * batch.length, ms });
    known.batchTokens += RUNNING_SHARE * (batch.paddedTokens - known.batchTokens);
    const rate = this.rate(batch.key);
    const work = batch.rows.reduce((sum, row) => sum + rowWork(rate, row.length), 0);
    if (work > 0) this.#overhead += RUNNING_SHARE * (this.batchMs(batch) / work - this.#overhead);
  }

  /**
   * Learns from a job that was queued: it was predicted to end after `predictedMs` and ended, or expired, after `ms`. The `open` jobs were
   * predicted with the same estimate, so all of them together correct it once; each correcting it fully would overshoot.
   */
  learnJob(predictedMs: number, ms: number, open: number): void {
    if (!(predictedMs > 0)) return;
    const correction = (ms / predictedMs) ** (CORRECTION / Math.max(open, LEAST_OPEN));
    this.#drift = clamp(this.#drift * correction, DRIFT_LIMITS);
  }

  #get(key: string): ModelCosts {
    let known = this.#known.get(key);
    if (!known) {
      known = {
        model: createCostModel(this.#prior ? { prior: this.#prior } : {}),
        batchTokens: TYPICAL_BATCH_TOKENS,
      };
      this.#known.set(key, known);
    }
    return known;
  }
}
