import type { Batch } from './batch-former.ts';
import { batchMs, type Cost, type CostModel, createCostModel, TRUSTED } from './cost-model.ts';
import { rowWork, type WorkRate, workRate } from './queued-job.ts';

/** Tokens of a batch, before any has run: a fixed cost is spread over them when a row's work is predicted. */
const TYPICAL_BATCH_TOKENS = 512;

/** Share of a new value in running means. */
const RUNNING_SHARE = 0.05;

/**
 * The cost model remembers a hundred batches, which may be half a minute; a machine slows down in an instant when something else starts on
 * it. So the last few batches say by what factor the engine is off its model at the moment.
 */
const PACE_SHARE = 0.2;
const PACE_LIMITS = { least: 0.5, most: 8 } as const;

/** Share of an error that a round of jobs corrects, and the fewest that make a round. */
const CORRECTION = 0.3;
const LEAST_OPEN = 8;

/** How far jobs may be found to take longer, or shorter, than predicted before the rest is taken for chance. */
const DRIFT_LIMITS = { least: 0.8, most: 4 } as const;

const limited = (value: number, { least, most }: { readonly least: number; readonly most: number }) =>
  Math.min(most, Math.max(least, value));

/** What is known of one model's batches. */
interface Known {
  readonly model: CostModel;
  /** Padded tokens of a batch, running mean. */
  batchTokens: number;
}

/**
 * Everything the scheduler has learned of how long things take, over four levels: what a batch of a model costs (CostModel); what
 * batches cost for each unit of their rows' work, that is padding; how fast the engine is at the moment; and how much longer jobs take than
 * planned, whatever the reason (other jobs' rows that fill their batches).
 */
export class Forecast {
  readonly #prior: Cost | undefined;
  readonly #known = new Map<string, Known>();
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

  /** Predicted milliseconds of a batch. */
  batchMs<Owner>(batch: Batch<Owner>): number {
    return batchMs(this.cost(batch.key), batch.rows.length, batch.length);
  }

  /** Whether enough batches of a model have run for predictions to mean something. */
  isTrusted(key: string): boolean {
    return this.#get(key).model.observations >= TRUSTED;
  }

  /** Milliseconds for each unit of rows' work, on one runner. */
  get msPerWork(): number {
    return this.#overhead * this.#pace * this.#drift;
  }

  /** A batch took `ms` milliseconds of wall time. */
  learnBatch<Owner>(batch: Batch<Owner>, ms: number): void {
    const known = this.#get(batch.key);
    if (this.isTrusted(batch.key))
      this.#pace += PACE_SHARE * (limited(ms / this.batchMs(batch), PACE_LIMITS) - this.#pace);
    known.model.observe({ tokens: batch.paddedTokens, squares: batch.paddedTokens * batch.length, ms });
    known.batchTokens += RUNNING_SHARE * (batch.paddedTokens - known.batchTokens);
    const rate = this.rate(batch.key);
    const work = batch.rows.reduce((sum, row) => sum + rowWork(rate, row.length), 0);
    if (work > 0) this.#overhead += RUNNING_SHARE * (this.batchMs(batch) / work - this.#overhead);
  }

  /**
   * A job that had to wait was predicted to end after `predictedMs` and ended (or was given up) after `ms`. The `open` jobs were predicted
   * with what is known now: all of them together may correct it once, else the correction would overshoot and swing.
   */
  learnJob(predictedMs: number, ms: number, open: number): void {
    if (!(predictedMs > 0)) return;
    const correction = (ms / predictedMs) ** (CORRECTION / Math.max(open, LEAST_OPEN));
    this.#drift = limited(this.#drift * correction, DRIFT_LIMITS);
  }

  #get(key: string): Known {
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
