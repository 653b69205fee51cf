import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';
import { SCHEMA, type SqlRow, type Statement } from './sql.ts';
import type { SqliteCall, SqliteReply } from './sqlite.ts';

const { file } = workerData as { file: string };
const database = new DatabaseSync(file, { timeout: 10_000 });
database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY');
for (const statement of SCHEMA) database.exec(statement);

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
    database.exec('ROLLBACK');
    throw error;
  }
}

parentPort!.on('message', (call: SqliteCall) => {
  let reply: SqliteReply;
  try {
    const value =
      'query' in call
        ? (prepare(call.query.sql).all(...call.query.values) as readonly SqlRow[])
        : transaction(call.transaction);
    reply = { id: call.id, value };
  } catch (error) {
    reply = { id: call.id, error: (error as Error).message };
  }
  parentPort!.postMessage(reply);
});
