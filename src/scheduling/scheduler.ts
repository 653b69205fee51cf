import { WinnowError } from '../errors.ts';
import { type Clock, monotonicClock } from '../util/clock.ts';
import { renumberRow } from '../util/row-errors.ts';
import type { Budget } from './batch-draft.ts';
import { formBatch } from './batch-former.ts';
import type { Cost } from './cost-model.ts';
import { Deadlines } from './deadlines.ts';
import { DemandMeter } from './demand.ts';
import { Forecast } from './forecast.ts';
import { type InFlightBatch, InFlightBatches } from './in-flight-batches.ts';
import { type AdmissionLimits, admit, overloaded, predictedWait } from './job-admission.ts';
import { NO_SHARE, rowWork } from './queued-job.ts';
import {
  type BatchAnswer,
  type BatchExecutor,
  type Job,
  type JobResult,
  LANES,
  LANES_FORMED_AHEAD,
  type Lane,
  type SchedulableRow,
  type Scheduler,
  type SchedulerObserver,
} from './scheduling-types.ts';
import { batchOf, queueTicket, Ticket, type TicketBatch, ticketsOf } from './ticket.ts';
import { type ExecutorLoad, WaitingJobs } from './waiting-jobs.ts';

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
  /** Wait after which batch jobs move to the interactive lane, and a job may lead batches by age, in milliseconds. */
  readonly agingMs: number;
}

interface SchedulerOptions<Row extends SchedulableRow> {
  readonly executor: BatchExecutor<Row>;
  readonly limits: SchedulingLimits;
  readonly clock?: Clock;
  readonly observer?: SchedulerObserver;
  /** The assumed cost of a batch before any has run. */
  readonly prior?: Cost;
}

/** Assumed tokens of a row whose length is unknown. */
const TYPICAL_LENGTH = 128;

/** Connects the pure parts with promises, timers, signals and the executor. */
class JobScheduler<Row extends SchedulableRow> implements Scheduler<Row> {
  readonly #executor: BatchExecutor<Row>;
  readonly #clock: Clock;
  readonly #observer: SchedulerObserver;
  readonly #budget: Budget;
  readonly #admissionLimits: AdmissionLimits;
  readonly #forecast: Forecast;
  readonly #waiting: WaitingJobs<Ticket<Row>>;
  readonly #inFlight: InFlightBatches<Ticket<Row>>;
  readonly #deadlines: Deadlines<Ticket<Row>>;
  readonly demand: DemandMeter;
  /** One batch for each job of a failed batch with several jobs, to be run again. */
  readonly #retries: TicketBatch<Row>[] = [];
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
    this.#admissionLimits = { queueTokens: limits.queueTokens, maxWaitMs: limits.maxWaitMs };
    this.#waiting = new WaitingJobs(limits.agingMs);
    this.#inFlight = new InFlightBatches(executor.concurrency, executor.depth ?? 1);
    this.#deadlines = new Deadlines(this.#clock, (ticket) => this.#expire(ticket));
    this.demand = new DemandMeter({
      clock: this.#clock,
      runners: () => executor.available?.() ?? executor.concurrency,
      rate: (key) => this.#forecast.rate(key),
    });
  }

  async submit(job: Job<Row>): Promise<JobResult> {
    const now = this.#clock.now();
    const ticket = new Ticket(job, now);
    if (this.#closed) throw new WinnowError('shutting_down');
    // Shadow work fills idle time only: more pods for it would double the cost of an experiment.
    if (job.lane !== 'shadow' && !job.isCheck) this.demand.offer(job.key, job.rows);
    if (job.signal?.aborted) throw this.#refuse(ticket, 'cancelled', new WinnowError('client_closed'));
    if (!(job.deadline > now)) throw this.#refuse(ticket, 'expired', ticket.expired());
    if (job.rows.length === 0) ticket.complete();
    else this.#enqueue(ticket, now);
    return ticket.promise;
  }

  predictedWaitMs(key: string, lane: Lane, tokens: number): number {
    // Without tokens the model does not matter.
    if (tokens === 0) return this.#predictedWait(lane, 0);
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
    const job = { lane, share: NO_SHARE, priority: 0, work, deadline: Number.POSITIVE_INFINITY };
    return predictedWait(this.#waiting, job, this.#load(this.#clock.now()));
  }

  #load(now: number): ExecutorLoad {
    const retries = this.#retries.reduce((sum, batch) => sum + this.#forecast.batchMs(batch), 0);
    const { msPerWork } = this.#forecast;
    return {
      now,
      speed: this.#executor.concurrency / msPerWork,
      idle: this.#inFlight.hasIdleRunner,
      inFlight: (this.#inFlight.remainingMs(now) + retries) / msPerWork,
    };
  }

  #enqueue(ticket: Ticket<Row>, now: number): void {
    ticket.queued = queueTicket(ticket, this.#sequence++, this.#forecast.rate(ticket.job.key));
    this.#admit(ticket, now);
    this.#open.add(ticket);
    this.#waiting.add(ticket.queued, this.#load(now));
    this.#deadlines.add(ticket);
    ticket.onAbort(() => this.#withdraw(ticket, 'cancelled', new WinnowError('client_closed')));
    this.#pump();
    this.#reportQueue();
  }

  #admit(ticket: Ticket<Row>, now: number): void {
    const job = ticket.queued;
    if (job.lane !== 'shadow') this.#makeRoom(job.waitingTokens);
    const load = this.#load(now);
    const decision = admit(this.#waiting, job, load, this.#admissionLimits);
    if ('retryMs' in decision) throw this.#refuse(ticket, 'overloaded', overloaded(decision));
    if (decision.waitMs > 0 && this.#forecast.isTrusted(job.key))
      ticket.predictedMs = decision.waitMs + job.work / load.speed;
  }

  /** Drops shadow jobs, the youngest first, until `tokens` fit into the queue. */
  #makeRoom(tokens: number): void {
    const shadow = this.#waiting.lane('shadow');
    while (shadow.jobs > 0 && this.#waiting.tokens + tokens > this.#admissionLimits.queueTokens) {
      const youngest = shadow.youngest()!;
      const waitMs = this.#predictedWait('shadow', youngest.work);
      this.#withdraw(youngest.owner, 'overloaded', overloaded({ waitMs, retryMs: waitMs }));
    }
  }

  #refuse(ticket: Ticket<Row>, reason: 'overloaded' | 'expired' | 'cancelled', error: WinnowError): WinnowError {
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

  /** Removes a job before it is done. The scores of its running rows are ignored. */
  #withdraw(ticket: Ticket<Row>, reason: 'overloaded' | 'expired' | 'cancelled', error: WinnowError): void {
    if (ticket.settled) return;
    this.#observer.onShed?.(reason, ticket.queued.waitingRows, ticket.job.lane);
    this.#reject(ticket, error);
    this.#reportQueue();
  }

  #reject(ticket: Ticket<Row>, error: unknown): void {
    this.#waiting.remove(ticket.queued);
    ticket.fail(error);
    this.#close(ticket);
  }

  #close(ticket: Ticket<Row>): void {
    this.#open.delete(ticket);
    this.#deadlines.remove(ticket);
    this.#finishClosing();
  }

  #finishClosing(): void {
    if (this.#closed && this.#open.size === 0 && this.#inFlight.size === 0) this.#closed.resolve();
  }

  /** Hands batches to the executor while it has room. */
  #pump(): void {
    while (this.#inFlight.hasRoom) {
      const lanes = this.#inFlight.hasIdleRunner ? LANES : LANES_FORMED_AHEAD;
      const batch = this.#nextRetry() ?? this.#form(lanes);
      if (!batch) return;
      void this.#run(batch);
    }
  }

  #form(lanes: readonly Lane[]): TicketBatch<Row> | undefined {
    return formBatch(
      this.#waiting,
      this.#budget,
      (key) => this.#forecast.cost(key),
      this.#load(this.#clock.now()),
      lanes,
    );
  }

  #nextRetry(): TicketBatch<Row> | undefined {
    for (let batch = this.#retries.shift(); batch; batch = this.#retries.shift())
      if (!batch.lead.owner.settled) return batch;
    return undefined;
  }

  async #run(batch: TicketBatch<Row>): Promise<void> {
    const sent = this.#inFlight.add(batch, this.#forecast.batchMs(batch), this.#clock.now());
    const outcome = await this.#execute(batch).catch((error: unknown) => ({ error }));
    if ('error' in outcome) {
      this.#inFlight.fail(sent, this.#clock.now());
      this.#failed(batch, outcome.error);
      this.#pump();
    } else this.#completed(sent, outcome);
    this.#reportQueue();
    this.#finishClosing();
  }

  async #execute(batch: TicketBatch<Row>): Promise<BatchAnswer> {
    const rows = batch.rows.map((row) => row.job.owner.job.rows[row.index]!);
    const predictedMs = this.#forecast.isTrusted(batch.key) ? this.#forecast.batchMs(batch) : undefined;
    const answer = await this.#executor.execute(batch.key, rows, predictedMs);
    const { pieces } = answer;
    if (pieces?.length === rows.length) return answer;
    const got = pieces?.length ?? answer.scores.length;
    if (!pieces && got > 0 && got % rows.length === 0) return answer;
    throw new WinnowError('inference_failed', { reason: `expected ${rows.length} scores, got ${got}` });
  }

  #completed(sent: InFlightBatch<Ticket<Row>>, answer: BatchAnswer): void {
    const { inferMs, host = 0 } = answer;
    const now = this.#clock.now();
    const { batch } = sent;
    const ms = this.#inFlight.complete(sent, host, now);
    const startedAt = now - ms;
    // Two answers that waited while this process was busy arrive at once: the second seems to have taken no time, which would spoil what is learned.
    const ranMs = Math.max(ms, inferMs);
    this.#forecast.learnBatch(batch, ranMs);
    this.demand.ran(batch.key, batch.rows, ranMs);
    this.#pump();
    for (const ticket of ticketsOf(batch))
      if (!ticket.settled && ticket.deliver(batch, answer, startedAt)) {
        this.#learn(ticket, now);
        ticket.complete();
        this.#close(ticket);
      }
    const { key, lane, tokens, paddedTokens, lead } = batch;
    const waitMs = Math.max(0, startedAt - lead.arrived);
    this.#observer.onBatch?.({ key, lane, rows: batch.rows.length, tokens, paddedTokens, inferMs, host, waitMs });
  }

  /** Rejects the only job of a failed batch. If there are several, runs each again alone, so that only the failing one is rejected. */
  #failed(batch: TicketBatch<Row>, error: unknown): void {
    const tickets = [...ticketsOf(batch)];
    const indexInJob = (row: number) => batch.rows[row]?.index;
    if (tickets.length === 1) this.#reject(tickets[0]!, renumberRow(error, indexInJob));
    else for (const ticket of tickets) if (!ticket.settled) this.#retries.push(batchOf(ticket, batch));
  }

  #reportQueue(): void {
    this.#observer.onQueue?.(this.queued());
  }
}

/**
 * Creates a scheduler. It never waits for a batch to fill: an idle runner gets what is there at once. While all runners are busy, one more
 * batch for each is formed ahead if the executor takes it (`executor.depth`).
 */
export function createScheduler<Row extends SchedulableRow>(options: SchedulerOptions<Row>): Scheduler<Row> {
  return new JobScheduler(options);
}
