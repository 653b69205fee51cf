import { mkdirSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { SqlConnection, SqlRow, Statement } from './sql.ts';

/** `node:sqlite` is synchronous, so the database lives in a worker thread and never holds up an answer. */
export type SqliteCall =
  | { readonly id: number; readonly query: Statement }
  | { readonly id: number; readonly transaction: readonly Statement[] };
export type SqliteReply =
  | { readonly id: number; readonly value: readonly SqlRow[] | readonly number[] }
  | { readonly id: number; readonly error: string };

interface Waiting {
  readonly resolve: (value: readonly SqlRow[] | readonly number[]) => void;
  readonly reject: (error: Error) => void;
}

const EXTENSION = import.meta.url.endsWith('.ts') ? '.ts' : '.js';

/** Opens (and makes, if missing) a SQLite file. @throws the database's error if the file is no database. */
export async function openSqlite(path: string): Promise<SqlConnection> {
  const file = resolve(path);
  mkdirSync(dirname(file), { recursive: true });
  const worker = new Worker(new URL(`./sqlite-worker${EXTENSION}`, import.meta.url), { workerData: { file } });
  const waiting = new Map<number, Waiting>();
  let next = 0;
  let ended: Error | undefined;
  const end = (error: Error): void => {
    ended = error;
    for (const { reject } of waiting.values()) reject(error);
    waiting.clear();
  };
  worker.on('error', end);
  worker.on('exit', () => end(new Error('the database thread has ended')));
  worker.on('message', (reply: SqliteReply) => {
    const call = waiting.get(reply.id);
    waiting.delete(reply.id);
    if ('error' in reply) call?.reject(new Error(reply.error));
    else call?.resolve(reply.value);
  });
  const ask = <T>(call: { query: Statement } | { transaction: readonly Statement[] }): Promise<T> =>
    new Promise((settle, reject) => {
      if (ended) return reject(ended);
      const id = next++;
      waiting.set(id, { resolve: settle as Waiting['resolve'], reject });
      worker.postMessage({ id, ...call });
    });
  // The first call waits for the thread and its schema, so that a file that is no database fails here.
  await ask({ query: { sql: 'SELECT 1 AS one', values: [] } });
  return {
    kind: 'sqlite',
    query: (statement) => ask({ query: statement }),
    transaction: (statements) => ask({ transaction: statements }),
    async close() {
      await worker.terminate();
    },
  };
}
