import type { Outcome, OutcomeStatus } from '../records.ts';
import type { SqlConnection, SqlValue, Statement } from './sql.ts';

/** Values in one lookup: a fixed number, so that the database prepares the statement once. */
const LOOKUP_SIZE = 64;

async function* inGroups(values: readonly string[]): AsyncGenerator<readonly SqlValue[]> {
  for (let i = 0; i < values.length; i += LOOKUP_SIZE) {
    const group: SqlValue[] = values.slice(i, i + LOOKUP_SIZE);
    yield values.length === 1 ? group : [...group, ...new Array<SqlValue>(LOOKUP_SIZE - group.length).fill(null)];
  }
}

const marks = (count: number) => new Array(count).fill('?').join(', ');

const known = <T>(values: readonly (T | undefined)[]): T[] =>
  [...new Set(values)].filter((v): v is T => v !== undefined);

/** Looks up the unit of each request id. */
async function unitsOfRequests(db: SqlConnection, outcomes: readonly Outcome[]): Promise<Map<string, string>> {
  const units = new Map<string, string>();
  for await (const ids of inGroups(known(outcomes.map((o) => o.requestId))))
    for (const row of await db.lookup({
      sql: `SELECT request_id, MIN(unit) AS unit FROM winnow_exposures WHERE request_id IN (${marks(ids.length)}) GROUP BY request_id`,
      values: ids,
    }))
      units.set(String(row.request_id), String(row.unit));
  return units;
}

/** Looks up which units of outcomes without a request were exposed. */
async function exposedUnits(db: SqlConnection, outcomes: readonly Outcome[]): Promise<Set<string>> {
  const units = new Set<string>();
  const named = outcomes.filter((o) => o.requestId === undefined).map((o) => o.unit);
  for await (const group of inGroups(known(named)))
    for (const row of await db.lookup({
      sql: `SELECT DISTINCT unit FROM winnow_exposures WHERE unit IN (${marks(group.length)})`,
      values: group,
    }))
      units.add(String(row.unit));
  return units;
}

const insert = (o: Outcome, unit: string): Statement => ({
  sql: 'INSERT INTO winnow_outcomes (key, at, metric, value, request_id, unit, item) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING',
  values: [o.key, o.at, o.metric, o.value, o.requestId ?? null, unit, o.item ?? null],
});

/** Stores outcomes whose request or unit was exposed, in one transaction. @returns the status of each outcome. */
export async function insertOutcomes(
  db: SqlConnection,
  outcomes: readonly Outcome[],
): Promise<readonly OutcomeStatus[]> {
  const byRequest = await unitsOfRequests(db, outcomes);
  const exposed = await exposedUnits(db, outcomes);
  const units = outcomes.map((o) =>
    o.requestId !== undefined ? byRequest.get(o.requestId) : exposed.has(o.unit ?? '') ? o.unit : undefined,
  );
  const found = outcomes.flatMap((o, i) => (units[i] === undefined ? [] : [insert(o, units[i])]));
  const changes = found.length > 0 ? await db.transaction(found) : [];
  let at = 0;
  return units.map((unit) => (unit === undefined ? 'unknown' : changes[at++] === 1 ? 'stored' : 'duplicate'));
}
