/*
 * Changes of tables that databases of older releases have. Each connection checks first what is missing: a statement that alters a table
 * waits for every reader.
 */

/** What a database says about its tables. */
export interface TableFacts {
  /** Names of the columns of winnow_exposures. */
  readonly exposureColumns: readonly string[];
  /** Columns of the primary key of winnow_outcomes. */
  readonly outcomeKeyColumns: number;
}

/** Columns that winnow_exposures got later. A server of an older release that still runs writes rows without them. */
const ADDED_COLUMNS = { passages: 'INTEGER', query_truncated: 'INTEGER NOT NULL DEFAULT 0', kept_passages: 'INTEGER' };

/** SQLite cannot change a primary key: the table is written anew. Its indexes go with the old one. */
const OUTCOME_KEY_SQLITE = [
  'ALTER TABLE winnow_outcomes RENAME TO winnow_outcomes_by_key',
  `CREATE TABLE winnow_outcomes (
    key TEXT NOT NULL, at DOUBLE PRECISION NOT NULL, metric TEXT NOT NULL, value DOUBLE PRECISION NOT NULL, request_id TEXT, unit TEXT,
    item INTEGER, PRIMARY KEY (key, metric))`,
  'INSERT INTO winnow_outcomes SELECT key, at, metric, value, request_id, unit, item FROM winnow_outcomes_by_key',
  'DROP TABLE winnow_outcomes_by_key',
];

const OUTCOME_KEY_POSTGRES =
  'ALTER TABLE winnow_outcomes DROP CONSTRAINT winnow_outcomes_pkey, ADD PRIMARY KEY (key, metric)';

/**
 * Existing rows get 0, and later ones the number of their transaction, also from servers of an older release.
 */
const ADD_TRANSACTIONS = ['winnow_exposures', 'winnow_outcomes'].flatMap((table) => [
  `ALTER TABLE ${table} ADD COLUMN tx xid8 NOT NULL DEFAULT '0'`,
  `ALTER TABLE ${table} ALTER COLUMN tx SET DEFAULT pg_current_xact_id()`,
]);

/**
 * Statements for PostgreSQL at every start, after the others. A copy of another server's database has transaction numbers that do not exist
 * here yet; they become 0.
 */
export const TRANSACTION_INDEXES = [
  'CREATE INDEX IF NOT EXISTS winnow_exposures_tx ON winnow_exposures (tx, request_id)',
  'CREATE INDEX IF NOT EXISTS winnow_outcomes_tx ON winnow_outcomes (tx, key, metric)',
  ...['winnow_exposures', 'winnow_outcomes'].map(
    (table) => `UPDATE ${table} SET tx = '0' WHERE tx > pg_snapshot_xmax(pg_current_snapshot())`,
  ),
];

/** Returns the statements that bring tables up to date, to be run in one transaction before those of SCHEMA are run again. */
export function migrations(
  kind: 'sqlite' | 'postgres',
  { exposureColumns, outcomeKeyColumns }: TableFacts,
): readonly string[] {
  const outcomeKey = kind === 'sqlite' ? OUTCOME_KEY_SQLITE : [OUTCOME_KEY_POSTGRES];
  const missing = Object.entries(ADDED_COLUMNS).filter(([column]) => !exposureColumns.includes(column));
  const added = missing.map(([column, type]) => `ALTER TABLE winnow_exposures ADD COLUMN ${column} ${type}`);
  const transactions = kind === 'postgres' && !exposureColumns.includes('tx') ? ADD_TRANSACTIONS : [];
  return [...added, ...(outcomeKeyColumns > 1 ? [] : outcomeKey), ...transactions];
}
