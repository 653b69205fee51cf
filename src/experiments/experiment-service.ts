import { existsSync } from 'node:fs';
import { type Clock, monotonicClock, wallClock } from '../util/clock.ts';
import { Mutex } from '../util/mutex.ts';
import { createRandom, deriveSeed } from '../util/random.ts';
import type { ReadResult } from '../util/watched-file.ts';
import { within } from '../util/within.ts';
import { inOwnThread, inThisThread, type ReportRunner } from './analysis/report-runner.ts';
import { fnv32a } from './assignment/buckets.ts';
import { changeEffects } from './assignment/change-effects.ts';
import { type ArmDecider, hashDecider } from './assignment/deciders.ts';
import { type DecisionContext, decide, type RequestDecision } from './assignment/decisions.ts';
import { balanced, teamDraft } from './assignment/interleaving.ts';
import { Placeholders } from './assignment/placeholders.ts';
import { type PreparedExperiment, prepareExperiment, statusOf } from './assignment/prepared-experiment.ts';
import { StickyDecider } from './assignment/sticky.ts';
import { type Defined, DefinitionBook } from './definitions/definition-book.ts';
import { DefinitionFile } from './definitions/definition-file.ts';
import { DEFAULT_DATABASE, type ExperimentsOptions } from './experiment-options.ts';
import type {
  ArmRanking,
  ExperimentHook,
  ExperimentObserver,
  FinishedRequest,
  FinishedShadow,
  HookRequest,
  RankedPassage,
} from './ports.ts';
import { ExposureLog } from './recording/exposure-log.ts';
import { armKey } from './recording/guardrails.ts';
import { OutcomeWriter } from './recording/outcomes.ts';
import { Recorder } from './recording/recorder.ts';
import { Retention } from './recording/retention.ts';
import { storedAssignments } from './recording/stored-assignments.ts';
import { Trips } from './recording/trips.ts';
import type { ExperimentStore } from './records.ts';
import { DATABASE_TIMEOUT_MS, isPostgres, openStore } from './store/store.ts';
import { StoreKeeper, timedOut } from './store/store-keeper.ts';

/** How long closing waits for a sync in progress, for the thread of reports and for the database, in milliseconds each. */
const CLOSE_STEP_MS = 2500;

/** The experiments of one server. */
export class ExperimentService implements ExperimentHook<RequestDecision> {
  readonly observer: ExperimentObserver;
  readonly clock: Clock;
  readonly retentionDays: number;
  readonly databaseTimeoutMs: number;
  readonly book: DefinitionBook;
  readonly log: ExposureLog;
  readonly outcomes: OutcomeWriter;
  readonly trips: Trips;
  /** Assigns units to the arms of split experiments. */
  readonly decider: ArmDecider;
  /** Ids that count as none. */
  readonly placeholders: Placeholders;
  readonly reports: ReportRunner;
  readonly #options: ExperimentsOptions;
  readonly #database: string;
  readonly #keeper: StoreKeeper;
  readonly #file: DefinitionFile | undefined;
  readonly #recorder: Recorder;
  #experiments: readonly PreparedExperiment[] = [];
  #cancelTick: (() => void) | undefined;
  readonly #syncs = new Mutex();
  readonly #retention: Retention;
  #secret: string | undefined;
  /**
   * Whether the database has been reached. A PostgreSQL server has the key of unit hashes, the arms that guardrails disabled and definitions of
   * the API: experiments are off until they are known.
   */
  #isReached: boolean;

  constructor(options: ExperimentsOptions) {
    this.#options = options;
    this.#secret = options.unitSecret || undefined;
    this.#database = options.database || DEFAULT_DATABASE;
    this.#isReached = !isPostgres(this.#database);
    this.observer = options.observer ?? {};
    this.clock = options.clock ?? wallClock;
    this.placeholders = new Placeholders(options.placeholderIds);
    this.retentionDays = options.retentionDays ?? 90;
    this.databaseTimeoutMs = options.databaseTimeoutMs ?? DATABASE_TIMEOUT_MS;
    const timeoutMs = this.databaseTimeoutMs;
    const { observer, clock } = this;
    this.#keeper = new StoreKeeper(
      (onLost) => openStore(this.#database, { timeoutMs, onLost }),
      observer,
      (store) => this.#prepareStore(store),
    );
    const { get: store } = this.#keeper;
    const now = () => clock.now();
    this.book = new DefinitionBook({ store, observer, now, onChange: (defined) => this.#apply(defined) });
    const bufferRows = options.bufferRows ?? 100_000;
    this.log = new ExposureLog({ store, secret: () => this.secret(), bufferRows, clock, observer });
    this.#retention = new Retention({
      days: this.retentionDays,
      wall: now,
      monotonic: options.monotonic ?? monotonicClock.now,
      onProblem: (reason) => observer.onProblem?.({ where: 'clock', reason }),
    });
    this.outcomes = new OutcomeWriter(store);
    this.trips = new Trips({ observer, now });
    const inner = options.decider ?? hashDecider;
    this.decider = new StickyDecider({ inner, clock, observer, ...storedAssignments(store, () => this.secret()) });
    // A database in memory can be read by its own thread only.
    this.reports = this.#database === ':memory:' ? inThisThread(store) : inOwnThread(this.#database, { timeoutMs });
    this.#recorder = new Recorder({ log: this.log, trips: this.trips, observer, now });
    this.#file = options.file === undefined ? undefined : this.#definitionFile(options.file);
  }

  /**
   * Reads experiments.yaml and begins to watch it; the database is opened meanwhile. A PostgreSQL server has the time of one statement to be
   * reached; experiments are off until it is. Never rejects.
   */
  async start(): Promise<void> {
    await this.#file?.start();
    this.#tick();
    if (this.#isReached) return;
    const late = () => timedOut('the database was not reached in time');
    await within(this.databaseTimeoutMs, this.settled(), late).catch(() => {});
    if (!this.#isReached) this.#reportDefinitions();
  }

  /** Reads experiments.yaml and syncs with the database now. Never rejects. */
  async reload(): Promise<ReadResult> {
    const result = (await this.#file?.read()) ?? 'unchanged';
    this.#sync();
    return result;
  }

  /** Resolves when the last sync with the database has ended, in success or failure. */
  settled(): Promise<void> {
    return this.#syncs.idle();
  }

  /** The definitions in effect, prepared; in the order of `book.defined`. */
  get experiments(): readonly PreparedExperiment[] {
    return this.#experiments;
  }

  /** Returns the open database, opening it first where needed. @throws WinnowError `store_unavailable`. */
  store(): Promise<ExperimentStore> {
    return this.#keeper.get();
  }

  /** Whether there is a database, or something to store in one. */
  wantsStore(): boolean {
    const explicit = Boolean(this.#options.database);
    return explicit || this.book.defined.length > 0 || isPostgres(this.#database) || existsSync(this.#database);
  }

  /** Returns the key of the unit hashes. @throws WinnowError `store_unavailable`. */
  async secret(): Promise<string> {
    this.#secret ??= await (await this.store()).secret();
    return this.#secret;
  }

  decide(request: HookRequest): RequestDecision | undefined | Promise<RequestDecision | undefined> {
    if (this.#experiments.length === 0 || !(this.#isReached || request.subject?.forcedArm)) return undefined;
    const { request: named, placeholder } = this.placeholders.without(request);
    const decision = decide(named, this.#context());
    if (placeholder !== undefined) void this.#reportPlaceholder(placeholder, decision);
    return decision;
  }

  /** Merges the arms' rankings of one request; each item keeps the score of the arm that placed it. */
  interleave(decision: RequestDecision, request: HookRequest, arms: readonly ArmRanking[]): readonly RankedPassage[] {
    const { prepared } = decision.answering!;
    const random = createRandom(deriveSeed(fnv32a(prepared.seed), request.requestId));
    const orders = arms.map(({ ranking }) => ranking.map(({ index }) => index));
    const pair = prepared.definition.method === 'balanced' && orders.length === 2;
    const { order, team } = pair ? balanced(orders as [number[], number[]], random) : teamDraft(orders, random);
    const byIndex = arms.map(({ ranking }) => new Map(ranking.map((item) => [item.index, item])));
    return order.map((index, i) => ({ ...byIndex[team[i]!]!.get(index)!, team: arms[team[i]!]!.arm }));
  }

  recordRequest(finished: FinishedRequest<RequestDecision>): void {
    this.#recorder.recordRequest(finished);
  }

  recordShadow(finished: FinishedShadow<RequestDecision>): void {
    this.#recorder.recordShadow(finished);
  }

  /** Writes waiting exposures within `limitMs` milliseconds, then closes the database. It ends also where the database hangs. */
  async close(limitMs = 5000): Promise<void> {
    this.#cancelTick?.();
    this.#cancelTick = undefined;
    this.#file?.stop();
    await this.#closeStep('the sync', this.#syncs.idle());
    await this.log.close(limitMs);
    await this.#closeStep('the thread of reports', this.reports.close());
    await this.#closeStep('the database', this.#keeper.close());
  }

  /** Waits for a step of closing; one that is late ends with the process. */
  async #closeStep(what: string, step: Promise<void>): Promise<void> {
    const late = () => timedOut(`${what} did not end within ${CLOSE_STEP_MS} ms`);
    await within(CLOSE_STEP_MS, step, late).catch((error: Error) =>
      this.observer.onProblem?.({ where: 'database', reason: error.message }),
    );
  }

  async #reportPlaceholder(
    id: string,
    decision: RequestDecision | undefined | Promise<RequestDecision | undefined>,
  ): Promise<void> {
    // A decision that fails is reported by the re-ranker.
    const made = await Promise.resolve(decision).catch(() => undefined);
    const inside = [made?.answering?.prepared, ...(made?.shadowing ?? []).map(({ prepared }) => prepared)];
    for (const prepared of inside)
      if (prepared && prepared.definition.unit !== 'query')
        this.observer.onPlaceholder?.({ experiment: prepared.definition.name, id });
  }

  #definitionFile(path: string): DefinitionFile {
    return new DefinitionFile({
      path,
      pollMs: this.#options.pollMs ?? 1000,
      onProblem: (reason) => this.observer.onProblem?.({ where: 'file', reason }),
      onChange: (state) => {
        this.book.setFile(state);
        if (this.#cancelTick) this.#sync();
      },
    });
  }

  #context(): DecisionContext {
    return {
      experiments: this.#experiments,
      now: this.clock.now(),
      defaultModel: this.#options.defaultModel?.(),
      decider: this.decider,
      tripped: (prepared, arm) => this.trips.has(armKey(prepared, arm)),
    };
  }

  #apply(defined: readonly Defined[]): void {
    const former = this.#experiments;
    const known = new Map(former.map((prepared) => [prepared.hash, prepared]));
    this.#experiments = defined.map(({ experiment }) => {
      const prepared = prepareExperiment(experiment);
      return known.get(prepared.hash) ?? prepared;
    });
    for (const { definition } of this.#experiments) {
      const before = former.find((one) => one.definition.name === definition.name);
      for (const effect of before ? changeEffects(before.definition, definition) : [])
        this.observer.onEffect?.({ experiment: definition.name, effect });
    }
    this.trips.keepOnly(this.#experiments);
    this.#recorder.keepOnly(this.#experiments);
    this.#reportDefinitions();
  }

  #reportDefinitions(): void {
    const now = this.clock.now();
    const due = this.#experiments.filter((prepared) => statusOf(prepared, now) === 'running').length;
    const [running, off] = this.#isReached ? [due, 0] : [0, due];
    const definitions = this.#experiments.map(({ definition }) => definition);
    this.observer.onDefinitions?.({ defined: this.#experiments.length, running, off, definitions });
  }

  /** Runs before anything else uses a newly opened database. */
  async #prepareStore(store: ExperimentStore): Promise<void> {
    this.#secret ??= await store.secret();
    await this.trips.sync(store);
    if (this.#isReached) return;
    this.#isReached = true;
    this.#reportDefinitions();
  }

  #tick(): void {
    this.#sync();
    this.#cancelTick = this.clock.after(this.#options.syncMs ?? 10_000, () => this.#tick());
  }

  #sync(): void {
    this.#syncs.run(() => this.#syncNow()).catch(() => {});
  }

  async #syncNow(): Promise<void> {
    if (!this.wantsStore()) return;
    try {
      const store = await this.store();
      await this.book.sync();
      await this.trips.sync(store);
      await this.#prune(store);
    } catch (error) {
      this.observer.onProblem?.({ where: 'database', reason: (error as Error).message });
    }
  }

  async #prune(store: ExperimentStore): Promise<void> {
    const beforeAt = this.#retention.check();
    if (beforeAt === undefined) return;
    await store.prune(beforeAt);
    this.#retention.pruned();
  }
}
