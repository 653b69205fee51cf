import { BatchDraft, type Budget } from './batch-draft.ts';
import type { Cost } from './cost-model.ts';
import type { LaneQueue } from './lane-queue.ts';
import { longestWaiting, type QueuedJob, type QueuedRow, rowWork } from './queued-job.ts';
import { LANES, type Lane } from './scheduling-types.ts';
import { canWait, type LaneLoad } from './service-order.ts';
import type { ExecutorLoad, WaitingJobs } from './waiting-jobs.ts';

export interface Batch<Owner> {
  readonly key: string;
  readonly lane: Lane;
  /** The job the batch was formed for. */
  readonly lead: QueuedJob<Owner>;
  /** The lead's longest row first. */
  readonly rows: readonly QueuedRow<Owner>[];
  /** Length of the longest row, to which the others are padded. */
  readonly length: number;
  readonly tokens: number;
  readonly paddedTokens: number;
}

/**
 * A batch is large enough when its fixed cost is at most this share of its time. Larger batches only lengthen every wait, and on a CPU run
 * slower because their activations leave the cache.
 */
const FIXED_SHARE = 0.05;

/**
 * Above so many padded tokens a batch is large enough when its fixed cost is at most this larger share: what is learned as a fixed cost on a CPU
 * may be three times too high, and larger batches save nothing there.
 */
const AMPLE = { tokens: 384, fixedShare: 0.1 } as const;

/**
 * The rows of the lead alone fill a batch up to at least this many padded tokens. On CPUs both smaller and larger batches take longer a token
 * (`npm run bench:serve -- --only stages` prints how long).
 */
const LEAST_TOKENS = 512;

/**
 * Milliseconds of processor time that a batch costs its host and the front process at least, whatever it holds. On a busy machine the fixed cost
 * that is learned from the times of batches may be close to zero.
 */
const LEAST_FIXED_MS = 1;

/** Rows that make a batch efficient are taken from the next jobs, until these hold so many batches. */
const LOOK_AHEAD = 8;

/** Rows of the same length are looked for among so many batches: jobs that take part in turn get no more than equal sharing gives them. */
const LOOK_AHEAD_SHARED = 32;

/** Returns the padded tokens at which a batch is large enough. */
function tokensToAmortize(cost: Cost, length: number): number {
  const aToken = Math.max(cost.perToken + cost.perSquare * length, Number.MIN_VALUE);
  const at = (share: number) => (cost.fixed * (1 / share - 1)) / aToken;
  return Math.min(at(FIXED_SHARE), Math.max(AMPLE.tokens, at(AMPLE.fixedShare)));
}

/** Returns the cost that padding is judged by: below `LEAST_TOKENS` the fixed cost is at most `FIXED_SHARE` of a batch that is large enough. */
function paddingCost(cost: Cost, length: number, enough: number): Cost {
  if (enough >= LEAST_TOKENS) return cost;
  const tokensMs = enough * (cost.perToken + cost.perSquare * length);
  return { ...cost, fixed: Math.min(cost.fixed, (tokensMs * FIXED_SHARE) / (1 - FIXED_SHARE)) };
}

/**
 * Adds rows one by one from index `from` in steps of `step`, until the batch holds `target` padded tokens or a row does not fit. The rows
 * must be in an order in which no row fits after one that does not. Rows that `skips` names are passed over.
 */
function addFrom<Owner>(
  draft: BatchDraft<Owner>,
  rows: readonly QueuedRow<Owner>[],
  from: number,
  step: 1 | -1,
  target: number,
  accepts: (length: number) => boolean,
  skips: (row: QueuedRow<Owner>) => boolean = () => false,
): void {
  for (let i = from; i >= 0 && i < rows.length; i += step) {
    const row = rows[i]!;
    if (!row.waiting || skips(row)) continue;
    if (!draft.roomFor(target, Math.max(draft.length, row.length)) || !accepts(row.length)) return;
    draft.add(row);
  }
}

/** Returns the rows by descending length, ties in their order. A counting sort: lengths are small whole numbers. */
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

/** Returns rows that may fill the lead's batch, by descending length: its own, and those of the next jobs with the same key. */
function candidates<Owner>(
  lead: QueuedJob<Owner>,
  order: readonly QueuedJob<Owner>[],
  tokens: number,
): readonly QueuedRow<Owner>[] {
  const rows: QueuedRow<Owner>[] = [];
  let seen = 0;
  const collect = (job: QueuedJob<Owner>) => {
    if (job.key !== lead.key) return;
    for (let i = job.cursor; i < job.rows.length; i++) if (job.rows[i]!.waiting) rows.push(job.rows[i]!);
    seen += job.waitingTokens;
  };
  collect(lead);
  for (let i = 0; i < order.length && seen < tokens; i++) if (order[i] !== lead) collect(order[i]!);
  return byLength(rows);
}

/** The queue from which a batch is formed. */
interface Forming<Owner> {
  readonly lane: LaneQueue<Owner>;
  readonly load: LaneLoad;
}

/**
 * Returns the jobs that may take part in the lead's batch in turn: those of its share, so that many jobs of one share delay no other, and of its priority, up to the first that would miss its deadline if the
 * batch took `work` more, and until they hold `tokens`.
 */
function partners<Owner>(
  lead: QueuedJob<Owner>,
  { lane, load }: Forming<Owner>,
  work: number,
  tokens: number,
): QueuedJob<Owner>[] {
  const found: QueuedJob<Owner>[] = [];
  // The oldest job may lead from any place in the order.
  const isFirst = lane.order[0] === lead;
  let done = load.workBefore + (isFirst ? 0 : lead.work);
  let seen = 0;
  for (const job of lane.order) {
    if (isFirst || job !== lead) done += job.work;
    if (job.priority > lead.priority || (job.late && !lead.late)) break;
    if (job.share === lead.share) {
      found.push(job);
      if (job.key === lead.key) seen += job.waitingTokens;
    }
    if (seen >= tokens || !canWait(job, done, work, load)) break;
  }
  return found;
}

/**
 * Fills a batch with rows of the lead's length of other jobs, as long as each of these has had less than equal sharing would have given it. So the
 * lead, and every job after it, is still done no later than under equal sharing, but for a row of each job.
 */
function fillInTurn<Owner>(
  draft: BatchDraft<Owner>,
  lead: QueuedJob<Owner>,
  from: Forming<Owner>,
  target: number,
): void {
  const batchWork = rowWork(lead.rate, draft.length) * (target / draft.length);
  const tokens = LOOK_AHEAD_SHARED * target;
  const jobs = partners(lead, from, batchWork, tokens);
  if (jobs.length < 2) return;
  const rows = candidates(lead, jobs, tokens);
  const lag = new Map<QueuedJob<Owner>, number>();
  const isAhead = ({ job, length }: QueuedRow<Owner>) => {
    if (job === lead) return false;
    const left = lag.get(job) ?? from.lane.lag(job);
    if (left < 0) return true;
    lag.set(job, left - rowWork(job.rate, length));
    return false;
  };
  const accepts = (length: number) => draft.paddingIsSmall(length);
  const middle = firstWithin(rows, draft.length);
  addFrom(draft, rows, middle, 1, target, accepts, isAhead);
  addFrom(draft, rows, middle - 1, -1, target, accepts, isAhead);
}

/** Returns the index of the first row that is at most `length` long. */
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
 * Fills a batch with rows of the lead that have about the same length, then with such rows of jobs that are behind equal sharing. If these are too
 * few to be efficient, rows of nearly that length of the next jobs follow, shorter ones first, then longer ones. If those are too few as
 * well, other rows follow as long as their padding costs less than one more batch.
 */
function draftBatch<Owner>(
  lead: QueuedJob<Owner>,
  from: Forming<Owner>,
  budget: Budget,
  cost: Cost,
): BatchDraft<Owner> {
  const draft = new BatchDraft<Owner>(longestWaiting(lead).length, budget);
  const paddingIsSmall = (length: number) => draft.paddingIsSmall(length);
  const enough = Math.min(tokensToAmortize(cost, draft.length), budget.tokens);
  const judged = paddingCost(cost, draft.length, enough);
  const paddingPays = (length: number) => draft.paddingPays(length, judged);
  addFrom(draft, lead.rows, lead.cursor, 1, Math.max(enough, LEAST_TOKENS), paddingIsSmall);
  if (draft.roomFor(LEAST_TOKENS)) fillInTurn(draft, lead, from, LEAST_TOKENS);
  if (!draft.roomFor(enough)) return draft;
  const rows = candidates(lead, from.lane.order, LOOK_AHEAD * enough);
  const middle = firstWithin(rows, draft.length);
  for (const accepts of [paddingIsSmall, paddingPays]) {
    addFrom(draft, rows, middle, 1, enough, accepts);
    addFrom(draft, rows, middle - 1, -1, enough, accepts);
  }
  return draft;
}

/**
 * Forms the next batch and removes its rows from the queue. Depends on its arguments only.
 *
 * The highest lane with waiting rows decides which job leads (LaneQueue); the lead's longest row is in the batch. Rows that fill the batch
 * are those of jobs that are behind equal sharing, or of the next few jobs, so that no job is overtaken by much.
 *
 * @param costOf Returns the present cost of a model's batches.
 * @param lanes Lanes that may start a batch now.
 */
export function formBatch<Owner>(
  waiting: WaitingJobs<Owner>,
  budget: Budget,
  costOf: (key: string) => Cost,
  load: ExecutorLoad,
  lanes: readonly Lane[] = LANES,
): Batch<Owner> | undefined {
  const lead = lanes.some((lane) => waiting.lane(lane).rows > 0) ? waiting.lead(load) : undefined;
  if (!lead) return undefined;
  const from = { lane: waiting.lane(lead.lane), load: waiting.laneLoad(lead.lane, load) };
  const learned = costOf(lead.key);
  const cost = { ...learned, fixed: Math.max(learned.fixed, LEAST_FIXED_MS) };
  const draft = draftBatch(lead, from, budget, cost);
  for (const row of draft.rows) waiting.take(row);
  const { rows, length, tokens, paddedTokens } = draft;
  return { key: lead.key, lane: lead.lane, lead, rows, length, tokens, paddedTokens };
}
