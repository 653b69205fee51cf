import { existsSync } from 'node:fs';
import { type Clock, wallClock } from '../util/clock.ts';
import { Mutex } from '../util/mutex.ts';
import { createRandom, deriveSeed } from '../util/random.ts';
import { inOwnThread, inThisThread, type ReportRunner } from './analysis/runner.ts';
import { fnv32a } from './assignment/buckets.ts';
import { type ArmDecider, hashDecider } from './assignment/deciders.ts';
import { type DecisionContext, decide, type RequestDecision } from './assignment/decisions.ts';
import { balanced, teamDraft } from './assignment/interleaving.ts';
import { type Plan, planOf, statusOf } from './assignment/prepared.ts';
import { type Defined, DefinitionBook } from './definitions/definition-book.ts';
import { DefinitionFile } from './definitions/definition-file.ts';
import type { ExperimentObserver, Exposed, HookArm, HookRanked, HookRequest, Shadowed } from './ports.ts';
import { ExposureLog } from './recording/exposure-log.ts';
import { keyOf } from './recording/guardrails.ts';
import { OutcomeWriter } from './recording/outcomes.ts';
import { Recorder } from './recording/recorder.ts';
import { Trips } from './recording/trips.ts';
import type { ExperimentStore } from './records.ts';
import { isPostgres, openStore } from './store/store.ts';
import { StoreKeeper } from './store/store-keeper.ts';

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;

/** Where exposures go if nothing is said. */
export const DEFAULT_DATABASE = 'runs/experiments.sqlite';

export interface ExperimentsOptions {
  /** experiments.yaml; followed. */
  readonly file?: string | undefined;
  /** SQLite file or `postgres://` URL; DEFAULT_DATABASE, made when it is first needed, if absent. */
  readonly database?: string | undefined;
  /** Key of unit hashes; a random one kept in the database if absent. */
  readonly unitSecret?: string | undefined;
  readonly retentionDays?: number;
  readonly bufferRows?: number;
  /** The model that requests naming none go to. */
  readonly defaultModel?: () => string | undefined;
  /** Who assigns units to the arms of split experiments; Winnow's hash if absent. */
  readonly decider?: ArmDecider;
  readonly observer?: ExperimentObserver;
  readonly clock?: Clock;
  /** How often experiments.yaml is looked at, in milliseconds. */
  readonly pollMs?: number;
  /** How often the database is asked what other servers changed, in milliseconds. */
  readonly syncMs?: number;
}

/** Experiments at work in one server. Its methods `decide`, `interleave`, `expose`, `shadow` are the re-ranker's hook. */
export class ExperimentService {
  readonly observer: ExperimentObserver;
  readonly clock: Clock;
  readonly retentionDays: number;
  readonly book: DefinitionBook;
  readonly log: ExposureLog;
  readonly outcomes: OutcomeWriter;
  readonly trips: Trips;
  readonly reports: ReportRunner;
  readonly #options: ExperimentsOptions;
  readonly #database: string;
  readonly #keeper: StoreKeeper;
  readonly #file: DefinitionFile | undefined;
  readonly #recorder: Recorder;
  #plans: readonly Plan[] = [];
  #cancelTick: (() => void) | undefined;
  readonly #syncs = new Mutex();
  #prunedAt = Number.NEGATIVE_INFINITY;
  #secret: string | undefined;

  constructor(options: ExperimentsOptions) {
    this.#options = options;
    this.#secret = options.unitSecret || undefined;
    this.#database = options.database || DEFAULT_DATABASE;
    this.observer = options.observer ?? {};
    this.clock = options.clock ?? wallClock;
    this.retentionDays = options.retentionDays ?? 90;
    const { observer, clock } = this;
    this.#keeper = new StoreKeeper(
      () => openStore(this.#database),
      observer,
      (store) => this.#opened(store),
    );
    const { get: store } = this.#keeper;
    const now = () => clock.now();
    this.book = new DefinitionBook({ store, observer, now, onChange: (defined) => this.#apply(defined) });
    const bufferRows = options.bufferRows ?? 100_000;
    this.log = new ExposureLog({ store, secret: () => this.secret(), bufferRows, clock, observer });
    this.outcomes = new OutcomeWriter(store);
    this.trips = new Trips({ observer, now });
    // A database in memory is seen by its own thread only.
    this.reports = this.#database === ':memory:' ? inThisThread(store) : inOwnThread(this.#database);
    this.#recorder = new Recorder({ log: this.log, trips: this.trips, observer, now });
    this.#file = options.file === undefined ? undefined : this.#follow(options.file);
  }

  /** Reads experiments.yaml and begins to follow it; the database is opened beside. Never rejects. */
  async start(): Promise<void> {
    await this.#file?.start();
    this.#tick();
  }

  /** Resolves when what is known now has been brought together with the database, or that has failed. */
  settled(): Promise<void> {
    return this.#syncs.idle();
  }

  get plans(): readonly Plan[] {
    return this.#plans;
  }

  store(): Promise<ExperimentStore> {
    return this.#keeper.get();
  }

  /** Whether there is a database, or something that needs one. */
  wantsStore(): boolean {
    const explicit = Boolean(this.#options.database);
    return explicit || this.book.defined.length > 0 || isPostgres(this.#database) || existsSync(this.#database);
  }

  /** Key of the unit hashes. @throws WinnowError `store_unavailable`. */
  async secret(): Promise<string> {
    this.#secret ??= await (await this.store()).secret();
    return this.#secret;
  }

  decide(request: HookRequest): RequestDecision | undefined | Promise<RequestDecision | undefined> {
    return this.#plans.length === 0 ? undefined : decide(request, this.#context());
  }

  /** Merges the arms' rankings of one request; each item keeps the score of the arm that placed it. */
  interleave(decision: RequestDecision, request: HookRequest, arms: readonly HookArm[]): readonly HookRanked[] {
    const { plan } = decision.answering!;
    const random = createRandom(deriveSeed(fnv32a(plan.seed), request.requestId));
    const orders = arms.map(({ ranking }) => ranking.map(({ index }) => index));
    const pair = plan.definition.method === 'balanced' && orders.length === 2;
    const { order, team } = pair ? balanced(orders as [number[], number[]], random) : teamDraft(orders, random);
    const byIndex = arms.map(({ ranking }) => new Map(ranking.map((item) => [item.index, item])));
    return order.map((index, i) => ({ ...byIndex[team[i]!]!.get(index)!, team: arms[team[i]!]!.arm }));
  }

  expose(exposed: Exposed<RequestDecision>): void {
    this.#recorder.expose(exposed);
  }

  shadow(shadowed: Shadowed<RequestDecision>): void {
    this.#recorder.shadow(shadowed);
  }

  /** Writes what waits, within `limitMs`, and closes the database. */
  async close(limitMs = 5000): Promise<void> {
    this.#cancelTick?.();
    this.#cancelTick = undefined;
    this.#file?.stop();
    await this.#syncs.idle();
    await this.log.close(limitMs);
    await this.reports.close();
    await this.#keeper.close();
  }

  #follow(path: string): DefinitionFile {
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
      plans: this.#plans,
      now: this.clock.now(),
      defaultModel: this.#options.defaultModel?.(),
      decider: this.#options.decider ?? hashDecider,
      tripped: (plan, arm) => this.trips.has(keyOf(plan, arm)),
    };
  }

  #apply(defined: readonly Defined[]): void {
    const known = new Map(this.#plans.map((plan) => [plan.hash, plan]));
    this.#plans = defined.map(({ experiment }) => {
      const plan = planOf(experiment);
      return known.get(plan.hash) ?? plan;
    });
    this.trips.keepOnly(this.#plans);
    this.#recorder.keepOnly(this.#plans);
    const now = this.clock.now();
    const running = this.#plans.filter((plan) => statusOf(plan, now) === 'running').length;
    this.observer.onDefinitions?.({ defined: this.#plans.length, running });
  }

  /** Before anything else uses a database. */
  async #opened(store: ExperimentStore): Promise<void> {
    this.#secret ??= await store.secret();
    await this.trips.sync(store);
  }

  #tick(): void {
    this.#sync();
    this.#cancelTick = this.clock.after(this.#options.syncMs ?? 10_000, () => this.#tick());
  }

  #sync(): void {
    this.#syncs.run(() => this.#bringTogether()).catch(() => {});
  }

  async #bringTogether(): Promise<void> {
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
    const now = this.clock.now();
    if (now - this.#prunedAt < HOUR_MS) return;
    await store.prune(now - this.retentionDays * DAY_MS);
    this.#prunedAt = now;
  }
}
