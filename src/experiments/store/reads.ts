import { parseJson } from '../../util/parse-json.ts';
import type {
  ArmContent,
  ArmTraffic,
  ClickedExposure,
  ExposedItem,
  ShadowFigure,
  UnitRow,
  UnitSlice,
} from '../records.ts';
import type { SqlConnection, SqlRow, SqlValue, Statement } from './sql.ts';

/* Reads of the analysis. They are paged, so that memory does not grow with the number of units. */

const PAGE = 5000;
export const FOREVER = Number.MAX_SAFE_INTEGER;
/** Before every exposure. */
export const ALWAYS = Number.MIN_SAFE_INTEGER;

/** Adds rows (unit, metric, total) to sums by unit and metric. */
function addSums(into: Map<string, Record<string, number>>, rows: readonly SqlRow[]): void {
  for (const row of rows) {
    const sums = into.get(String(row.unit)) ?? {};
    sums[String(row.metric)] = (sums[String(row.metric)] ?? 0) + Number(row.total);
    into.set(String(row.unit), sums);
  }
}

interface Page {
  readonly experiment: string;
  readonly after: string;
  readonly last: string;
  readonly since: number;
  readonly until: number;
  readonly beforeMs: number;
  /** Reads these units only. */
  readonly among: readonly SqlValue[];
}

/** Exposures are read from `since` to `until`, both included, in milliseconds since 1970. */
interface TimeRange {
  readonly since: number;
  readonly until: number;
}

interface SliceRange extends TimeRange {
  /** Not included. */
  readonly after: number;
}

/** Units in one statement: a fixed number, so that the database prepares it once. */
const GROUP = 256;

/** Returns the condition that a unit is one of a group. */
const isAmong = (column: string, { among }: Pick<Page, 'among'>): string =>
  among.length === 0 ? '' : `AND ${column} IN (${among.map(() => '?').join(', ')})`;

const first = (p: Pick<Page, 'among'>): string =>
  `SELECT unit, MIN(at) AS first_at, COUNT(*) AS n, MIN(arm) AS arm, MAX(arm) AS other FROM winnow_exposures
    WHERE experiment = ? AND forced = 0 AND at >= ? AND at <= ? AND unit > ? ${isAmong('unit', p)}`;

/** Sums outcomes that name a request of the experiment, and outcomes that name only the unit from its first exposure on. */
function sumStatements(p: Page): readonly Statement[] {
  return [
    {
      sql: `SELECT e.unit AS unit, o.metric AS metric, SUM(o.value) AS total FROM winnow_exposures e JOIN winnow_outcomes o ON o.request_id = e.request_id
        WHERE e.experiment = ? AND e.forced = 0 AND e.at >= ? AND e.at <= ? AND e.unit > ? AND e.unit <= ? AND o.at <= ? ${isAmong('e.unit', p)}
        GROUP BY e.unit, o.metric`,
      values: [p.experiment, p.since, p.until, p.after, p.last, p.until, ...p.among],
    },
    {
      sql: `SELECT f.unit AS unit, o.metric AS metric, SUM(o.value) AS total FROM (${first(p)} AND unit <= ? GROUP BY unit) f
        JOIN winnow_outcomes o ON o.unit = f.unit WHERE o.request_id IS NULL AND o.at >= f.first_at AND o.at <= ? GROUP BY f.unit, o.metric`,
      values: [p.experiment, p.since, p.until, p.after, ...p.among, p.last, p.until],
    },
  ];
}

/**
 * Sums outcomes from before a unit's first exposure, at whatever time that was. One that names a request counts only where that request was exposed before, in another
 * experiment: outcomes of the experiment's own requests never do, whatever their time.
 */
function beforeStatement(p: Page): Statement {
  return {
    sql: `SELECT f.unit AS unit, o.metric AS metric, SUM(o.value) AS total FROM (${first(p)} AND unit <= ? GROUP BY unit) f
      JOIN winnow_outcomes o ON o.unit = f.unit WHERE o.at < f.first_at AND o.at >= f.first_at - ?
        AND (o.request_id IS NULL OR (EXISTS (SELECT 1 FROM winnow_exposures x WHERE x.request_id = o.request_id AND x.at < f.first_at)
          AND NOT EXISTS (SELECT 1 FROM winnow_exposures y WHERE y.request_id = o.request_id AND y.experiment = ?)))
      GROUP BY f.unit, o.metric`,
    values: [p.experiment, ALWAYS, p.until, p.after, ...p.among, p.last, p.beforeMs, p.experiment],
  };
}

/** Reads one row for each unit. @param among reads these units only. */
export async function* readUnits(
  db: SqlConnection,
  experiment: string,
  range: Pick<Page, 'since' | 'until' | 'beforeMs'>,
  among?: readonly string[],
): AsyncGenerator<UnitRow> {
  if (!among) return yield* readPages(db, experiment, range, []);
  for (let i = 0; i < among.length; i += GROUP) {
    const group: SqlValue[] = among.slice(i, i + GROUP);
    yield* readPages(db, experiment, range, [...group, ...new Array<null>(GROUP - group.length).fill(null)]);
  }
}

/** Reads one row for each unit, ordered by unit. */
async function* readPages(
  db: SqlConnection,
  experiment: string,
  { since, until, beforeMs }: Pick<Page, 'since' | 'until' | 'beforeMs'>,
  among: readonly SqlValue[],
): AsyncGenerator<UnitRow> {
  for (let after = ''; ; ) {
    const units = await db.query({
      sql: `SELECT f.unit AS unit, f.first_at AS first_at, f.n AS n, f.arm AS arm, f.other AS other, (SELECT MIN(e.config_hash)
          FROM winnow_exposures e WHERE e.experiment = ? AND e.unit = f.unit AND e.at = f.first_at AND e.forced = 0) AS config_hash,
          (SELECT MIN(e.arm) FROM winnow_exposures e WHERE e.experiment = ? AND e.unit = f.unit AND e.at = f.first_at AND e.forced = 0) AS first_arm
        FROM (${first({ among })} GROUP BY unit ORDER BY unit LIMIT ${PAGE}) f ORDER BY f.unit`,
      values: [experiment, experiment, experiment, since, until, after, ...among],
    });
    if (units.length === 0) return;
    const page: Page = { experiment, after, last: String(units.at(-1)!.unit), since, until, beforeMs, among };
    const sums = new Map<string, Record<string, number>>();
    const before = new Map<string, Record<string, number>>();
    for (const statement of sumStatements(page)) addSums(sums, await db.query(statement));
    addSums(before, await db.query(beforeStatement(page)));
    for (const row of units) {
      const unit = String(row.unit);
      yield {
        unit,
        arm: String(row.arm),
        firstArm: String(row.first_arm),
        firstAt: Number(row.first_at),
        configHash: String(row.config_hash),
        exposures: Number(row.n),
        sums: sums.get(unit) ?? {},
        before: before.get(unit) ?? {},
        crossed: row.arm !== row.other,
      };
    }
    if (units.length < PAGE) return;
    after = page.last;
  }
}

/** Reads interleaved exposures with outcomes of a metric. */
export async function* readClicks(
  db: SqlConnection,
  experiment: string,
  metric: string,
  { since, until }: TimeRange,
): AsyncGenerator<ClickedExposure> {
  for (let after = ''; ; ) {
    const rows = await db.query({
      sql: `SELECT e.request_id AS request_id, e.unit AS unit, e.at AS at, e.items AS items FROM winnow_exposures e WHERE e.experiment = ? AND e.forced = 0
        AND e.mode = 'interleave' AND e.fallback IS NULL AND e.at >= ? AND e.at <= ? AND e.request_id > ?
        AND EXISTS (SELECT 1 FROM winnow_outcomes o WHERE o.request_id = e.request_id AND o.metric = ? AND o.item IS NOT NULL)
        ORDER BY e.request_id LIMIT ${PAGE}`,
      values: [experiment, since, until, after, metric],
    });
    if (rows.length === 0) return;
    const last = String(rows.at(-1)!.request_id);
    const outcomes = await db.query({
      sql: `SELECT o.request_id AS request_id, o.item AS item, SUM(o.value) AS total FROM winnow_outcomes o JOIN winnow_exposures e ON e.request_id = o.request_id
        WHERE e.experiment = ? AND o.metric = ? AND o.item IS NOT NULL AND o.at <= ? AND e.request_id > ? AND e.request_id <= ? GROUP BY o.request_id, o.item`,
      values: [experiment, metric, until, after, last],
    });
    const clicks = Map.groupBy(outcomes, (row) => String(row.request_id));
    for (const row of rows)
      yield {
        requestId: String(row.request_id),
        unit: String(row.unit),
        at: Number(row.at),
        items: parseJson(String(row.items)) as readonly ExposedItem[],
        clicks: new Map((clicks.get(String(row.request_id)) ?? []).map((o) => [Number(o.item), Number(o.total)])),
      };
    after = last;
  }
}

/** Reads requests, failures and latencies of each arm. */
export async function readTraffic(
  db: SqlConnection,
  experiment: string,
  { since, until }: TimeRange,
): Promise<readonly ArmTraffic[]> {
  // Nearest-rank percentiles by a window function, which both databases know. Latencies are those of the arm's own answers.
  const rows = await db.query({
    sql: `SELECT arm, COUNT(*) AS requests, SUM(failed) AS failed, SUM(CASE WHEN fallback IS NULL THEN 0 ELSE 1 END) AS fallbacks,
        SUM(CASE WHEN unit_kind = 'query' THEN 1 ELSE 0 END) AS by_query,
        MIN(at) AS first_at, MAX(at) AS last_at,
        MIN(CASE WHEN place >= 0.5 * n THEN latency_ms END) AS p50, MIN(CASE WHEN place >= 0.95 * n THEN latency_ms END) AS p95
      FROM (SELECT arm, failed, fallback, unit_kind, at, CASE WHEN answered = 1 THEN latency_ms END AS latency_ms,
          ROW_NUMBER() OVER (PARTITION BY arm, answered ORDER BY latency_ms) AS place, COUNT(*) OVER (PARTITION BY arm, answered) AS n
        FROM (SELECT arm, failed, fallback, unit_kind, at, latency_ms, CASE WHEN failed = 0 AND fallback IS NULL THEN 1 ELSE 0 END AS answered
          FROM winnow_exposures WHERE experiment = ? AND forced = 0 AND at >= ? AND at <= ?) seen) ranked GROUP BY arm ORDER BY arm`,
    values: [experiment, since, until],
  });
  return rows.map((r) => ({
    arm: String(r.arm),
    requests: Number(r.requests),
    failed: Number(r.failed),
    fallbacks: Number(r.fallbacks),
    byQuery: Number(r.by_query),
    firstAt: Number(r.first_at),
    lastAt: Number(r.last_at),
    ...(r.p50 === null || r.p95 === null ? {} : { p50Ms: Number(r.p50), p95Ms: Number(r.p95) }),
  }));
}

/** Orders contents by their first exposure; the rest makes the order complete. */
export function inContentOrder(a: ArmContent, b: ArmContent): number {
  const nameOf = (one: ArmContent) => JSON.stringify([one.arm, one.models, one.configHash, one.mode]);
  return a.firstAt - b.firstAt || (nameOf(a) < nameOf(b) ? -1 : 1);
}

/** Reads which versions answered for each arm, under which definitions, and when. */
export async function readContents(
  db: SqlConnection,
  experiment: string,
  until: number,
): Promise<readonly ArmContent[]> {
  const rows = await db.query({
    sql: `SELECT arm, mode, config_hash, models, COUNT(*) AS requests, MIN(at) AS first_at, MAX(at) AS last_at FROM winnow_exposures
      WHERE experiment = ? AND forced = 0 AND at <= ? GROUP BY arm, mode, config_hash, models`,
    values: [experiment, until],
  });
  const contents = rows.map((row) => ({
    arm: String(row.arm),
    mode: String(row.mode),
    configHash: String(row.config_hash),
    models: parseJson(String(row.models)) as Readonly<Record<string, string>>,
    requests: Number(row.requests),
    firstAt: Number(row.first_at),
    lastAt: Number(row.last_at),
  }));
  return contents.sort(inContentOrder);
}

/** Reads the mean of each shadow figure, by arm. */
export async function readShadow(
  db: SqlConnection,
  experiment: string,
  { since, until }: TimeRange,
): Promise<Record<string, Record<string, ShadowFigure>>> {
  const rows = await db.query({
    sql: `SELECT arm, figure, AVG(value) AS mean, COUNT(*) AS n FROM winnow_shadow WHERE experiment = ? AND at >= ? AND at <= ?
      GROUP BY arm, figure ORDER BY arm, figure`,
    values: [experiment, since, until],
  });
  const byArm: Record<string, Record<string, ShadowFigure>> = {};
  for (const row of rows) {
    const figures = byArm[String(row.arm)] ?? {};
    figures[String(row.figure)] = { mean: Number(row.mean), requests: Number(row.n) };
    byArm[String(row.arm)] = figures;
  }
  return byArm;
}

/**
 * Sums exposures and outcomes of a time range, by unit. The experiment is compared as an expression, and the first exposure looked up for each
 * outcome, so that a database begins with the rows of the range: those of all slices together are then read once.
 */
function sliceStatements(experiment: string, { since, after, until }: SliceRange): readonly Statement[] {
  return [
    {
      sql: `SELECT unit, NULL AS metric, COUNT(*) AS total FROM winnow_exposures WHERE experiment || '' = ? AND forced = 0 AND at >= ? AND at > ? AND at <= ?
        GROUP BY unit`,
      values: [experiment, since, after, until],
    },
    {
      sql: `SELECT e.unit AS unit, o.metric AS metric, SUM(o.value) AS total FROM winnow_outcomes o JOIN winnow_exposures e ON e.request_id = o.request_id
        WHERE e.experiment || '' = ? AND e.forced = 0 AND e.at + 0 >= ? AND o.at > ? AND o.at <= ? GROUP BY e.unit, o.metric`,
      values: [experiment, since, after, until],
    },
    {
      sql: `SELECT o.unit AS unit, o.metric AS metric, SUM(o.value) AS total FROM winnow_outcomes o
        WHERE o.request_id IS NULL AND o.at > ? AND o.at <= ? AND o.at >=
          (SELECT MIN(e.at) FROM winnow_exposures e WHERE e.experiment = ? AND e.unit = o.unit AND e.forced = 0 AND e.at >= ?)
        GROUP BY o.unit, o.metric`,
      values: [after, until, experiment, since],
    },
  ];
}

/** Reads what units did in a time range. */
export async function* readSlice(db: SqlConnection, experiment: string, range: SliceRange): AsyncGenerator<UnitSlice> {
  const exposures = new Map<string, number>();
  const sums = new Map<string, Record<string, number>>();
  for (const statement of sliceStatements(experiment, range)) {
    const rows = await db.query(statement);
    for (const row of rows) if (row.metric === null) exposures.set(String(row.unit), Number(row.total));
    const recorded = rows.filter((row) => row.metric !== null);
    addSums(sums, recorded);
  }
  for (const unit of new Set([...exposures.keys(), ...sums.keys()]))
    yield { unit, exposures: exposures.get(unit) ?? 0, sums: sums.get(unit) ?? {} };
}
