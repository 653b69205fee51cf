import type { Batch } from './batch-former.ts';
import { batchMs, type Cost, type CostModel, createCostModel, TRUSTED } from './cost-model.ts';
import { rowWork, type WorkRate, workRate } from './queued-job.ts';

/** Tokens of a batch, before any has run: a fixed cost is spread over them when a row's work is predicted. */
const TYPICAL_BATCH_TOKENS = 512;

/** Share of a new value in running means. */
const RUNNING_SHARE = 0.05;

/** Share of an error that a round of jobs corrects, and the fewest that make a round. */
const CORRECTION = 0.3;
const LEAST_OPEN = 8;

/** How far jobs may be found to take longer, or shorter, than predicted before the rest is taken for chance. */
const DRIFT_LIMITS = { least: 0.8, most: 4 } as const;

/** What is known of one model's batches. */
interface Known {
  readonly model: CostModel;
  /** Padded tokens of a batch, running mean. */
  batchTokens: number;
}

/**
 * Everything the scheduler has learned of how long things take, over three levels: what a batch of a model costs (CostModel); what
 * batches cost for each unit of their rows' work, that is padding; and how much longer jobs take than planned, whatever the reason (other
 * jobs' rows that fill their batches, a busy machine).
 */
export class Forecast {
  readonly #prior: Cost | undefined;
  readonly #known = new Map<string, Known>();
  #overhead = 1;
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
    return this.#overhead * this.#drift;
  }

  /** A batch took `ms` milliseconds of wall time. */
  learnBatch<Owner>(batch: Batch<Owner>, ms: number): void {
    const known = this.#get(batch.key);
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
    const drift = this.#drift * (ms / predictedMs) ** (CORRECTION / Math.max(open, LEAST_OPEN));
    this.#drift = Math.min(DRIFT_LIMITS.most, Math.max(DRIFT_LIMITS.least, drift));
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
