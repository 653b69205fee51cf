import pg from 'pg';
import { SCHEMA, type SqlConnection, type SqlRow, type Statement } from './sql.ts';

/** Numbers the parameters: `?` → `$1`, `$2`…. No statement here has a question mark in a literal. */
function numbered(sql: string): string {
  let n = 0;
  return sql.replaceAll('?', () => `$${++n}`);
}

const bound = (statement: Statement) => ({ text: numbered(statement.sql), values: [...statement.values] });

// Two servers that start together must not create the tables at the same time: PostgreSQL's IF NOT EXISTS races on its catalog.
const SCHEMA_LOCK = 7_265_831;

async function createTables(pool: pg.Pool): Promise<void> {
  const client = await pool.connect();
  try {
    await client.query('BEGIN');
    await client.query('SELECT pg_advisory_xact_lock($1)', [SCHEMA_LOCK]);
    for (const statement of SCHEMA) await client.query(statement);
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK');
    throw error;
  } finally {
    client.release();
  }
}

/** Connects to a server by `postgres://` URL and creates missing tables. @throws the database's error. */
export async function openPostgres(url: string): Promise<SqlConnection> {
  const pool = new pg.Pool({ connectionString: url, max: 4, connectionTimeoutMillis: 10_000 });
  // Without a listener an idle connection that breaks would end the process; the next query reports it.
  pool.on('error', () => {});
  try {
    await createTables(pool);
  } catch (error) {
    await pool.end();
    throw error;
  }
  const read = async (statement: Statement) => (await pool.query(bound(statement))).rows as readonly SqlRow[];
  return {
    kind: 'postgres',
    query: read,
    lookup: read,
    async transaction(statements) {
      const client = await pool.connect();
      try {
        await client.query('BEGIN');
        const changes: number[] = [];
        for (const statement of statements) changes.push((await client.query(bound(statement))).rowCount ?? 0);
        await client.query('COMMIT');
        return changes;
      } catch (error) {
        await client.query('ROLLBACK');
        throw error;
      } finally {
        client.release();
      }
    },
    close: () => pool.end(),
  };
}
