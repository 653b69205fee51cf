import { Worker } from 'node:worker_threads';
import { WinnowError } from '../../errors.ts';
import { workerEntry } from '../../util/worker-entry.ts';
import type { Experiment } from '../definitions/definition.ts';
import type { ExperimentStore } from '../records.ts';
import type { StoreOptions } from '../store/store.ts';
import type { ReportOptions } from './analyze.ts';
import type { ExperimentReport } from './report-data.ts';
import { ReportDesk } from './report-desk.ts';
import type { Series, SeriesOptions } from './series.ts';

/** Makes reports. A hundred thousand units take a second of arithmetic, which must not delay answers. */
export interface ReportRunner {
  report(experiment: Experiment, options: ReportOptions): Promise<ExperimentReport>;
  series(experiment: Experiment, options: SeriesOptions): Promise<Series>;
  close(): Promise<void>;
}

export type ReportCall = { readonly id: number; readonly experiment: Experiment } & (
  | { readonly kind: 'report'; readonly options: ReportOptions }
  | { readonly kind: 'series'; readonly options: SeriesOptions }
);
export type ReportReply =
  | { readonly id: number; readonly value: ExperimentReport | Series }
  | {
      readonly id: number;
      readonly error: string;
      readonly code?: string;
      /** What a WinnowError is made of. */
      readonly fault?: Pick<WinnowError, 'code' | 'params'>;
    };

/** Makes reports in this thread: for commands, and for databases that only one thread can read. */
export function inThisThread(store: () => Promise<ExperimentStore>): ReportRunner {
  let desk: { readonly of: ExperimentStore; readonly at: ReportDesk } | undefined;
  /** A store that was opened anew may be another database. */
  const deskOf = (opened: ExperimentStore): ReportDesk => {
    if (desk?.of !== opened) desk = { of: opened, at: new ReportDesk(opened) };
    return desk.at;
  };
  return {
    report: async (experiment, options) => deskOf(await store()).report(experiment, options),
    series: async (experiment, options) => deskOf(await store()).series(experiment, options),
    close: async () => {},
  };
}

/** What the thread gets at its start. */
export interface ReportThreadData {
  readonly target: string;
  readonly options: StoreOptions;
}

interface Waiting {
  readonly resolve: (value: ExperimentReport | Series) => void;
  readonly reject: (error: Error) => void;
}

type Question = Pick<ReportCall, 'kind' | 'options' | 'experiment'>;

/** A thread that makes reports. One that has ended is started again by the next report. */
class ReportThread {
  readonly #data: ReportThreadData;
  readonly #waiting = new Map<number, Waiting>();
  #worker: Worker | undefined;
  #next = 0;

  constructor(data: ReportThreadData) {
    this.#data = data;
  }

  ask<T extends ExperimentReport | Series>(question: Question): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#worker ??= this.#start();
      const id = this.#next++;
      // Only a pending question keeps the process alive.
      this.#worker.ref();
      this.#waiting.set(id, { resolve: resolve as Waiting['resolve'], reject });
      this.#worker.postMessage({ id, ...question });
    });
  }

  async close(): Promise<void> {
    await this.#worker?.terminate();
  }

  #start(): Worker {
    const worker = new Worker(workerEntry('./report-worker', import.meta.url), {
      workerData: this.#data,
    });
    const end = (error: Error) => {
      if (this.#worker === worker) this.#worker = undefined;
      for (const { reject } of this.#waiting.values()) reject(error);
      this.#waiting.clear();
    };
    worker.on('error', end);
    worker.on('exit', () => end(new Error('the thread of reports has ended')));
    worker.on('message', (reply: ReportReply) => this.#settle(reply));
    return worker;
  }

  #settle(reply: ReportReply): void {
    const call = this.#waiting.get(reply.id);
    this.#waiting.delete(reply.id);
    if (this.#waiting.size === 0) this.#worker?.unref();
    if ('value' in reply) call?.resolve(reply.value);
    else if (reply.fault) call?.reject(new WinnowError(reply.fault.code, reply.fault.params));
    else call?.reject(Object.assign(new Error(reply.error), reply.code === undefined ? {} : { code: reply.code }));
  }
}

/** Makes reports in a thread of its own with its own connection, for servers. The first report starts it. */
export function inOwnThread(target: string, options: StoreOptions): ReportRunner {
  const thread = new ReportThread({ target, options });
  return {
    report: (experiment, options) => thread.ask({ kind: 'report', experiment, options }),
    series: (experiment, options) => thread.ask({ kind: 'series', experiment, options }),
    close: () => thread.close(),
  };
}
