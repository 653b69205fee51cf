import pg from 'pg';
import { within } from '../../util/within.ts';
import { migrations, TRANSACTION_INDEXES } from './migrations.ts';
import { SCHEMA, type SqlConnection, type SqlRow, type Statement } from './sql.ts';
import { timedOut } from './store-keeper.ts';

/** The time for a long statement (reads of reports, removal of old rows), in times of that for any other. */
const LONG = 60;
/** The same for a statement that creates a table or waits for another server to do so. */
const SCHEMA_FACTOR = 12;
/** How long closing waits for the server's goodbye, in milliseconds. */
const CLOSE_MS = 2000;

/** Numbers the parameters: `?` → `$1`, `$2`…. No statement here has a question mark in a literal. */
function numbered(sql: string): string {
  let n = 0;
  return sql.replaceAll('?', () => `$${++n}`);
}

// Two servers that start together must not create the tables at the same time: PostgreSQL's IF NOT EXISTS races on its catalog.
const SCHEMA_LOCK = 7_265_831;

type Ask = (statement: Statement) => Promise<pg.QueryResult<SqlRow>>;

/** The client's own time limit stands in for a server that no longer keeps its own. */
function timedQuery(client: pg.PoolClient, limitMs: number): Ask {
  return async ({ sql, values }) => {
    const query = { text: numbered(sql), values: [...values], query_timeout: limitMs + 500 };
    try {
      return await client.query<SqlRow>(query);
    } catch (error) {
      if ((error as Error).message !== 'Query read timeout') throw error;
      throw timedOut(`the database did not answer within ${limitMs} ms`, error);
    }
  };
}

/**
 * Runs `work` in a transaction on a connection of its own, with time limits that hold for this transaction only: pools of connections
 * between here and the server may share sessions. A connection on which anything failed is closed, never used again.
 */
async function inTransaction<T>(pool: pg.Pool, limitMs: number, work: (ask: Ask) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  let failure: unknown = new Error('not finished');
  try {
    const ask = timedQuery(client, limitMs);
    const begin = `BEGIN; SET LOCAL statement_timeout = ${limitMs}; SET LOCAL idle_in_transaction_session_timeout = ${2 * limitMs}`;
    await ask({ sql: begin, values: [] });
    const result = await work(ask);
    await ask({ sql: 'COMMIT', values: [] });
    failure = undefined;
    return result;
  } catch (error) {
    failure = error;
    throw error;
  } finally {
    client.release(failure !== undefined);
  }
}

/** What `migrations` must know, about the tables that the search path finds. */
const FACTS = `SELECT
  (SELECT string_agg(attname, ',') FROM pg_attribute
    WHERE attrelid = 'winnow_exposures'::regclass AND attnum > 0 AND NOT attisdropped) AS exposure_columns,
  (SELECT array_length(conkey, 1) FROM pg_constraint WHERE conrelid = 'winnow_outcomes'::regclass AND contype = 'p') AS key_columns`;

async function createTables(pool: pg.Pool, limitMs: number): Promise<void> {
  await inTransaction(pool, limitMs, async (ask) => {
    await ask({ sql: 'SELECT pg_advisory_xact_lock(?)', values: [SCHEMA_LOCK] });
    for (const sql of SCHEMA) await ask({ sql, values: [] });
    const [facts] = (await ask({ sql: FACTS, values: [] })).rows;
    const changes = migrations('postgres', {
      exposureColumns: String(facts?.exposure_columns).split(','),
      outcomeKeyColumns: Number(facts?.key_columns),
    });
    for (const sql of [...changes, ...TRANSACTION_INDEXES]) await ask({ sql, values: [] });
  });
}

/** Creates a pool whose connections may break at any time without ending the process: what was asked on them fails, and nothing else. */
function createPool(url: string, connectMs: number): pg.Pool {
  const pool = new pg.Pool({ connectionString: url, max: 4, connectionTimeoutMillis: connectMs });
  pool.on('error', () => {});
  // The pool listens only while a connection is idle. A session that is ended between two statements is reported here.
  pool.on('connect', (client) => client.on('error', () => {}));
  return pool;
}

async function closePool(pool: pg.Pool): Promise<void> {
  await within(CLOSE_MS, pool.end(), () => timedOut('the database did not end its sessions in time')).catch(() => {});
}

/**
 * Connects to a server by `postgres://` URL and creates missing tables and columns.
 * @param limitMs how long connecting and a statement may take, in milliseconds.
 * @throws the database's error.
 */
export async function openPostgres(url: string, limitMs: number): Promise<SqlConnection> {
  const pool = createPool(url, limitMs);
  try {
    await createTables(pool, SCHEMA_FACTOR * limitMs);
  } catch (error) {
    await closePool(pool);
    throw error;
  }
  const read = (limit: number) => (statement: Statement) =>
    inTransaction(pool, limit, async (ask) => (await ask(statement)).rows as readonly SqlRow[]);
  return {
    kind: 'postgres',
    query: read(LONG * limitMs),
    lookup: read(limitMs),
    transaction: (statements, { long = false } = {}) =>
      inTransaction(pool, long ? LONG * limitMs : limitMs, async (ask) => {
        const changes: number[] = [];
        for (const statement of statements) changes.push((await ask(statement)).rowCount ?? 0);
        return changes;
      }),
    close: () => closePool(pool),
  };
}
