import type { Cost } from './cost-model.ts';
import { longestWaiting, type QueuedJob, type QueuedRow } from './queued-job.ts';
import { LANES, type Lane } from './scheduling-types.ts';
import type { EngineLoad, WaitingJobs } from './waiting-jobs.ts';

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

/** A batch in the making: what it holds, and whether one more row is worth its padding. */
class Filling<Owner> {
  readonly rows: QueuedRow<Owner>[] = [];
  length: number;
  tokens = 0;
  readonly #budget: Budget;
  readonly #cost: Cost;
  #squares = 0;

  constructor(length: number, budget: Budget, cost: Cost) {
    this.length = length;
    this.#budget = budget;
    this.#cost = cost;
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

  /** Whether a row of this length may join with padding still a small share of the batch. */
  fits(length: number): boolean {
    const padded = (this.rows.length + 1) * Math.max(length, this.length);
    return padded - this.tokens - length <= MAX_PADDING * padded;
  }

  /** Whether a row of this length may join because all padding together costs less than the batch it spares. */
  pays(length: number): boolean {
    const rows = this.rows.length + 1;
    const longest = Math.max(length, this.length);
    const { perToken, perSquare, fixed } = this.#cost;
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

/**
 * Adds rows one by one from `from` on in steps of `step`, until the batch holds `target` padded tokens or a row is refused. Rows must come
 * in such an order that, once one is refused, so are the rest.
 */
function addFrom<Owner>(
  filling: Filling<Owner>,
  rows: readonly QueuedRow<Owner>[],
  from: number,
  step: 1 | -1,
  target: number,
  accepts: (length: number) => boolean,
): void {
  for (let i = from; i >= 0 && i < rows.length; i += step) {
    const row = rows[i]!;
    if (!row.waiting) continue;
    if (!filling.roomFor(target, Math.max(filling.length, row.length)) || !accepts(row.length)) return;
    filling.add(row);
  }
}

/** Rows by descending length, ties as they came. Lengths are small whole numbers, so that counting sorts them in linear time. */
function byLength<Owner>(rows: readonly QueuedRow<Owner>[]): QueuedRow<Owner>[] {
  let longest = 0;
  for (const { length } of rows) if (length > longest) longest = length;
  const places = new Int32Array(longest + 1);
  for (const { length } of rows) places[length]!++;
  for (let length = longest, place = 0; length >= 0; length--) {
    const count = places[length]!;
    places[length] = place;
    place += count;
  }
  const sorted = new Array<QueuedRow<Owner>>(rows.length);
  for (const row of rows) sorted[places[row.length]!++] = row;
  return sorted;
}

/** Rows that may fill the lead's batch: its own, then of those who come next in the plan, by descending length. */
function candidates<Owner>(
  lead: QueuedJob<Owner>,
  plan: readonly QueuedJob<Owner>[],
  tokens: number,
): readonly QueuedRow<Owner>[] {
  const rows: QueuedRow<Owner>[] = [];
  let seen = 0;
  const look = (job: QueuedJob<Owner>) => {
    if (job.key !== lead.key) return;
    for (let i = job.cursor; i < job.rows.length; i++) if (job.rows[i]!.waiting) rows.push(job.rows[i]!);
    seen += job.waitingTokens;
  };
  look(lead);
  for (let i = 0; i < plan.length && seen < tokens; i++) if (plan[i] !== lead) look(plan[i]!);
  return byLength(rows);
}

/** Place of the first row that is at most `length` long. */
function firstWithin<Owner>(rows: readonly QueuedRow<Owner>[], length: number): number {
  let low = 0;
  let high = rows.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (rows[middle]!.length > length) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * The lead's rows of about one length make the batch. If they are too few for it to be efficient, rows of nearly that length of the jobs
 * that come next fill it up, shorter ones first, then longer ones; and if those are too few as well, others as long as padding them pays.
 */
function fill<Owner>(
  lead: QueuedJob<Owner>,
  plan: readonly QueuedJob<Owner>[],
  budget: Budget,
  cost: Cost,
): Filling<Owner> {
  const filling = new Filling<Owner>(longestWaiting(lead).length, budget, cost);
  const fits = (length: number) => filling.fits(length);
  const pays = (length: number) => filling.pays(length);
  const enough = Math.min(amortised(cost, filling.length), budget.tokens);
  addFrom(filling, lead.rows, lead.cursor, 1, Math.max(enough, LEAST_TOKENS), fits);
  if (!filling.roomFor(enough)) return filling;
  const rows = candidates(lead, plan, LOOK_AHEAD * enough);
  const middle = firstWithin(rows, filling.length);
  for (const accepts of [fits, pays]) {
    addFrom(filling, rows, middle, 1, enough, accepts);
    addFrom(filling, rows, middle - 1, -1, enough, accepts);
  }
  return filling;
}

/**
 * Forms the next batch and takes its rows out of the queue. Pure: the same queue, budget, costs and load give the same batch.
 *
 * The highest lane with work says whose turn it is (see LaneQueue): that job leads, and its longest row is in the batch. Rows that
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
