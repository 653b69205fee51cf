import { mkdirSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { Worker } from 'node:worker_threads';
import { workerEntry } from '../../util/worker-entry.ts';
import type { SqlConnection, SqlRow, Statement } from './sql.ts';

/** `node:sqlite` is synchronous, so it runs in worker threads and never delays an answer. */
export type SqliteCall =
  | { readonly id: number; readonly query: Statement }
  | { readonly id: number; readonly transaction: readonly Statement[] };

/** What was in a file that is no longer at its path. */
interface LostFile {
  readonly exposures: number;
}

export type SqliteReply =
  | { readonly id: number; readonly value: readonly SqlRow[] | readonly number[] }
  | { readonly id: number; readonly error: string; readonly code?: string; readonly lost?: LostFile };

interface Waiting {
  readonly resolve: (value: readonly SqlRow[] | readonly number[]) => void;
  readonly reject: (error: Error) => void;
}

type Question = { readonly query: Statement } | { readonly transaction: readonly Statement[] };

/** Receives why a connection cannot be used any more, and how many exposures its file held. */
type OnLost = (reason: string, exposures: number) => void;

/** A thread with a connection of its own. */
class SqliteThread {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  #next = 0;
  readonly #onLost: OnLost;
  #ended: Error | undefined;
  #closed = false;

  /** @param onLost is called once, where the thread has ended by itself or its file is no longer at its path. */
  constructor(file: string, onLost: OnLost) {
    this.#onLost = onLost;
    this.#worker = new Worker(workerEntry('./sqlite-worker', import.meta.url), { workerData: { file } });
    // Only a pending question keeps the process alive.
    this.#worker.unref();
    this.#worker.on('error', (error) => this.#end(error));
    this.#worker.on('exit', () => this.#end(new Error('the database thread has ended')));
    this.#worker.on('message', (reply: SqliteReply) => this.#settle(reply));
  }

  ask<T>(question: Question): Promise<T> {
    return new Promise((settle, reject) => {
      if (this.#ended) return reject(this.#ended);
      const id = this.#next++;
      if (this.#waiting.size === 0) this.#worker.ref();
      this.#waiting.set(id, { resolve: settle as Waiting['resolve'], reject });
      this.#worker.postMessage({ id, ...question });
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#worker.terminate();
  }

  #settle(reply: SqliteReply): void {
    const call = this.#waiting.get(reply.id);
    this.#waiting.delete(reply.id);
    if (this.#waiting.size === 0) this.#worker.unref();
    if (!('error' in reply)) return void call?.resolve(reply.value);
    const { error: message, code, lost } = reply;
    const error = Object.assign(new Error(message), code === undefined ? {} : { code });
    call?.reject(error);
    if (!lost) return;
    this.#end(error, lost.exposures);
    void this.#worker.terminate();
  }

  #end(error: Error, exposures = 0): void {
    if (!this.#ended && !this.#closed) this.#onLost(error.message, exposures);
    this.#ended ??= error;
    for (const { reject } of this.#waiting.values()) reject(this.#ended);
    this.#waiting.clear();
  }
}

/** Names a database in memory, which ends with its connection. */
export const MEMORY = ':memory:';

export interface SqliteOptions {
  /** Long reads get a second thread beside that of the writes; true if absent. */
  readonly readApart?: boolean;
  /** Called once, where the connection is of no more use because its file was deleted or replaced or its thread has ended. */
  readonly onLost?: OnLost;
}

/** Interval of the checks whether the file is still at its path, in milliseconds. */
const CHECK_MS = 500;
const NOTHING: Statement = { sql: 'SELECT 1 AS one', values: [] };

/**
 * Opens a SQLite file, and creates it if missing; `:memory:` is a database in memory.
 * @throws the database's error if the file is no database.
 */
export async function openSqlite(path: string, options: SqliteOptions = {}): Promise<SqlConnection> {
  const { readApart = true, onLost = () => {} } = options;
  const file = path === MEMORY ? path : resolve(path);
  if (file !== MEMORY) mkdirSync(dirname(file), { recursive: true });
  let isOpen = false;
  const writer = new SqliteThread(file, (...lost) => isOpen && onLost(...lost));
  let reader: SqliteThread | undefined;
  const readers = () => {
    reader ??=
      file === MEMORY || !readApart
        ? writer
        : new SqliteThread(file, () => {
            reader = undefined;
          });
    return reader;
  };
  // The first call waits for the thread and its schema, so that a file that is no database fails here.
  await writer.ask({ query: NOTHING });
  isOpen = true;
  const timer = setInterval(() => void writer.ask({ query: NOTHING }).catch(() => {}), CHECK_MS).unref();
  return {
    kind: 'sqlite',
    query: (statement) => readers().ask({ query: statement }),
    lookup: (statement) => writer.ask({ query: statement }),
    transaction: (statements) => writer.ask({ transaction: statements }),
    async close() {
      clearInterval(timer);
      await Promise.all([writer.close(), reader?.close()]);
    },
  };
}
