/** A value that both databases bind and return alike. Times are doubles: PostgreSQL's driver returns 64-bit integers as text. */
export type SqlValue = string | number | null;
export type SqlRow = Readonly<Record<string, SqlValue>>;

export interface Statement {
  /** `?` marks a parameter, in both databases. */
  readonly sql: string;
  readonly values: readonly SqlValue[];
}

interface TransactionOptions {
  /** It may change many rows, and take as long as a long read. */
  readonly long?: boolean;
}

/** What the store needs of a database. */
export interface SqlConnection {
  readonly kind: 'sqlite' | 'postgres';
  /** Runs a long read; it never delays `lookup` and `transaction`. */
  query(statement: Statement): Promise<readonly SqlRow[]>;
  /** Runs a short read on the connection of the writes: it sees every transaction that has returned. */
  lookup(statement: Statement): Promise<readonly SqlRow[]>;
  /** Runs all statements or none; they are on disk when it returns. @returns the number of rows that each statement changed. */
  transaction(statements: readonly Statement[], options?: TransactionOptions): Promise<readonly number[]>;
  close(): Promise<void>;
}

/** The tables, in the dialect both databases share; executed at every start. */
export const SCHEMA: readonly string[] = [
  `CREATE TABLE IF NOT EXISTS winnow_exposures (
    request_id TEXT NOT NULL, experiment TEXT NOT NULL, at DOUBLE PRECISION NOT NULL, config_hash TEXT NOT NULL, mode TEXT NOT NULL,
    unit_kind TEXT NOT NULL, unit TEXT NOT NULL, hash_version INTEGER NOT NULL, arm TEXT NOT NULL, models TEXT NOT NULL,
    forced INTEGER NOT NULL, fallback TEXT, failed INTEGER NOT NULL, latency_ms DOUBLE PRECISION NOT NULL, truncated INTEGER NOT NULL,
    items TEXT NOT NULL, passages INTEGER, query_truncated INTEGER NOT NULL DEFAULT 0, kept_passages INTEGER,
    PRIMARY KEY (request_id, experiment))`,
  'CREATE INDEX IF NOT EXISTS winnow_exposures_unit ON winnow_exposures (experiment, unit, at)',
  'CREATE INDEX IF NOT EXISTS winnow_exposures_any ON winnow_exposures (unit)',
  'CREATE INDEX IF NOT EXISTS winnow_exposures_at ON winnow_exposures (at)',
  `CREATE TABLE IF NOT EXISTS winnow_shadow (
    request_id TEXT NOT NULL, experiment TEXT NOT NULL, arm TEXT NOT NULL, figure TEXT NOT NULL, value DOUBLE PRECISION NOT NULL,
    at DOUBLE PRECISION NOT NULL, PRIMARY KEY (request_id, experiment, arm, figure))`,
  'CREATE INDEX IF NOT EXISTS winnow_shadow_experiment ON winnow_shadow (experiment, arm, figure)',
  `CREATE TABLE IF NOT EXISTS winnow_outcomes (
    key TEXT NOT NULL, at DOUBLE PRECISION NOT NULL, metric TEXT NOT NULL, value DOUBLE PRECISION NOT NULL, request_id TEXT, unit TEXT,
    item INTEGER, PRIMARY KEY (key, metric))`,
  'CREATE INDEX IF NOT EXISTS winnow_outcomes_request ON winnow_outcomes (request_id)',
  'CREATE INDEX IF NOT EXISTS winnow_outcomes_unit ON winnow_outcomes (unit, at)',
  'CREATE INDEX IF NOT EXISTS winnow_outcomes_at ON winnow_outcomes (at)',
  `CREATE TABLE IF NOT EXISTS winnow_audits (
    at DOUBLE PRECISION NOT NULL, who TEXT NOT NULL, experiment TEXT NOT NULL, action TEXT NOT NULL, config_hash TEXT NOT NULL, diff TEXT NOT NULL)`,
  'CREATE INDEX IF NOT EXISTS winnow_audits_experiment ON winnow_audits (experiment, at)',
  `CREATE TABLE IF NOT EXISTS winnow_definitions (
    name TEXT PRIMARY KEY, source TEXT NOT NULL, at DOUBLE PRECISION NOT NULL, who TEXT NOT NULL, config_hash TEXT NOT NULL,
    definition TEXT NOT NULL)`,
  'CREATE TABLE IF NOT EXISTS winnow_secrets (name TEXT PRIMARY KEY, value TEXT NOT NULL)',
];
