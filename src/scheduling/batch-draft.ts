import type { Cost } from './cost-model.ts';
import type { QueuedRow } from './queued-job.ts';

/** Limits of one batch. */
export interface Budget {
  /** Padded tokens: rows × the longest row. A longer row makes a batch of its own. */
  readonly tokens: number;
  readonly rows: number;
}

/**
 * Share of a batch that may be padding, unless the padding saves a whole batch. Rows of other jobs that have the batch's length fill it without
 * any.
 */
const MAX_PADDING = 0.02;

/** A batch that is being filled. Decides whether one more row is worth its padding. */
export class BatchDraft<Owner> {
  readonly rows: QueuedRow<Owner>[] = [];
  length: number;
  tokens = 0;
  readonly #budget: Budget;
  #squares = 0;

  constructor(length: number, budget: Budget) {
    this.length = length;
    this.#budget = budget;
  }

  get paddedTokens(): number {
    return this.rows.length * this.length;
  }

  /** Whether one more row keeps the batch within `tokens` padded tokens, the budget and the row limit. */
  roomFor(tokens: number, length = this.length): boolean {
    const rows = this.rows.length + 1;
    return (
      rows === 1 ||
      (rows <= this.#budget.rows &&
        rows * length <= this.#budget.tokens &&
        (rows - 1) * this.length + length <= Math.max(tokens, 0))
    );
  }

  /** Whether padding stays at most `MAX_PADDING` of the batch with a row of this length. */
  paddingIsSmall(length: number): boolean {
    const padded = (this.rows.length + 1) * Math.max(length, this.length);
    return padded - this.tokens - length <= MAX_PADDING * padded;
  }

  /** Whether all padding together, with a row of this length, costs less than one more batch. */
  paddingPays(length: number, { perToken, perSquare, fixed }: Cost): boolean {
    const rows = this.rows.length + 1;
    const longest = Math.max(length, this.length);
    const tokens = rows * longest - this.tokens - length;
    const squares = rows * longest * longest - this.#squares - length * length;
    return perToken * tokens + perSquare * squares <= fixed;
  }

  add(row: QueuedRow<Owner>): void {
    this.length = Math.max(this.length, row.length);
    this.tokens += row.length;
    this.#squares += row.length * row.length;
    this.rows.push(row);
    row.waiting = false;
  }
}
