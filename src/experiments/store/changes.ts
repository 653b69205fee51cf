import type { Changes, ExposureFact } from '../records.ts';
import type { SqlConnection, SqlRow, SqlValue } from './sql.ts';

/*
 * What was added since a moment. SQLite numbers rows in the order in which they are committed, because it has one writer at a time. PostgreSQL has many:
 * there each row has the number of its transaction, and transactions may end in another order than they began. All with a number below a
 * snapshot's `xmin` have ended, so that the next read begins at that number, and leaves out the rows from there on that were read before.
 */

/** Rows in one read. */
const PAGE = 20_000;

/** Where a read ended. */
interface Cursor {
  /** SQLite: the last row; PostgreSQL: the transaction from which the next read begins. */
  readonly exposures: string;
  readonly outcomes: string;
  /** Times of the oldest rows; they rise when rows are removed. Infinity where there is none. */
  readonly oldest: readonly [exposures: number, outcomes: number];
  /** PostgreSQL: requests that were read though their transaction is not below `exposures`. */
  readonly recent: ReadonlySet<string>;
}

const FACTS = 'unit, arm, at, failed, fallback, unit_kind, latency_ms, request_id, mode, config_hash, models';

const OLDEST = `(SELECT MIN(at) FROM winnow_exposures) AS oldest_exposure, (SELECT MIN(at) FROM winnow_outcomes) AS oldest_outcome`;

const factOf = (row: SqlRow): ExposureFact => ({
  unit: String(row.unit),
  arm: String(row.arm),
  at: Number(row.at),
  failed: Number(row.failed) !== 0,
  fallback: row.fallback !== null,
  byQuery: row.unit_kind === 'query',
  latencyMs: Number(row.latency_ms),
  mode: String(row.mode),
  configHash: String(row.config_hash),
  models: String(row.models),
});

const isCursor = (value: unknown): value is Cursor =>
  typeof value === 'object' && value !== null && 'oldest' in value && 'recent' in value;

/** How one database finds rows after a place. Places are the columns by which the rows are ordered. */
interface Dialect {
  /** Reads the ends of both tables, as `Cursor` has them, and the times of the oldest rows. */
  readonly ends: string;
  /** Rows of exposures after a place. */
  readonly exposures: string;
  /** Units of outcomes after a place; `exposed` is that of its request in this experiment. */
  readonly outcomes: string;
  readonly exposurePlace: readonly string[];
  readonly outcomePlace: readonly string[];
  /** The place before all rows from one end on. */
  start(end: string, columns: number): readonly SqlValue[];
}

const SQLITE: Dialect = {
  ends: `SELECT (SELECT MAX(rowid) FROM winnow_exposures) AS exposures, (SELECT MAX(rowid) FROM winnow_outcomes) AS outcomes, ${OLDEST}`,
  // The unary plus keeps SQLite from the index of experiments, which holds all of their rows.
  exposures: `SELECT rowid AS place, ${FACTS} FROM winnow_exposures WHERE rowid > ? AND +experiment = ? AND +forced = 0 ORDER BY rowid LIMIT ${PAGE}`,
  outcomes: `SELECT o.rowid AS place, o.unit AS unit, e.unit AS exposed FROM winnow_outcomes o LEFT JOIN winnow_exposures e
    ON e.request_id = o.request_id AND e.experiment = ? WHERE o.rowid > ? ORDER BY o.rowid LIMIT ${PAGE}`,
  exposurePlace: ['place'],
  outcomePlace: ['place'],
  start: (end) => [Number(end)],
};

const POSTGRES: Dialect = {
  ends: `SELECT CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS exposures, CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS outcomes,
    ${OLDEST}`,
  exposures: `SELECT CAST(tx AS TEXT) AS place, ${FACTS} FROM winnow_exposures WHERE (tx, request_id) > (CAST(? AS xid8), ?) AND experiment = ?
    AND forced = 0 ORDER BY tx, request_id LIMIT ${PAGE}`,
  outcomes: `SELECT CAST(o.tx AS TEXT) AS place, o.key AS key, o.metric AS metric, o.unit AS unit, e.unit AS exposed FROM winnow_outcomes o
    LEFT JOIN winnow_exposures e ON e.request_id = o.request_id AND e.experiment = ?
    WHERE (o.tx, o.key, o.metric) > (CAST(? AS xid8), ?, ?) ORDER BY o.tx, o.key, o.metric LIMIT ${PAGE}`,
  exposurePlace: ['place', 'request_id'],
  outcomePlace: ['place', 'key', 'metric'],
  start: (end, columns) => [end, ...new Array<string>(columns - 1).fill('')],
};

/** Reads the rows after a place, page by page. */
async function* rowsFrom(
  read: (place: readonly SqlValue[]) => Promise<readonly SqlRow[]>,
  columns: readonly string[],
  start: readonly SqlValue[],
): AsyncGenerator<readonly SqlRow[]> {
  for (let place = start; ; ) {
    const rows = await read(place);
    if (rows.length > 0) yield rows;
    const last = rows.at(-1);
    if (!last || rows.length < PAGE) return;
    place = columns.map((column) => last[column] ?? null);
  }
}

const timeOf = (value: SqlValue | undefined): number => (value == null ? Number.POSITIVE_INFINITY : Number(value));

/**
 * Reads what was added to an experiment since the cursor `since`; all exposures if absent. Rows that are committed while this runs belong to the next read.
 * @param visit gets the exposures, in pages.
 */
export async function readChanges(
  db: SqlConnection,
  experiment: string,
  since: unknown,
  visit: (exposures: readonly ExposureFact[]) => void,
): Promise<Changes> {
  const earlier = isCursor(since) ? since : undefined;
  const dialect = db.kind === 'sqlite' ? SQLITE : POSTGRES;
  const [ends] = await db.query({ sql: dialect.ends, values: [] });
  const oldest = [timeOf(ends?.oldest_exposure), timeOf(ends?.oldest_outcome)] as const;
  const end = { exposures: String(ends?.exposures ?? 0), outcomes: String(ends?.outcomes ?? 0) };
  if (earlier && (oldest[0] > earlier.oldest[0] || oldest[1] > earlier.oldest[1]))
    return { cursor: { ...end, oldest, recent: new Set() }, units: [], isReset: true };
  const from = earlier ?? { exposures: '0', outcomes: '0', recent: new Set<string>() };
  const units = new Set<string>();
  const recent = new Set<string>();
  const isAfter = (row: SqlRow) => (db.kind === 'sqlite' ? Number(row.place) > Number(end.exposures) : false);
  const { exposurePlace, outcomePlace } = dialect;
  const exposures = (place: readonly SqlValue[]) =>
    db.query({ sql: dialect.exposures, values: [...place, experiment] });
  for await (const rows of rowsFrom(exposures, exposurePlace, dialect.start(from.exposures, exposurePlace.length))) {
    const fresh = rows.filter((row) => !isAfter(row) && !from.recent.has(String(row.request_id)));
    visit(fresh.map(factOf));
    if (earlier) for (const row of fresh) units.add(String(row.unit));
    if (db.kind === 'postgres')
      for (const row of rows)
        if (BigInt(String(row.place)) >= BigInt(end.exposures)) recent.add(String(row.request_id));
  }
  const cursor: Cursor = { ...end, oldest, recent };
  // The row of every unit is new: outcomes need not say which.
  if (!earlier) return { cursor, units: [], isReset: false };
  const outcomes = (place: readonly SqlValue[]) => db.query({ sql: dialect.outcomes, values: [experiment, ...place] });
  for await (const rows of rowsFrom(outcomes, outcomePlace, dialect.start(from.outcomes, outcomePlace.length)))
    for (const row of rows) for (const unit of [row.unit, row.exposed]) if (unit != null) units.add(String(unit));
  return { cursor, units: [...units], isReset: false };
}
