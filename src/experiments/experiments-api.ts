import { WinnowError } from '../errors.ts';
import { within } from '../util/within.ts';
import type { Since } from './analysis/period.ts';
import type { ExperimentReport } from './analysis/report-data.ts';
import type { Series } from './analysis/series.ts';
import { changeEffects } from './assignment/change-effects.ts';
import { type ExperimentStatus, type PreparedExperiment, statusOf } from './assignment/prepared-experiment.ts';
import { unitHash } from './assignment/units.ts';
import { configHash, type Experiment, type Metric, readExperiment, summedBy } from './definitions/definition.ts';
import type { Defined } from './definitions/definition-book.ts';
import type { ExperimentService } from './experiment-service.ts';
import { armKey } from './recording/guardrails.ts';
import { CLOCK_SKEW_MS, outcomeOf, type SentOutcome } from './recording/outcomes.ts';
import type { AuditEntry, ExperimentStore, Outcome, OutcomeStatus } from './records.ts';
import { timedOut, unavailable } from './store/store-keeper.ts';

/** How long an operation on the database may take, and one that reads all of an experiment, in times of one statement. */
const WRITE_FACTOR = 6;
const READ_FACTOR = 60;

/** Bounds an operation that may need many statements. @throws WinnowError `store_unavailable` for errors of the database. */
async function inTime<T>(service: ExperimentService, factor: number, work: Promise<T>): Promise<T> {
  const limitMs = factor * service.databaseTimeoutMs;
  const late = () => timedOut(`the experiment database took longer than ${limitMs} ms`);
  try {
    return await within(limitMs, work, late);
  } catch (error) {
    throw unavailable(error);
  }
}

/** An experiment in the form the API returns. */
export interface ExperimentView {
  readonly name: string;
  readonly mode: Experiment['mode'];
  readonly status: ExperimentStatus;
  /** `file`: changed in experiments.yaml only; `api`: by PUT and DELETE. */
  readonly source: Defined['source'];
  readonly configHash: string;
  /** Arms that guardrails took out. */
  readonly tripped: readonly string[];
  readonly definition: Experiment;
  /** Answer to a change: what it does to units and figures. */
  readonly warnings?: readonly string[];
}

interface OutcomeResult {
  readonly status: OutcomeStatus;
  readonly key: string;
}

/** The operations that HTTP offers on experiments. */
export interface ExperimentsApi {
  list(): readonly ExperimentView[];
  /** @throws WinnowError `unknown_experiment`; so do the calls below that take a name. */
  get(name: string): ExperimentView;
  /** @throws WinnowError `invalid_field`, `invalid_experiments`, `experiment_in_file`, `store_unavailable`. */
  put(
    name: string,
    definition: unknown,
    who: string,
  ): Promise<{ readonly created: boolean; readonly view: ExperimentView }>;
  remove(name: string, who: string): Promise<void>;
  /** @param until milliseconds since 1970; the state at an earlier time. @param since when the figures begin. */
  report(name: string, until?: number, since?: Since): Promise<ExperimentReport>;
  series(name: string, points: number, until?: number, since?: Since): Promise<Series>;
  audits(name: string): Promise<readonly AuditEntry[]>;
  /** Resolves when every known outcome is on disk. */
  addOutcomes(sent: readonly SentOutcome[]): Promise<readonly OutcomeResult[]>;
  readonly retentionDays: number;
}

/** Shares one result among calls with the same key at the same time, because a report reads much of the database. */
class SharedCalls {
  readonly #running = new Map<string, Promise<unknown>>();

  run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const running = (this.#running.get(key) as Promise<T> | undefined) ?? work();
    this.#running.set(key, running);
    const done = () => {
      if (this.#running.get(key) === running) this.#running.delete(key);
    };
    running.then(done, done);
    return running;
  }
}

/** Stores outcomes. Unknown ones are tried once more when all waiting exposures are on disk. */
async function storeOutcomes(
  service: ExperimentService,
  outcomes: readonly Outcome[],
): Promise<readonly OutcomeStatus[]> {
  if (!service.wantsStore()) return outcomes.map(() => 'unknown');
  const { written } = service.log;
  const statuses = [...(await service.outcomes.add(outcomes))];
  const missing = statuses.flatMap((status, i) => (status === 'unknown' ? [i] : []));
  // An exposure that was waiting, or was written meanwhile, may be the one an outcome belongs to.
  const settled = service.log.waiting === 0 && service.log.written === written;
  if (missing.length === 0 || settled) return statuses;
  await service.log.flush();
  const again = await service.outcomes.add(missing.map((i) => outcomes[i]!));
  missing.forEach((i, at) => {
    statuses[i] = again[at]!;
  });
  return statuses;
}

/** @throws WinnowError `invalid_field` for a time later than the clock skew that is allowed. */
function checkTimes(outcomes: readonly Outcome[], now: number): void {
  const late = outcomes.find(({ at }) => at > now + CLOCK_SKEW_MS);
  if (!late) return;
  const got = new Date(Math.min(late.at, 8.64e15)).toISOString();
  throw new WinnowError('invalid_field', { expected: 'a time that is not in the future', got, field: 'at' });
}

/** Says which values a metric takes. */
const boundsOf = ({ min, max }: Pick<Metric, 'min' | 'max'>): string =>
  [...(min === undefined ? [] : [`at least ${min}`]), ...(max === undefined ? [] : [`at most ${max}`])].join(' and ');

const isWithin = (value: number, { min = value, max = value }: Pick<Metric, 'min' | 'max'>): boolean =>
  value >= min && value <= max;

/** @throws WinnowError `invalid_field` for a value outside the bounds that an experiment gives its metric. */
function checkBounds(service: ExperimentService, outcomes: readonly Outcome[]): void {
  const metrics = service.experiments.flatMap(({ definition }) => definition.metrics);
  for (const [i, { metric, value }] of outcomes.entries()) {
    const broken = metrics.find((one) => summedBy(one) === metric && !isWithin(value, one));
    if (!broken) continue;
    const field = outcomes.length === 1 ? 'value' : `[${i}].value`;
    throw new WinnowError('invalid_field', { expected: `${metric} of ${boundsOf(broken)}`, got: String(value), field });
  }
}

/** @throws WinnowError `invalid_field` for an item that its request does not have. Requests that are still to be stored are waited for. */
async function checkItems(service: ExperimentService, outcomes: readonly Outcome[]): Promise<void> {
  const ids = outcomes.flatMap(({ requestId, item }) =>
    requestId === undefined || item === undefined ? [] : [requestId],
  );
  if (ids.length === 0 || !service.wantsStore()) return;
  const store = await service.store();
  let passages = await store.passages(ids);
  if (ids.some((id) => !passages.has(id)) && service.log.waiting > 0) {
    await service.log.flush();
    passages = await store.passages(ids);
  }
  for (const [i, { requestId = '', item = 0 }] of outcomes.entries()) {
    const count = passages.get(requestId);
    if (count === undefined || item < count) continue;
    const expected = `a place below ${count}, the passages of request ${requestId}`;
    const field = outcomes.length === 1 ? 'item' : `[${i}].item`;
    throw new WinnowError('invalid_field', { expected, got: String(item), field });
  }
}

async function addOutcomes(
  service: ExperimentService,
  sent: readonly SentOutcome[],
): Promise<readonly OutcomeResult[]> {
  const now = service.clock.now();
  const secret = service.wantsStore() ? await service.secret() : '';
  const outcomes = sent.map((one) => outcomeOf(one, now, (id) => unitHash(secret, id)));
  const nameless = sent.map(({ unit }) => unit != null && service.placeholders.has(unit));
  checkTimes(outcomes, now);
  checkBounds(service, outcomes);
  await checkItems(service, outcomes);
  // An id that counts as none names no unit, also where requests with it were once exposed.
  const known = outcomes.filter((_, i) => !nameless[i]);
  const stored = await storeOutcomes(service, known);
  let next = 0;
  const statuses = nameless.map((isNameless): OutcomeStatus => (isNameless ? 'unknown' : stored[next++]!));
  for (const status of ['stored', 'duplicate', 'conflict', 'unknown'] as const) {
    const count = statuses.filter((one) => one === status).length;
    if (count > 0) service.observer.onOutcome?.(status, count);
  }
  return statuses.map((status, i) => ({ status, key: outcomes[i]!.key }));
}

/** Checks a definition that was sent to the path of `name`. @throws WinnowError `invalid_field`, `invalid_experiments`. */
function checkNamed(name: string, definition: unknown): Experiment {
  const fields = typeof definition === 'object' && definition !== null ? definition : {};
  const given = 'name' in fields ? fields.name : name;
  if (given !== name)
    throw new WinnowError('invalid_field', {
      expected: `the name of the path (${name})`,
      got: String(given),
      field: 'name',
    });
  return readExperiment({ ...fields, name }, 'definition');
}

function viewOf(
  { clock, trips }: ExperimentService,
  prepared: PreparedExperiment,
  source: Defined['source'],
): ExperimentView {
  const { definition, hash } = prepared;
  return {
    name: definition.name,
    mode: definition.mode,
    status: statusOf(prepared, clock.now()),
    source,
    configHash: hash,
    tripped: definition.arms.map(({ name }) => name).filter((arm) => trips.has(armKey(prepared, arm))),
    definition,
  };
}

/** Runs a call of the database. @throws WinnowError `store_unavailable` for errors of the database. */
const withStore = <T>(
  service: ExperimentService,
  work: (store: ExperimentStore) => Promise<T>,
  factor = WRITE_FACTOR,
): Promise<T> => inTime(service, factor, service.store().then(work));

/** Creates the API over a service. */
export function createExperimentsApi(service: ExperimentService): ExperimentsApi {
  const shared = new SharedCalls();
  const views = () => service.book.defined.map(({ source }, i) => viewOf(service, service.experiments[i]!, source));
  const get = (name: string): ExperimentView => {
    const view = views().find((one) => one.name === name);
    if (!view) throw service.book.unknown(name);
    return view;
  };
  /** Writes waiting exposures, so that a read includes them; those that cannot be written yet are left out. */
  const flushLog = () => inTime(service, WRITE_FACTOR, service.log.flush()).catch(() => {});
  return {
    list: views,
    get,
    async put(name, definition, who) {
      const experiment = checkNamed(name, definition);
      const before = service.experiments.find((one) => one.definition.name === experiment.name)?.definition;
      const created = await withStore(service, () => service.book.put(experiment, who));
      const warnings = before ? changeEffects(before, experiment) : [];
      return { created, view: { ...get(experiment.name), ...(warnings.length > 0 ? { warnings } : {}) } };
    },
    remove: (name, who) => withStore(service, () => service.book.remove(name, who)),
    async report(name, until, since) {
      const { definition } = get(name);
      await flushLog();
      return shared.run(`report ${configHash(definition)} ${until} ${since}`, () =>
        withStore(service, () => service.reports.report(definition, { until, since }), READ_FACTOR),
      );
    },
    async series(name, points, until, since) {
      const { definition } = get(name);
      await flushLog();
      return shared.run(`series ${configHash(definition)} ${points} ${until} ${since}`, () =>
        withStore(
          service,
          () => service.reports.series(definition, { until, since, points, now: service.clock.now() }),
          READ_FACTOR,
        ),
      );
    },
    async audits(name) {
      const audits = service.wantsStore() ? await withStore(service, (opened) => opened.audits(name)) : [];
      if (audits.length === 0) get(name);
      return audits;
    },
    addOutcomes: (sent) => inTime(service, WRITE_FACTOR, addOutcomes(service, sent)),
    retentionDays: service.retentionDays,
  };
}
