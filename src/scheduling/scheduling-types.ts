/** Priority classes, highest first. Shadow work is shed first and never delays the others. */
export const LANES = ['interactive', 'batch', 'shadow'] as const;
export type Lane = (typeof LANES)[number];

/** The little the scheduler must know of a row: how long it is. The payload goes through untouched. */
export interface SchedulableRow {
  readonly ids: { readonly length: number };
}

export interface Job<Row extends SchedulableRow> {
  /** `name@version`: only rows of one key share a batch. */
  readonly key: string;
  readonly rows: readonly Row[];
  readonly lane: Lane;
  /** Smaller is served first within a lane (Cohere's `priority`); 0 by default. */
  readonly priority?: number;
  /** Point on the scheduler's clock after which the answer is of no use, in milliseconds. */
  readonly deadline: number;
  readonly signal?: AbortSignal;
}

export interface JobResult {
  /** One score a row, in the job's order. */
  readonly scores: Float32Array;
  /** From submission to the start of the first batch with a row of this job, in milliseconds. */
  readonly queueMs: number;
  /** Sum of this job's share (by tokens) of its batches' engine time, in milliseconds. */
  readonly inferMs: number;
  readonly batches: number;
}

/** What comes back of a batch. */
export interface BatchAnswer {
  /** One score a row, in the batch's order. */
  readonly scores: Float32Array;
  /** Time inside the engine, in milliseconds. */
  readonly inferMs: number;
  /** Which of the runners ran it: from when each was busy follows what a batch took. 0 if absent; with several runners it must be told. */
  readonly host?: number;
}

/** Runs one batch; what stands behind it is the pool of inference hosts, or a fake in tests. */
export interface BatchExecutor<Row extends SchedulableRow> {
  /** Batches that can run side by side. */
  readonly concurrency: number;
  /** Batches each of these takes at a time, the one it runs included, so that none idles between two; in the order it got them. 1 if absent. */
  readonly depth?: number;
  execute(key: string, rows: readonly Row[]): Promise<BatchAnswer>;
}

/** Told of everything worth a metric; must not throw. */
export interface SchedulerObserver {
  onBatch?(batch: {
    key: string;
    lane: Lane;
    rows: number;
    tokens: number;
    paddedTokens: number;
    inferMs: number;
    waitMs: number;
  }): void;
  onShed?(reason: 'overloaded' | 'expired' | 'cancelled', rows: number, lane: Lane): void;
  onQueue?(state: { tokens: number; rows: number; jobs: number }): void;
}

export interface Scheduler<Row extends SchedulableRow> {
  /**
   * @throws WinnowError `overloaded` at once when the predicted wait or the queue's bound is passed; `deadline_exceeded`;
   * `client_closed` when the signal aborts; `shutting_down` after `close`.
   */
  submit(job: Job<Row>): Promise<JobResult>;
  /** Predicted milliseconds until a job of `tokens` tokens would start. */
  predictedWaitMs(key: string, lane: Lane, tokens: number): number;
  queued(): { readonly tokens: number; readonly rows: number; readonly jobs: number };
  /** Refuses new jobs, drops shadow work, finishes the other jobs it has. */
  close(): Promise<void>;
}
