import { WinnowError } from '../errors.ts';
import { type Clock, monotonicClock } from '../util/clock.ts';
import { type Budget, formBatch } from './batch-former.ts';
import type { Cost } from './cost-model.ts';
import { Deadlines } from './deadlines.ts';
import { type Flight, Flights } from './flights.ts';
import { Forecast } from './forecast.ts';
import { type AdmissionLimits, admit, predictedWait, type Refusal } from './job-admission.ts';
import { createQueuedJob, rowWork } from './queued-job.ts';
import { renumberRow } from './row-errors.ts';
import {
  type BatchAnswer,
  type BatchExecutor,
  type Job,
  type JobResult,
  LANES,
  type Lane,
  type SchedulableRow,
  type Scheduler,
  type SchedulerObserver,
} from './scheduling-types.ts';
import { only, Ticket, type Tickets, ticketsOf } from './ticket.ts';
import { type EngineLoad, WaitingJobs } from './waiting-jobs.ts';

/** The settings of `scheduling` in the configuration. */
export interface SchedulingLimits {
  /** Padded tokens a batch may hold. */
  readonly batchTokens: number;
  /** Rows a batch may hold. */
  readonly batchRows: number;
  /** Tokens that may wait. */
  readonly queueTokens: number;
  /** Longest predicted wait, in milliseconds. */
  readonly maxWaitMs: number;
  /** Wait after which the batch lane counts as interactive, and priority numbers no longer count. */
  readonly agingMs: number;
}

export interface SchedulerOptions<Row extends SchedulableRow> {
  readonly executor: BatchExecutor<Row>;
  readonly limits: SchedulingLimits;
  readonly clock?: Clock;
  readonly observer?: SchedulerObserver;
  /** What a batch is taken to cost before any has run. */
  readonly prior?: Cost;
}

/** Lanes whose batches are also formed ahead, behind a running one. Shadow work only takes a runner that would idle. */
const AHEAD: readonly Lane[] = ['interactive', 'batch'];

/** Length of a row nobody has seen yet. */
const TYPICAL_LENGTH = 128;

/** The thin shell around the pure parts: promises, timers, signals and the engine. */
class JobScheduler<Row extends SchedulableRow> implements Scheduler<Row> {
  readonly #executor: BatchExecutor<Row>;
  readonly #clock: Clock;
  readonly #observer: SchedulerObserver;
  readonly #budget: Budget;
  readonly #admission: AdmissionLimits;
  readonly #forecast: Forecast;
  readonly #waiting: WaitingJobs<Ticket<Row>>;
  readonly #flights: Flights<Ticket<Row>>;
  readonly #deadlines: Deadlines<Ticket<Row>>;
  /** Batches that failed with rows of several jobs, to be run again one job at a time. */
  readonly #retries: Tickets<Row>[] = [];
  readonly #open = new Set<Ticket<Row>>();
  #sequence = 0;
  #closed: PromiseWithResolvers<void> | undefined;

  constructor(options: SchedulerOptions<Row>) {
    const { executor, limits } = options;
    this.#executor = executor;
    this.#clock = options.clock ?? monotonicClock;
    this.#observer = options.observer ?? {};
    this.#forecast = new Forecast(options.prior);
    this.#budget = { tokens: limits.batchTokens, rows: limits.batchRows };
    this.#admission = { queueTokens: limits.queueTokens, maxWaitMs: limits.maxWaitMs };
    this.#waiting = new WaitingJobs(limits.agingMs);
    this.#flights = new Flights(executor.concurrency, executor.depth ?? 1);
    this.#deadlines = new Deadlines(this.#clock, (ticket) => this.#expire(ticket));
  }

  async submit(job: Job<Row>): Promise<JobResult> {
    const now = this.#clock.now();
    const ticket = new Ticket(job, now);
    if (this.#closed) throw new WinnowError('shutting_down');
    if (job.signal?.aborted) throw this.#turnAway(ticket, 'cancelled', new WinnowError('client_closed'));
    if (!(job.deadline > now)) throw this.#turnAway(ticket, 'expired', ticket.expired());
    if (job.rows.length === 0) ticket.complete();
    else this.#enqueue(ticket, now);
    return ticket.promise;
  }

  predictedWaitMs(key: string, lane: Lane, tokens: number): number {
    const rate = this.#forecast.rate(key);
    const work = (tokens / TYPICAL_LENGTH) * rowWork(rate, TYPICAL_LENGTH);
    return this.#predictedWait(lane, work);
  }

  queued(): { readonly tokens: number; readonly rows: number; readonly jobs: number } {
    const { tokens, rows, jobs } = this.#waiting;
    return { tokens, rows, jobs };
  }

  close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = Promise.withResolvers<void>();
      const shadow = this.#waiting.lane('shadow');
      for (let job = shadow.youngest(); job; job = shadow.youngest())
        this.#withdraw(job.owner, 'cancelled', new WinnowError('shutting_down'));
    }
    this.#finishClosing();
    return this.#closed.promise;
  }

  #predictedWait(lane: Lane, work: number): number {
    const job = { lane, priority: 0, work, deadline: Number.POSITIVE_INFINITY };
    return predictedWait(this.#waiting, job, this.#load(this.#clock.now()));
  }

  #load(now: number): EngineLoad {
    const retries = this.#retries.reduce((sum, batch) => sum + this.#forecast.batchMs(batch), 0);
    const { msPerWork } = this.#forecast;
    return {
      now,
      speed: this.#executor.concurrency / msPerWork,
      idle: this.#flights.hasIdle,
      inFlight: (this.#flights.work(now) + retries) / msPerWork,
    };
  }

  #enqueue(ticket: Ticket<Row>, now: number): void {
    const { key, lane, rows, priority = 0, deadline } = ticket.job;
    const lengths = new Float64Array(rows.length);
    for (let i = 0; i < rows.length; i++) lengths[i] = rows[i]!.ids.length;
    const rate = this.#forecast.rate(key);
    const sequence = this.#sequence++;
    const facts = { owner: ticket, sequence, key, lane, priority, arrived: now, deadline, lengths, rate };
    ticket.queued = createQueuedJob(facts);
    this.#admit(ticket, now);
    this.#open.add(ticket);
    this.#waiting.add(ticket.queued, this.#load(now));
    this.#deadlines.add(ticket);
    ticket.listen(() => this.#withdraw(ticket, 'cancelled', new WinnowError('client_closed')));
    this.#pump();
    this.#tellQueue();
  }

  #admit(ticket: Ticket<Row>, now: number): void {
    const job = ticket.queued;
    if (job.lane !== 'shadow') this.#makeRoom(job.waitingTokens);
    const load = this.#load(now);
    const verdict = admit(this.#waiting, job, load, this.#admission);
    if ('retryMs' in verdict) throw this.#turnAway(ticket, 'overloaded', overloaded(verdict));
    if (verdict.waitMs > 0 && this.#forecast.isTrusted(job.key))
      ticket.predictedMs = verdict.waitMs + job.work / load.speed;
  }

  /** Sheds shadow jobs, the youngest first, where the queue's bound would otherwise turn others away. */
  #makeRoom(tokens: number): void {
    const shadow = this.#waiting.lane('shadow');
    while (shadow.jobs > 0 && this.#waiting.tokens + tokens > this.#admission.queueTokens) {
      const victim = shadow.youngest()!;
      const waitMs = this.#predictedWait('shadow', victim.work);
      this.#withdraw(victim.owner, 'overloaded', overloaded({ waitMs, retryMs: waitMs }));
    }
  }

  #turnAway(ticket: Ticket<Row>, reason: 'overloaded' | 'expired' | 'cancelled', error: WinnowError): WinnowError {
    this.#observer.onShed?.(reason, ticket.job.rows.length, ticket.job.lane);
    return error;
  }

  #learn(ticket: Ticket<Row>, now: number): void {
    this.#forecast.learnJob(ticket.predictedMs, now - ticket.submittedAt, this.#open.size);
  }

  #expire(ticket: Ticket<Row>): void {
    this.#learn(ticket, this.#clock.now());
    this.#withdraw(ticket, 'expired', ticket.expired());
  }

  /** A job leaves before it is done; rows that already run are ignored when they come back. */
  #withdraw(ticket: Ticket<Row>, reason: 'overloaded' | 'expired' | 'cancelled', error: WinnowError): void {
    if (ticket.settled) return;
    this.#observer.onShed?.(reason, ticket.queued.waitingRows, ticket.job.lane);
    this.#reject(ticket, error);
    this.#tellQueue();
  }

  #reject(ticket: Ticket<Row>, error: unknown): void {
    this.#waiting.remove(ticket.queued);
    ticket.fail(error);
    this.#forget(ticket);
  }

  #forget(ticket: Ticket<Row>): void {
    this.#open.delete(ticket);
    this.#deadlines.remove(ticket);
    this.#finishClosing();
  }

  #finishClosing(): void {
    if (this.#closed && this.#open.size === 0 && this.#flights.size === 0) this.#closed.resolve();
  }

  /** Hands batches to the engine while it takes them. */
  #pump(): void {
    while (this.#flights.hasRoom) {
      const lanes = this.#flights.hasIdle ? LANES : AHEAD;
      const batch = this.#nextRetry() ?? this.#form(lanes);
      if (!batch) return;
      void this.#run(batch);
    }
  }

  #form(lanes: readonly Lane[]): Tickets<Row> | undefined {
    return formBatch(
      this.#waiting,
      this.#budget,
      (key) => this.#forecast.cost(key),
      this.#load(this.#clock.now()),
      lanes,
    );
  }

  #nextRetry(): Tickets<Row> | undefined {
    for (let batch = this.#retries.shift(); batch; batch = this.#retries.shift())
      if (!batch.lead.owner.settled) return batch;
    return undefined;
  }

  async #run(batch: Tickets<Row>): Promise<void> {
    const flight = this.#flights.launch(batch, this.#forecast.batchMs(batch), this.#clock.now());
    const outcome = await this.#execute(batch).catch((error: unknown) => ({ error }));
    if ('error' in outcome) {
      this.#flights.fail(flight, this.#clock.now());
      this.#failed(batch, outcome.error);
      this.#pump();
    } else this.#landed(flight, outcome);
    this.#tellQueue();
    this.#finishClosing();
  }

  async #execute(batch: Tickets<Row>): Promise<BatchAnswer> {
    const rows = batch.rows.map((row) => row.job.owner.job.rows[row.index]!);
    const answer = await this.#executor.execute(batch.key, rows);
    const got = answer.scores.length;
    if (got === rows.length) return answer;
    throw new WinnowError('inference_failed', { reason: `expected ${rows.length} scores, got ${got}` });
  }

  #landed(flight: Flight<Ticket<Row>>, { scores, inferMs, host = 0 }: BatchAnswer): void {
    const now = this.#clock.now();
    const { batch } = flight;
    const ms = this.#flights.land(flight, host, now);
    const startedAt = now - ms;
    this.#forecast.learnBatch(batch, ms);
    this.#pump();
    for (const ticket of ticketsOf(batch))
      if (!ticket.settled && ticket.deliver(batch, scores, inferMs, startedAt)) {
        this.#learn(ticket, now);
        ticket.complete();
        this.#forget(ticket);
      }
    const { key, lane, tokens, paddedTokens, lead } = batch;
    const waitMs = Math.max(0, startedAt - lead.arrived);
    this.#observer.onBatch?.({ key, lane, rows: batch.rows.length, tokens, paddedTokens, inferMs, waitMs });
  }

  /** A failure belongs to one job: a batch that holds several is run again job by job, so that only the guilty one fails. */
  #failed(batch: Tickets<Row>, error: unknown): void {
    const tickets = [...ticketsOf(batch)];
    const own = (row: number) => batch.rows[row]?.index;
    if (tickets.length === 1) this.#reject(tickets[0]!, renumberRow(error, own));
    else for (const ticket of tickets) if (!ticket.settled) this.#retries.push(only(batch, ticket));
  }

  #tellQueue(): void {
    this.#observer.onQueue?.(this.queued());
  }
}

function overloaded({ waitMs, retryMs }: Refusal): WinnowError {
  return new WinnowError('overloaded', { waitMs: Math.ceil(waitMs), seconds: Math.max(1, Math.ceil(retryMs / 1000)) });
}

/**
 * Makes a scheduler over an engine. It never waits for a batch to fill: while a runner is idle, whatever is there goes at once, and while
 * all are busy one more batch for each is formed ahead if the engine takes it (`executor.depth`).
 */
export function createScheduler<Row extends SchedulableRow>(options: SchedulerOptions<Row>): Scheduler<Row> {
  return new JobScheduler(options);
}
