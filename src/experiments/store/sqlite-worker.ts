import { rmSync, statSync } from 'node:fs';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';
import { migrations } from './migrations.ts';
import { SCHEMA, type SqlRow, type Statement } from './sql.ts';
import type { SqliteCall, SqliteReply } from './sqlite.ts';

const { file } = workerData as { file: string };
const database = new DatabaseSync(file, { timeout: 10_000 });
database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY');
createTables();

/** Creates missing tables, and changes those of older releases: by one thread at a time. */
function createTables(): void {
  database.exec('BEGIN IMMEDIATE');
  for (const statement of SCHEMA) database.exec(statement);
  const count = (sql: string) => Number(database.prepare(sql).get()!.n);
  const changes = migrations('sqlite', {
    exposureColumns: database
      .prepare("SELECT name FROM pragma_table_info('winnow_exposures')")
      .all()
      .map(({ name }) => String(name)),
    outcomeKeyColumns: count("SELECT COUNT(*) AS n FROM pragma_table_info('winnow_outcomes') WHERE pk > 0"),
  });
  for (const statement of changes) database.exec(statement);
  if (changes.length > 0) for (const statement of SCHEMA) database.exec(statement);
  database.exec('COMMIT');
}

/** Identifies the file at a path. A deleted file that is still open keeps its number, so no other file gets it. */
function identityOf(path: string): string | undefined {
  try {
    const { dev, ino } = statSync(path);
    return `${dev} ${ino}`;
  } catch {
    return undefined;
  }
}

const opened = { file: identityOf(file), log: identityOf(`${file}-wal`) };

/** The file is no longer at its path. */
class FileLost extends Error {
  /** Exposures that the file held. */
  readonly exposures: number;

  constructor(message: string, exposures: number) {
    super(message);
    this.exposures = exposures;
  }
}

/** Counts the exposures of a file without a name: the connection still reads it. */
function countExposures(): number {
  try {
    return Number(database.prepare('SELECT COUNT(*) AS rows FROM winnow_exposures').get()!.rows);
  } catch {
    return 0;
  }
}

/**
 * Ends the connection where its file is no longer at its path: what is written there would be lost.
 * @param unacknowledged exposures among those of the file that are kept elsewhere, and will be written again.
 * @throws FileLost.
 */
function checkFile(unacknowledged = 0): void {
  const now = identityOf(file);
  if (opened.file === undefined || (database.isOpen && now === opened.file)) return;
  const exposures = database.isOpen ? Math.max(0, countExposures() - unacknowledged) : 0;
  if (database.isOpen) database.close();
  // The log of the old file must not be replayed into the new one.
  if (now !== undefined && identityOf(`${file}-wal`) === opened.log)
    for (const suffix of ['-wal', '-shm']) rmSync(file + suffix, { force: true });
  const what = now === undefined ? 'deleted' : 'replaced';
  throw new FileLost(`${file} was ${what} while in use, with ${exposures} exposures; it is opened anew`, exposures);
}

const prepared = new Map<string, StatementSync>();
function prepare(sql: string): StatementSync {
  let statement = prepared.get(sql);
  if (!statement) {
    statement = database.prepare(sql);
    prepared.set(sql, statement);
  }
  return statement;
}

function transaction(statements: readonly Statement[]): number[] {
  database.exec('BEGIN IMMEDIATE');
  try {
    const changes = statements.map(({ sql, values }) => Number(prepare(sql).run(...values).changes));
    database.exec('COMMIT');
    return changes;
  } catch (error) {
    // A full disk has ended the transaction already.
    if (database.isTransaction) database.exec('ROLLBACK');
    throw error;
  }
}

const addsExposures = ({ sql }: Statement) => sql.startsWith('INSERT INTO winnow_exposures');

function answer(call: SqliteCall): readonly SqlRow[] | readonly number[] {
  checkFile();
  if ('query' in call) return prepare(call.query.sql).all(...call.query.values) as readonly SqlRow[];
  const changes = transaction(call.transaction);
  // Rows that went into a file which is gone are not acknowledged.
  checkFile(changes.reduce((sum, count, i) => sum + (addsExposures(call.transaction[i]!) ? count : 0), 0));
  return changes;
}

/** Primary result codes of SQLite that an operator can act on. */
const CODES: Readonly<Record<number, string>> = {
  5: 'SQLITE_BUSY',
  8: 'SQLITE_READONLY',
  10: 'SQLITE_IOERR',
  11: 'SQLITE_CORRUPT',
  13: 'SQLITE_FULL',
  14: 'SQLITE_CANTOPEN',
  26: 'SQLITE_NOTADB',
};

function failure(error: unknown): Omit<Extract<SqliteReply, { error: string }>, 'id'> {
  const { message, errcode = 0 } = error as Error & { errcode?: number };
  if (error instanceof FileLost) return { error: message, code: 'file_lost', lost: { exposures: error.exposures } };
  const code = CODES[errcode & 0xff];
  return { error: message, ...(code === undefined ? {} : { code }) };
}

parentPort!.on('message', (call: SqliteCall) => {
  let reply: SqliteReply;
  try {
    reply = { id: call.id, value: answer(call) };
  } catch (error) {
    reply = { id: call.id, ...failure(error) };
  }
  parentPort!.postMessage(reply);
});
