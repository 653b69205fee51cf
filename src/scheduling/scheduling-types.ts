/** Priority classes, highest first. Shadow jobs are dropped first and never delay other lanes. */
export const LANES = ['interactive', 'batch', 'shadow'] as const;
export type Lane = (typeof LANES)[number];

/** Lanes whose batches are also formed ahead, behind a running one. Shadow batches start only on an idle runner. */
export const LANES_FORMED_AHEAD: readonly Lane[] = ['interactive', 'batch'];

/** What the scheduler uses of a row: its length. The row itself is passed on unchanged. */
export interface SchedulableRow {
  readonly ids: { readonly length: number };
}

export interface Job<Row extends SchedulableRow> {
  /** `name@version`: only rows of one key share a batch. */
  readonly key: string;
  readonly rows: readonly Row[];
  readonly lane: Lane;
  /** Whose job it is, such as the name of an API key. Shares divide a lane equally; jobs without one are one share. */
  readonly share?: string;
  /** Jobs with smaller numbers are served first within a lane (Cohere's `priority`). Default: 0. */
  readonly priority?: number;
  /** Time on the scheduler's clock after which the job is rejected, in milliseconds. */
  readonly deadline: number;
  readonly signal?: AbortSignal;
  /** The server's own check of itself: it is no demand. */
  readonly isCheck?: boolean;
}

export interface JobResult {
  /** One score for each row, in the job's order; where rows have several values, those of each row one after another. */
  readonly scores: Float32Array;
  /** The bytes of each row, in the job's order, where rows are answered by bytes; `scores` is empty then. */
  readonly pieces?: readonly Uint8Array[];
  /** Milliseconds from submission to the start of the first batch with a row of this job. */
  readonly queueMs: number;
  /** The job's share, by tokens, of its batches' time in the engine, in milliseconds. */
  readonly inferMs: number;
  readonly batches: number;
}

/** The scores of a batch. */
export interface BatchAnswer {
  /** One score for each row, or as many values for every row, in the batch's order. */
  readonly scores: Float32Array;
  /** The bytes of each row instead of scores, of any length. */
  readonly pieces?: readonly Uint8Array[];
  /** Milliseconds in the engine. */
  readonly inferMs: number;
  /** The runner that ran the batch. Required with several runners, because batch times are measured for each. Default: 0. */
  readonly host?: number;
}

/** Runs batches. The service uses the pool of inference hosts. */
export interface BatchExecutor<Row extends SchedulableRow> {
  /** Runners: batches that run at the same time. */
  readonly concurrency: number;
  /** Batches that each runner takes, the running one included, so that it never idles between two. It runs them in order. Default: 1. */
  readonly depth?: number;
  /** Returns how many runners can run batches now. Default: all. */
  available?(): number;
  /** @param predictedMs How long the batch should take by what was learned of the model; undefined before enough batches of it have run. */
  execute(key: string, rows: readonly Row[], predictedMs?: number): Promise<BatchAnswer>;
}

/** Receives events for metrics. Must not throw. */
export interface SchedulerObserver {
  onBatch?(batch: {
    key: string;
    lane: Lane;
    rows: number;
    tokens: number;
    paddedTokens: number;
    inferMs: number;
    /** The runner that ran it. */
    host: number;
    waitMs: number;
  }): void;
  onShed?(reason: 'overloaded' | 'expired' | 'cancelled', rows: number, lane: Lane): void;
  onQueue?(state: { tokens: number; rows: number; jobs: number }): void;
}

/** Work offered in the last minute, compared with what the runners can do. */
export interface Demand {
  /** Returns offered ÷ capacity: 0 when nothing was offered, above 1 when more was offered than all runners can do. */
  ratio(): number;
  /** Counts a request that was refused before its rows were known. It is worth as much as the average job. */
  noteUnread(): void;
}

export interface Scheduler<Row extends SchedulableRow> {
  /**
   * Scores the rows of a job.
   * @throws WinnowError `overloaded` at once if the queue is full or the predicted wait too long; `deadline_exceeded`; `client_closed` when
   * the signal aborts; `shutting_down` after `close`.
   */
  submit(job: Job<Row>): Promise<JobResult>;
  /** Returns the predicted milliseconds until a job of `tokens` tokens would start. */
  predictedWaitMs(key: string, lane: Lane, tokens: number): number;
  queued(): { readonly tokens: number; readonly rows: number; readonly jobs: number };
  /** How much work arrives. Refused work counts, the lane `shadow` and the server's own checks do not. */
  readonly demand: Demand;
  /** Refuses new jobs, drops shadow jobs and resolves when the other jobs are finished. */
  close(): Promise<void>;
}
