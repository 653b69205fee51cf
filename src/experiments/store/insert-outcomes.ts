import type { Outcome, OutcomeStatus } from '../records.ts';
import type { SqlConnection, SqlRow, SqlValue, Statement } from './sql.ts';

/** Values in one lookup: a fixed number, so that the database prepares the statement once. */
const LOOKUP_SIZE = 64;

const marks = (count: number) => new Array(count).fill('?').join(', ');

/** Runs a lookup for groups of values. @param sql makes the statement from the list of parameters. */
async function lookUp(
  db: SqlConnection,
  values: readonly (string | undefined)[],
  sql: (list: string) => string,
): Promise<readonly SqlRow[]> {
  const known = [...new Set(values)].filter((value) => value !== undefined);
  const rows: SqlRow[] = [];
  for (let i = 0; i < known.length; i += LOOKUP_SIZE) {
    const group: SqlValue[] = known.slice(i, i + LOOKUP_SIZE);
    const filled =
      known.length === 1 ? group : [...group, ...new Array<SqlValue>(LOOKUP_SIZE - group.length).fill(null)];
    rows.push(...(await db.lookup({ sql: sql(marks(filled.length)), values: filled })));
  }
  return rows;
}

/** A request that was exposed. */
interface SeenRequest {
  readonly unit: string;
  readonly at: number;
}

/** Looks up the unit and the time of each request id. */
async function seenRequests(db: SqlConnection, outcomes: readonly Outcome[]): Promise<Map<string, SeenRequest>> {
  const rows = await lookUp(
    db,
    outcomes.map((o) => o.requestId),
    (list) =>
      `SELECT request_id, MIN(unit) AS unit, MIN(at) AS at FROM winnow_exposures WHERE request_id IN (${list}) GROUP BY request_id`,
  );
  return new Map(rows.map((row) => [String(row.request_id), { unit: String(row.unit), at: Number(row.at) }]));
}

/** Looks up when units of outcomes without a request were first exposed, in each experiment. */
async function firstExposures(
  db: SqlConnection,
  outcomes: readonly Outcome[],
): Promise<Map<string, readonly number[]>> {
  const rows = await lookUp(
    db,
    outcomes.filter((o) => o.requestId === undefined).map((o) => o.unit),
    (list) =>
      `SELECT unit, experiment, MIN(at) AS at FROM winnow_exposures WHERE unit IN (${list}) GROUP BY unit, experiment`,
  );
  const byUnit = Map.groupBy(rows, (row) => String(row.unit));
  return new Map([...byUnit].map(([unit, seen]) => [unit, seen.map((row) => Number(row.at))]));
}

/** An outcome as it is stored: with its unit, and a time that agrees with the order in which things happened here. */
interface Placed {
  readonly outcome: Outcome;
  readonly unit: string;
}

/**
 * Places outcomes in time. One that names a request happened after its answer, whatever the client's clock said. One that names only its
 * unit, and is at most `behindMs` older than an exposure that came before it here, happened after that exposure.
 */
async function placeOutcomes(
  db: SqlConnection,
  outcomes: readonly Outcome[],
): Promise<readonly (Placed | undefined)[]> {
  const requests = await seenRequests(db, outcomes);
  const units = await firstExposures(db, outcomes);
  return outcomes.map((o) => {
    if (o.requestId !== undefined) {
      const seen = requests.get(o.requestId);
      return seen && { unit: seen.unit, outcome: { ...o, at: Math.max(o.at, seen.at) } };
    }
    const firsts = units.get(o.unit ?? '');
    const { unit, behindMs = 0 } = o;
    if (!firsts || unit === undefined) return undefined;
    return { unit, outcome: { ...o, at: Math.max(o.at, ...firsts.filter((at) => at <= o.at + behindMs)) } };
  });
}

const insert = ({ outcome: o, unit }: Placed): Statement => ({
  sql: 'INSERT INTO winnow_outcomes (key, at, metric, value, request_id, unit, item) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING',
  values: [o.key, o.at, o.metric, o.value, o.requestId ?? null, unit, o.item ?? null],
});

/** Whether an outcome says something else than the stored one of its key and metric; times may differ. */
function differs({ outcome: o, unit }: Placed, row: SqlRow): boolean {
  const { value, request_id: requestId, item } = row;
  if (Number(value) !== o.value || requestId !== (o.requestId ?? null)) return true;
  return (
    (o.requestId === undefined && row.unit !== unit) || (item === null ? o.item !== undefined : Number(item) !== o.item)
  );
}

/** Looks up which of some outcomes, whose key and metric are taken, differ from what is stored. */
async function conflicts(db: SqlConnection, placed: readonly Placed[]): Promise<ReadonlySet<Placed>> {
  const rows = await lookUp(
    db,
    placed.map(({ outcome }) => outcome.key),
    (list) => `SELECT key, metric, value, request_id, unit, item FROM winnow_outcomes WHERE key IN (${list})`,
  );
  const nameOf = (key: unknown, metric: unknown) => JSON.stringify([key, metric]);
  const stored = new Map(rows.map((row) => [nameOf(row.key, row.metric), row]));
  return new Set(
    placed.filter((one) => {
      const row = stored.get(nameOf(one.outcome.key, one.outcome.metric));
      return row !== undefined && differs(one, row);
    }),
  );
}

/** Stores outcomes whose request or unit was exposed, in one transaction. @returns the status of each outcome. */
export async function insertOutcomes(
  db: SqlConnection,
  outcomes: readonly Outcome[],
): Promise<readonly OutcomeStatus[]> {
  const placed = await placeOutcomes(db, outcomes);
  const found = placed.filter((one) => one !== undefined);
  const changes = found.length > 0 ? await db.transaction(found.map(insert)) : [];
  const taken = found.filter((_, i) => changes[i] !== 1);
  const differing = await conflicts(db, taken);
  const repeated = new Set(taken);
  return placed.map((one) => {
    if (one === undefined) return 'unknown';
    if (!repeated.has(one)) return 'stored';
    return differing.has(one) ? 'conflict' : 'duplicate';
  });
}

/** Looks up how many passages each request had. Requests that are not known, or were stored by an older release, are absent. */
export async function passagesOf(
  db: SqlConnection,
  requestIds: readonly string[],
): Promise<ReadonlyMap<string, number>> {
  const rows = await lookUp(
    db,
    requestIds,
    (list) =>
      `SELECT request_id, MAX(passages) AS passages FROM winnow_exposures WHERE request_id IN (${list}) GROUP BY request_id`,
  );
  return new Map(
    rows.flatMap(({ request_id: id, passages }) =>
      passages === null ? [] : [[String(id), Number(passages)] as const],
    ),
  );
}
