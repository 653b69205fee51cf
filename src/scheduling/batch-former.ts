import type { Cost } from './cost-model.ts';
import type { LengthBuckets } from './length-buckets.ts';
import type { WaitingJobs } from './queue.ts';
import { longestWaiting, type QueuedJob, type QueuedRow } from './queued-job.ts';
import { LANES, type Lane } from './types.ts';

/** What one batch may hold. */
export interface Budget {
  /** Padded tokens: rows × the longest row. A row longer than this goes alone. */
  readonly tokens: number;
  readonly rows: number;
}

export interface Batch<Owner> {
  readonly key: string;
  readonly lane: Lane;
  /** The job whose turn it was. */
  readonly lead: QueuedJob<Owner>;
  /** The lead's longest row first. */
  readonly rows: readonly QueuedRow<Owner>[];
  /** Length of the longest row: what the others are padded to. */
  readonly length: number;
  readonly tokens: number;
  readonly paddedTokens: number;
}

/**
 * A batch is large enough when all but this share of its time goes into its tokens. Larger ones only make everybody wait longer (and
 * on CPU run slower, since their activations leave the cache).
 */
const FIXED_SHARE = 0.05;

/** Batches below this many padded tokens are never worth making smaller. */
const LEAST_TOKENS = 512;

/** Share of a batch that may be padding where padding does not save a whole batch. */
const MAX_PADDING = 0.08;

/** Padded tokens at which a batch has amortised its fixed cost. */
function amortised(cost: Cost, length: number): number {
  return (cost.fixed * (1 / FIXED_SHARE - 1)) / Math.max(cost.perToken + cost.perSquare * length, Number.MIN_VALUE);
}

/** Fills one batch from the longest row down, and says when the next row is one too many. */
class Filling<Owner> {
  readonly rows: QueuedRow<Owner>[] = [];
  readonly length: number;
  tokens = 0;
  readonly #budget: Budget;
  readonly #cost: Cost;
  #wastedMs = 0;

  constructor(length: number, budget: Budget, cost: Cost) {
    this.length = length;
    this.#budget = budget;
    this.#cost = cost;
  }

  get paddedTokens(): number {
    return this.rows.length * this.length;
  }

  /** Whether one more row keeps the batch within `tokens` padded tokens and the row limit. */
  roomFor(tokens: number): boolean {
    return (
      this.rows.length === 0 ||
      (this.rows.length < this.#budget.rows && this.paddedTokens + this.length <= Math.min(tokens, this.#budget.tokens))
    );
  }

  /**
   * Whether a row of this length may be padded up to the batch's: the padding stays a small share, or all of it costs less than the
   * batch it spares. If it may not, no shorter row may.
   */
  accepts(length: number): boolean {
    const padded = this.paddedTokens + this.length;
    return padded - this.tokens - length <= MAX_PADDING * padded || this.#wasteWith(length) <= this.#cost.fixed;
  }

  add(row: QueuedRow<Owner>): void {
    this.#wastedMs = this.#wasteWith(row.length);
    this.tokens += row.length;
    this.rows.push(row);
    row.waiting = false;
  }

  #wasteWith(length: number): number {
    const { perToken, perSquare } = this.#cost;
    return this.#wastedMs + (this.length - length) * (perToken + perSquare * (this.length + length));
  }
}

/** The lead's own rows, longest first, until the batch is large enough. */
function fillFromLead<Owner>(filling: Filling<Owner>, lead: QueuedJob<Owner>, target: number): void {
  for (let i = lead.cursor; i < lead.rows.length && filling.roomFor(target); i++) {
    const row = lead.rows[i]!;
    if (!row.waiting) continue;
    if (!filling.accepts(row.length)) return;
    filling.add(row);
  }
}

/** Rows of any job of nearly the same length, while the batch's fixed cost is not amortised yet. */
function fillFromAll<Owner>(filling: Filling<Owner>, buckets: LengthBuckets<QueuedRow<Owner>>, target: number): void {
  for (let length = filling.length; length >= 0 && filling.roomFor(target) && filling.accepts(length); length--)
    for (let row = buckets.first(length); row; row = row.next) {
      if (!row.waiting) continue;
      if (!filling.roomFor(target) || !filling.accepts(length)) return;
      filling.add(row);
    }
}

function fill<Owner>(
  lead: QueuedJob<Owner>,
  buckets: LengthBuckets<QueuedRow<Owner>>,
  budget: Budget,
  cost: Cost,
): Filling<Owner> {
  const filling = new Filling<Owner>(longestWaiting(lead).length, budget, cost);
  const enough = amortised(cost, filling.length);
  fillFromLead(filling, lead, Math.max(enough, LEAST_TOKENS));
  fillFromAll(filling, buckets, enough);
  return filling;
}

/**
 * Forms the next batch and takes its rows out of the queue. Pure: the same queue, budget, costs and time give the same batch.
 *
 * The highest lane with work chooses a job to lead (see LaneQueue). Its longest row sets the batch's length; its own rows follow as long
 * as padding them pays, and where that leaves the batch too small to be efficient, rows of other jobs of the same model and lane with
 * nearly the same length fill it up. Time is linear in the rows of the batch plus the lengths looked at.
 *
 * @param costOf present cost of a model's batches.
 * @param lanes lanes that may start a batch now.
 */
export function formBatch<Owner>(
  waiting: WaitingJobs<Owner>,
  budget: Budget,
  costOf: (key: string) => Cost,
  now: number,
  lanes: readonly Lane[] = LANES,
): Batch<Owner> | undefined {
  const lead = lanes.some((lane) => waiting.lane(lane).rows > 0) ? waiting.lead(now) : undefined;
  if (!lead) return undefined;
  const filling = fill(lead, waiting.lane(lead.lane).buckets(lead.key)!, budget, costOf(lead.key));
  for (const row of filling.rows) waiting.take(row);
  const { rows, length, tokens, paddedTokens } = filling;
  return { key: lead.key, lane: lead.lane, lead, rows, length, tokens, paddedTokens };
}
