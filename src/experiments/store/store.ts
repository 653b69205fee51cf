import { WinnowError } from '../../errors.ts';
import type { AuditEntry, ExperimentStore, Exposure, StoredAssignment, StoredDefinition } from '../records.ts';
import { readChanges } from './changes.ts';
import { insertOutcomes, passagesOf } from './insert-outcomes.ts';
import { ALWAYS, FOREVER, readClicks, readContents, readShadow, readSlice, readTraffic, readUnits } from './reads.ts';
import type { SqlConnection, Statement } from './sql.ts';
import { openSqlite, type SqliteOptions } from './sqlite.ts';
import { unitKey } from './unit-key.ts';

/** How long connecting to a server and one statement may take, in milliseconds, where nothing is set. */
export const DATABASE_TIMEOUT_MS = 5000;

export interface StoreOptions extends SqliteOptions {
  /** How long connecting to a server, and a statement on it, may take, in milliseconds; reads of reports 60 times that. */
  readonly timeoutMs?: number | undefined;
}

function insertExposure(e: Exposure): readonly Statement[] {
  const main: Statement = {
    sql: `INSERT INTO winnow_exposures (request_id, experiment, at, config_hash, mode, unit_kind, unit, hash_version, arm, models, forced,
      fallback, failed, latency_ms, truncated, query_truncated, items, passages, kept_passages)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
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
      e.queryTruncated ?? 0,
      JSON.stringify(e.items),
      e.passages ?? null,
      e.keptPassages ?? null,
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

/** Inserts an entry unless it is the newest of its experiment already. A trip of a guardrail is inserted once for each definition. */
function insertAudit(e: AuditEntry): Statement {
  const newest =
    e.action === 'tripped'
      ? 'b.experiment = a.experiment'
      : "a.at = (SELECT MAX(c.at) FROM winnow_audits c WHERE c.experiment = a.experiment AND c.action <> 'tripped')";
  return {
    sql: `INSERT INTO winnow_audits (at, who, experiment, action, config_hash, diff)
      SELECT b.at, b.who, b.experiment, b.action, b.config_hash, b.diff FROM (SELECT CAST(? AS DOUBLE PRECISION) AS at, CAST(? AS TEXT) AS who,
        CAST(? AS TEXT) AS experiment, CAST(? AS TEXT) AS action, CAST(? AS TEXT) AS config_hash, CAST(? AS TEXT) AS diff) b
      WHERE NOT EXISTS (SELECT 1 FROM winnow_audits a WHERE a.experiment = b.experiment AND a.action = b.action
        AND a.config_hash = b.config_hash AND (b.action <> 'tripped' OR a.diff = b.diff) AND ${newest})`,
    values: [e.at, e.who, e.experiment, e.action, e.configHash, e.diff],
  };
}

async function readAudits(db: SqlConnection, experiment: string | undefined): Promise<readonly AuditEntry[]> {
  const where = experiment === undefined ? '' : 'WHERE experiment = ?';
  const rows = await db.lookup({
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

async function readDefinitions(db: SqlConnection): Promise<readonly StoredDefinition[]> {
  const rows = await db.lookup({ sql: 'SELECT * FROM winnow_definitions ORDER BY name', values: [] });
  return rows.map((r) => ({
    name: String(r.name),
    source: String(r.source) as StoredDefinition['source'],
    at: Number(r.at),
    who: String(r.who),
    configHash: String(r.config_hash),
    definition: String(r.definition),
  }));
}

function putDefinition(d: StoredDefinition): Statement {
  return {
    sql: `INSERT INTO winnow_definitions (name, source, at, who, config_hash, definition) VALUES (?, ?, ?, ?, ?, ?)
      ON CONFLICT (name) DO UPDATE SET source = excluded.source, at = excluded.at, who = excluded.who, config_hash = excluded.config_hash,
      definition = excluded.definition`,
    values: [d.name, d.source, d.at, d.who, d.configHash, d.definition],
  };
}

async function readAssignments(
  db: SqlConnection,
  experiment: string,
  unit: string,
): Promise<readonly StoredAssignment[]> {
  const rows = await db.lookup({
    sql: `SELECT arm, config_hash FROM winnow_exposures WHERE experiment = ? AND unit = ? AND forced = 0 AND mode = 'split'
      GROUP BY arm, config_hash ORDER BY MIN(at)`,
    values: [experiment, unit],
  });
  return rows.map((row) => ({ arm: String(row.arm), configHash: String(row.config_hash) }));
}

const DAY_MS = 86_400_000;

/** Returns the end of the day that begins with a table's oldest row, or `beforeAt` where that is earlier. */
async function dayOf(db: SqlConnection, table: string, beforeAt: number): Promise<number> {
  const [row] = await db.lookup({ sql: `SELECT MIN(at) AS oldest FROM ${table}`, values: [] });
  const oldest = row?.oldest ?? undefined;
  return oldest === undefined ? beforeAt : Math.min(beforeAt, Number(oldest) + DAY_MS);
}

async function prune(db: SqlConnection, beforeAt: number): Promise<number> {
  const exposures = await dayOf(db, 'winnow_exposures', beforeAt);
  const outcomes = await dayOf(db, 'winnow_outcomes', beforeAt);
  const remove = (table: string, until: number) => ({ sql: `DELETE FROM ${table} WHERE at < ?`, values: [until] });
  const changes = await db.transaction(
    [remove('winnow_exposures', exposures), remove('winnow_shadow', exposures), remove('winnow_outcomes', outcomes)],
    { long: true },
  );
  return changes[0]! + changes[2]!;
}

/** Creates the store on a database that understands the shared SQL dialect. */
function createSqlStore(db: SqlConnection, target: string): ExperimentStore {
  return {
    kind: db.kind,
    async addExposures(exposures) {
      if (exposures.length > 0) await db.transaction(exposures.flatMap(insertExposure));
    },
    addOutcomes: (outcomes) => insertOutcomes(db, outcomes),
    passages: (requestIds) => passagesOf(db, requestIds),
    units: (experiment, { since = ALWAYS, until = FOREVER, beforeMs, among }) =>
      readUnits(db, experiment, { since, until, beforeMs }, among),
    changes: (experiment, since, visit) => readChanges(db, experiment, since, visit),
    slice: (experiment, { since = ALWAYS, after, until }) => readSlice(db, experiment, { since, after, until }),
    clicks: (experiment, metric, until = FOREVER, since = ALWAYS) =>
      readClicks(db, experiment, metric, { since, until }),
    shadow: (experiment, until = FOREVER, since = ALWAYS) => readShadow(db, experiment, { since, until }),
    traffic: (experiment, until = FOREVER, since = ALWAYS) => readTraffic(db, experiment, { since, until }),
    assignments: (experiment, unit) => readAssignments(db, experiment, unit),
    contents: (experiment, until = FOREVER) => readContents(db, experiment, until),
    audit: async (entry) => void (await db.transaction([insertAudit(entry)])),
    audits: (experiment) => readAudits(db, experiment),
    definitions: () => readDefinitions(db),
    putDefinition: async (d, entry) => void (await db.transaction([putDefinition(d), insertAudit(entry)])),
    async removeDefinition(name, entry) {
      const remove = { sql: 'DELETE FROM winnow_definitions WHERE name = ?', values: [name] };
      await db.transaction([remove, insertAudit(entry)]);
    },
    secret: () => unitKey(db, target),
    prune: (beforeAt) => prune(db, beforeAt),
    close: () => db.close(),
  };
}

/** Whether a setting names a PostgreSQL server. */
export const isPostgres = (target: string): boolean => /^postgres(ql)?:\/\//.test(target);

/** Schemes of other databases and programs, which would otherwise name a folder. */
const SCHEME = /^(?:[a-z][a-z0-9+.-]*:\/\/|(?:postgres|postgresql|sqlite|sqlite3|file):)/i;

/**
 * Checks what a setting names as database. Nothing is opened.
 * @throws WinnowError `invalid_input` for what is neither a path nor a well-formed URL of PostgreSQL. Its message does not quote the text.
 */
export async function checkTarget(target: string): Promise<void> {
  const refuse = (expected: string, got: string): never => {
    throw new WinnowError('invalid_input', { where: 'experiments.database', expected, got });
  };
  if (!isPostgres(target)) {
    const [scheme] = SCHEME.exec(target) ?? [];
    if (scheme !== undefined) refuse('the path of a SQLite file, or a URL that begins with postgres://', `${scheme}…`);
    return;
  }
  const { default: pg } = await import('pg');
  try {
    // It reads the URL and the certificates that the URL names, and connects later.
    new pg.Client({ connectionString: target });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const got = code === 'ERR_INVALID_URL' ? 'a malformed one' : message.replaceAll(target, '…');
    refuse('a URL such as postgres://user@host:5432/database', got);
  }
}

/** Opens the store that a setting names: `postgres://…` is a server, anything else a SQLite file. @throws the database's error. */
export async function openStore(target: string, options: StoreOptions = {}): Promise<ExperimentStore> {
  await checkTarget(target);
  if (!isPostgres(target)) return createSqlStore(await openSqlite(target, options), target);
  // Loaded only where it is used: servers without PostgreSQL start sooner.
  const { openPostgres } = await import('./postgres.ts');
  return createSqlStore(await openPostgres(target, options.timeoutMs ?? DATABASE_TIMEOUT_MS), target);
}
