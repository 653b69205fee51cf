import type { Cost } from './cost-model.ts';
import type { EngineLoad, WaitingJobs } from './queue.ts';
import { firstWithin, longestWaiting, type QueuedJob, type QueuedRow } from './queued-job.ts';
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
const MAX_PADDING = 0.05;

/** Rows to fill a batch with are looked for among the jobs that come next, until those hold so many batches. */
const LOOK_AHEAD = 8;

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

  /** Whether a row of this length may join with padding still a small share. If it may not, no shorter row may. */
  fits(length: number): boolean {
    const padded = this.paddedTokens + this.length;
    return padded - this.tokens - length <= MAX_PADDING * padded;
  }

  /** Whether a row of this length may join because all padding together costs less than the batch it spares. */
  pays(length: number): boolean {
    return this.#wasteWith(length) <= this.#cost.fixed;
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

/** Adds waiting rows, which come longest first from `from` on, until the batch holds `target` padded tokens or a row is refused. */
function addFrom<Owner>(
  filling: Filling<Owner>,
  rows: readonly QueuedRow<Owner>[],
  from: number,
  target: number,
  accepts: (length: number) => boolean,
): void {
  for (let i = from; i < rows.length && filling.roomFor(target); i++) {
    const row = rows[i]!;
    if (!row.waiting) continue;
    if (!accepts(row.length)) return;
    filling.add(row);
  }
}

/** Rows that may fill the lead's batch: its own, then of those who come next in the plan, longest first; ties keep that order. */
function candidates<Owner>(
  lead: QueuedJob<Owner>,
  plan: readonly QueuedJob<Owner>[],
  length: number,
  tokens: number,
): readonly QueuedRow<Owner>[] {
  const rows: QueuedRow<Owner>[] = [];
  let seen = 0;
  const look = (job: QueuedJob<Owner>) => {
    if (job.key !== lead.key) return;
    for (let i = firstWithin(job, length); i < job.rows.length; i++) if (job.rows[i]!.waiting) rows.push(job.rows[i]!);
    seen += job.waitingTokens;
  };
  look(lead);
  for (let i = 0; i < plan.length && seen < tokens; i++) if (plan[i] !== lead) look(plan[i]!);
  return rows.sort((a, b) => b.length - a.length);
}

/**
 * The lead's rows of about one length make the batch. If they are too few for it to be efficient, rows of that length of the jobs that
 * come next fill it up, and if those are too few as well, shorter rows as long as padding them pays.
 */
function fill<Owner>(
  lead: QueuedJob<Owner>,
  plan: readonly QueuedJob<Owner>[],
  budget: Budget,
  cost: Cost,
): Filling<Owner> {
  const filling = new Filling<Owner>(longestWaiting(lead).length, budget, cost);
  const fits = (length: number) => filling.fits(length);
  const enough = Math.min(amortised(cost, filling.length), budget.tokens);
  addFrom(filling, lead.rows, lead.cursor, Math.max(enough, LEAST_TOKENS), fits);
  if (!filling.roomFor(enough)) return filling;
  const rows = candidates(lead, plan, filling.length, LOOK_AHEAD * enough);
  addFrom(filling, rows, 0, enough, fits);
  addFrom(filling, rows, 0, enough, (length) => filling.pays(length));
  return filling;
}

/**
 * Forms the next batch and takes its rows out of the queue. Pure: the same queue, budget, costs and load give the same batch.
 *
 * The highest lane with work says whose turn it is (see LaneQueue): that job leads, its longest row sets the batch's length. Rows that
 * fill a batch come from the next few jobs only, so that nobody is overtaken by much and jobs are done one after the other, not all at
 * the end.
 *
 * @param costOf present cost of a model's batches.
 * @param lanes lanes that may start a batch now.
 */
export function formBatch<Owner>(
  waiting: WaitingJobs<Owner>,
  budget: Budget,
  costOf: (key: string) => Cost,
  load: EngineLoad,
  lanes: readonly Lane[] = LANES,
): Batch<Owner> | undefined {
  const lead = lanes.some((lane) => waiting.lane(lane).rows > 0) ? waiting.lead(load) : undefined;
  if (!lead) return undefined;
  const filling = fill(lead, waiting.lane(lead.lane).plan, budget, costOf(lead.key));
  for (const row of filling.rows) waiting.take(row);
  const { rows, length, tokens, paddedTokens } = filling;
  return { key: lead.key, lane: lead.lane, lead, rows, length, tokens, paddedTokens };
}
