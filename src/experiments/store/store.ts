import { randomBytes } from 'node:crypto';
import { openPostgres } from './postgres.ts';
import type { SqlConnection, SqlRow, SqlValue, Statement } from './sql.ts';
import { openSqlite } from './sqlite.ts';
import type {
  ArmTraffic,
  AuditEntry,
  ClickedExposure,
  ExperimentStore,
  ExposedItem,
  Exposure,
  Outcome,
  UnitRow,
} from './types.ts';

const PAGE = 5000;
const FOREVER = Number.MAX_SAFE_INTEGER;

function insertExposure(e: Exposure): readonly Statement[] {
  const main: Statement = {
    sql: `INSERT INTO winnow_exposures (request_id, experiment, at, config_hash, mode, unit_kind, unit, hash_version, arm, models, forced,
      fallback, failed, latency_ms, truncated, items) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
    values: [
      e.requestId,
      e.experiment,
      e.at,
      e.configHash,
      e.mode,
      e.unitKind,
      e.unit,
      e.hashVersion,
      e.arm,
      JSON.stringify(e.models),
      e.forced ? 1 : 0,
      e.fallback ?? null,
      e.failed ? 1 : 0,
      e.latencyMs,
      e.truncated,
      JSON.stringify(e.items),
    ],
  };
  const figures = Object.entries(e.shadow ?? {}).flatMap(([arm, values]) =>
    Object.entries(values).map(([figure, value]) => ({
      sql: 'INSERT INTO winnow_shadow (request_id, experiment, arm, figure, value, at) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING',
      values: [e.requestId, e.experiment, arm, figure, value, e.at],
    })),
  );
  return [main, ...figures];
}

/** unit → metric → sum, from rows (unit, metric, total). */
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
  readonly until: number;
  readonly beforeMs: number;
}

const FIRST = `SELECT unit, MIN(at) AS first_at, COUNT(*) AS n, MIN(arm) AS arm, MAX(arm) AS other FROM winnow_exposures
  WHERE experiment = ? AND forced = 0 AND at <= ? AND unit > ?`;

/** Outcomes that name a request of the experiment, and outcomes of the unit alone from its first exposure on. */
function sumStatements(p: Page): readonly Statement[] {
  return [
    {
      sql: `SELECT e.unit AS unit, o.metric AS metric, SUM(o.value) AS total FROM winnow_exposures e JOIN winnow_outcomes o ON o.request_id = e.request_id
        WHERE e.experiment = ? AND e.forced = 0 AND e.at <= ? AND e.unit > ? AND e.unit <= ? AND o.at <= ? GROUP BY e.unit, o.metric`,
      values: [p.experiment, p.until, p.after, p.last, p.until],
    },
    {
      sql: `SELECT f.unit AS unit, o.metric AS metric, SUM(o.value) AS total FROM (${FIRST} AND unit <= ? GROUP BY unit) f
        JOIN winnow_outcomes o ON o.unit = f.unit WHERE o.request_id IS NULL AND o.at >= f.first_at AND o.at <= ? GROUP BY f.unit, o.metric`,
      values: [p.experiment, p.until, p.after, p.last, p.until],
    },
  ];
}

function beforeStatement(p: Page): Statement {
  return {
    sql: `SELECT f.unit AS unit, o.metric AS metric, SUM(o.value) AS total FROM (${FIRST} AND unit <= ? GROUP BY unit) f
      JOIN winnow_outcomes o ON o.unit = f.unit WHERE o.at < f.first_at AND o.at >= f.first_at - ? GROUP BY f.unit, o.metric`,
    values: [p.experiment, p.until, p.after, p.last, p.beforeMs],
  };
}

async function* readUnits(
  db: SqlConnection,
  experiment: string,
  until: number,
  beforeMs: number,
): AsyncGenerator<UnitRow> {
  for (let after = ''; ; ) {
    const units = await db.query({
      sql: `${FIRST} GROUP BY unit ORDER BY unit LIMIT ${PAGE}`,
      values: [experiment, until, after],
    });
    if (units.length === 0) return;
    const page: Page = { experiment, after, last: String(units.at(-1)!.unit), until, beforeMs };
    const sums = new Map<string, Record<string, number>>();
    const before = new Map<string, Record<string, number>>();
    for (const statement of sumStatements(page)) addSums(sums, await db.query(statement));
    addSums(before, await db.query(beforeStatement(page)));
    for (const row of units) {
      const unit = String(row.unit);
      yield {
        unit,
        arm: String(row.arm),
        firstAt: Number(row.first_at),
        exposures: Number(row.n),
        sums: sums.get(unit) ?? {},
        before: before.get(unit) ?? {},
        crossed: row.arm !== row.other,
      };
    }
    after = page.last;
  }
}

async function* readClicks(
  db: SqlConnection,
  experiment: string,
  metric: string,
  until: number,
): AsyncGenerator<ClickedExposure> {
  for (let after = ''; ; ) {
    const rows = await db.query({
      sql: `SELECT e.request_id AS request_id, e.unit AS unit, e.at AS at, e.items AS items FROM winnow_exposures e WHERE e.experiment = ? AND e.forced = 0
        AND e.mode = 'interleave' AND e.fallback IS NULL AND e.at <= ? AND e.request_id > ?
        AND EXISTS (SELECT 1 FROM winnow_outcomes o WHERE o.request_id = e.request_id AND o.metric = ? AND o.item IS NOT NULL)
        ORDER BY e.request_id LIMIT ${PAGE}`,
      values: [experiment, until, after, metric],
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
        items: JSON.parse(String(row.items)) as readonly ExposedItem[],
        clicks: new Map((clicks.get(String(row.request_id)) ?? []).map((o) => [Number(o.item), Number(o.total)])),
      };
    after = last;
  }
}

async function readTraffic(db: SqlConnection, experiment: string): Promise<readonly ArmTraffic[]> {
  // Nearest-rank percentiles by a window function, which both databases know.
  const rows = await db.query({
    sql: `SELECT arm, COUNT(*) AS requests, SUM(failed) AS failed,
        MIN(CASE WHEN place >= 0.5 * n THEN latency_ms END) AS p50, MIN(CASE WHEN place >= 0.95 * n THEN latency_ms END) AS p95
      FROM (SELECT arm, failed, latency_ms, ROW_NUMBER() OVER (PARTITION BY arm ORDER BY latency_ms) AS place, COUNT(*) OVER (PARTITION BY arm) AS n
        FROM winnow_exposures WHERE experiment = ? AND forced = 0) ranked GROUP BY arm ORDER BY arm`,
    values: [experiment],
  });
  return rows.map((r) => ({
    arm: String(r.arm),
    requests: Number(r.requests),
    failed: Number(r.failed),
    p50Ms: Number(r.p50),
    p95Ms: Number(r.p95),
  }));
}

async function readShadow(db: SqlConnection, experiment: string): Promise<Record<string, Record<string, number>>> {
  const rows = await db.query({
    sql: 'SELECT arm, figure, AVG(value) AS mean FROM winnow_shadow WHERE experiment = ? GROUP BY arm, figure ORDER BY arm, figure',
    values: [experiment],
  });
  const byArm: Record<string, Record<string, number>> = {};
  for (const row of rows) {
    const figures = byArm[String(row.arm)] ?? {};
    figures[String(row.figure)] = Number(row.mean);
    byArm[String(row.arm)] = figures;
  }
  return byArm;
}

/** The unit behind an outcome: its own, or the one its request was exposed to. */
async function unitOf(db: SqlConnection, outcome: Outcome): Promise<string | undefined> {
  const [sql, value]: [string, SqlValue] =
    outcome.requestId !== undefined
      ? ['SELECT unit FROM winnow_exposures WHERE request_id = ? ORDER BY experiment LIMIT 1', outcome.requestId]
      : ['SELECT unit FROM winnow_exposures WHERE unit = ? LIMIT 1', outcome.unit ?? ''];
  const [row] = await db.query({ sql, values: [value] });
  return row ? String(row.unit) : undefined;
}

async function addOutcome(db: SqlConnection, o: Outcome): Promise<'stored' | 'duplicate' | 'unknown'> {
  const unit = await unitOf(db, o);
  if (unit === undefined) return 'unknown';
  const [changed] = await db.transaction([
    {
      sql: 'INSERT INTO winnow_outcomes (key, at, metric, value, request_id, unit, item) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING',
      values: [o.key, o.at, o.metric, o.value, o.requestId ?? null, unit, o.item ?? null],
    },
  ]);
  return changed === 1 ? 'stored' : 'duplicate';
}

async function readSecret(db: SqlConnection): Promise<string> {
  const fresh = randomBytes(32).toString('hex');
  await db.transaction([
    { sql: "INSERT INTO winnow_secrets (name, value) VALUES ('unit', ?) ON CONFLICT DO NOTHING", values: [fresh] },
  ]);
  const [row] = await db.query({ sql: "SELECT value FROM winnow_secrets WHERE name = 'unit'", values: [] });
  return String(row!.value);
}

async function readAudits(db: SqlConnection, experiment: string | undefined): Promise<readonly AuditEntry[]> {
  const where = experiment === undefined ? '' : 'WHERE experiment = ?';
  const rows = await db.query({
    sql: `SELECT * FROM winnow_audits ${where} ORDER BY at`,
    values: experiment === undefined ? [] : [experiment],
  });
  return rows.map((r) => ({
    at: Number(r.at),
    who: String(r.who),
    experiment: String(r.experiment),
    action: String(r.action) as AuditEntry['action'],
    configHash: String(r.config_hash),
    diff: String(r.diff),
  }));
}

/** The store over any database that speaks the shared dialect. */
export function createSqlStore(db: SqlConnection): ExperimentStore {
  return {
    kind: db.kind,
    async addExposures(exposures) {
      if (exposures.length > 0) await db.transaction(exposures.flatMap(insertExposure));
    },
    addOutcome: (outcome) => addOutcome(db, outcome),
    knowsUnit: async (unit) => (await unitOf(db, { key: '', at: 0, metric: '', value: 0, unit })) !== undefined,
    units: (experiment, { until = FOREVER, beforeMs }) => readUnits(db, experiment, until, beforeMs),
    clicks: (experiment, metric, until = FOREVER) => readClicks(db, experiment, metric, until),
    shadow: (experiment) => readShadow(db, experiment),
    traffic: (experiment) => readTraffic(db, experiment),
    async audit(e) {
      await db.transaction([
        {
          sql: 'INSERT INTO winnow_audits (at, who, experiment, action, config_hash, diff) VALUES (?, ?, ?, ?, ?, ?)',
          values: [e.at, e.who, e.experiment, e.action, e.configHash, e.diff],
        },
      ]);
    },
    audits: (experiment) => readAudits(db, experiment),
    secret: () => readSecret(db),
    async prune(beforeAt) {
      const changes = await db.transaction(
        ['winnow_exposures', 'winnow_shadow', 'winnow_outcomes'].map((table) => ({
          sql: `DELETE FROM ${table} WHERE at < ?`,
          values: [beforeAt],
        })),
      );
      return changes[0]! + changes[2]!;
    },
    close: () => db.close(),
  };
}

/** Opens the store a setting names: `postgres://…` a server, anything else a SQLite file. */
export async function openStore(target: string): Promise<ExperimentStore> {
  return createSqlStore(/^postgres(ql)?:\/\//.test(target) ? await openPostgres(target) : await openSqlite(target));
}
