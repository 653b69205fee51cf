import { WinnowError } from '../errors.ts';
import { Dispatcher } from './dispatcher.ts';
import { Fleet } from './fleet.ts';
import type { FleetOptions } from './fleet-options.ts';
import { type HostClient, HostLost } from './host-client.ts';
import { decodeJson, encodeJson, type LoadedMessage } from './host-protocol.ts';
import type {
  BatchScores,
  HostPool,
  InferenceRow,
  LoadedModel,
  LoadSpec,
  Provider,
  TrialRun,
} from './inference-types.ts';
import { LoadRetry } from './load-retry.ts';
import { noHost } from './outage.ts';
import type { PoolFacts, PoolObserver } from './pool-observer.ts';
import { scoreBatch } from './score-batch.ts';
import { endsHost, Trials, tryOnHost } from './trial.ts';
import { Waiters } from './waiters.ts';

interface SupervisorOptions extends FleetOptions {
  readonly batchTimeoutMs: number;
  /** Milliseconds after which a host that has not loaded a model is killed. */
  readonly loadTimeoutMs: number;
}

interface Model {
  readonly handle: number;
  readonly spec: LoadSpec;
}

/** Tokens that a load or unload counts as when the host for a batch is chosen: more than any batch. */
const LOAD_WEIGHT = 1e9;

/** A model that took longer to load in its trial is not loaded on hosts that serve, in milliseconds. */
const SLOW_LOAD_MS = 1000;

/** The pool of inference hosts: loads models on all of them and scores each batch on one of them. */
export class Supervisor implements HostPool {
  readonly size: number;
  readonly threads: number;
  readonly #options: SupervisorOptions;
  readonly #observe: PoolObserver;
  readonly #fleet: Fleet;
  readonly #dispatcher: Dispatcher<HostClient>;
  readonly #models = new Map<string, Model>();
  /** Loads that wait for a host. */
  readonly #waiters = new Waiters();
  #provider: Provider = 'cpu';
  #handles = 0;
  #retries = 0;
  #splits = 0;
  #closed: Promise<void> | undefined;
  readonly #trials = new Trials();
  readonly #missing: LoadRetry;

  constructor(options: SupervisorOptions, observe: PoolObserver) {
    this.#options = options;
    this.#observe = observe;
    this.size = options.hosts;
    this.threads = options.threads;
    this.#missing = new LoadRetry(options.clock, () => this.#loadMissing());
    this.#fleet = new Fleet(options, {
      prepare: (host) => this.#prepare(host),
      ready: () => this.#hostReady(),
      startsFailed: (reason) => this.#rejectWaiting(new WinnowError('host_lost', { reason })),
      outage: (facts) => this.#rejectWaiting(noHost(facts)),
      observe,
    });
    this.#dispatcher = new Dispatcher({
      hosts: () => this.#fleet.ready,
      recovering: () => this.#fleet.recovering,
      handleOf: (key) => this.#models.get(key)?.handle,
      batchTimeoutMs: options.batchTimeoutMs,
      clock: options.clock,
      answered: (host, usage) => this.#fleet.noteUsage(host, usage),
      retried: (host, model, reason) => {
        this.#retries++;
        observe({ kind: 'retry', host: host.index, model, reason });
      },
    });
  }

  get provider(): Provider {
    return this.#provider;
  }

  facts(): PoolFacts {
    const inFlight = this.#fleet.ready.reduce((sum, { depth }) => sum + depth, 0);
    const counters = { retries: this.#retries, splits: this.#splits };
    const { facts, outage } = this.#fleet;
    return { ...facts, ...counters, outage, provider: this.#provider, inFlight, waiting: this.#dispatcher.waiting };
  }

  /** Starts the hosts. @throws WinnowError `provider_unavailable`, `host_lost`. */
  async start(): Promise<void> {
    try {
      this.#provider = await this.#fleet.start();
    } catch (error) {
      if (error instanceof HostLost) throw new WinnowError('host_lost', { reason: error.message }, { cause: error });
      throw error;
    }
  }

  /** Loads a model. A key that is already loaded is loaded again from disk; batches sent before still run on the old graph. */
  async load(spec: LoadSpec): Promise<LoadedModel> {
    this.#refuseWhenClosed();
    const model: Model = { handle: ++this.#handles, spec };
    const before = this.#models.get(spec.key);
    this.#dispatcher.loaded(spec.key);
    try {
      const tried = this.#trials.takeFacts(spec.key);
      if (tried && tried.loadMs > SLOW_LOAD_MS) return await this.#loadBySwap(model, tried);
      const facts = await (this.#models.size === 0 ? this.#loadOnAll(model) : this.#loadOnOne(model));
      this.#models.set(spec.key, model);
      await this.#loadMissing();
      if (before) await this.#unloadHandle(before.handle);
      return facts;
    } catch (error) {
      await this.#unloadHandle(model.handle);
      throw error;
    }
  }

  async trial(spec: LoadSpec, test: (run: TrialRun) => Promise<void>): Promise<boolean> {
    this.#refuseWhenClosed();
    if (this.#models.size === 0) return false;
    const host = await this.#fleet.startSpare();
    const model: Model = { handle: ++this.#handles, spec };
    const load = () => this.#loadOn(host, model);
    this.#trials.add(spec.key, await tryOnHost(host, model, load, test, this.#options.batchTimeoutMs));
    return true;
  }

  async unload(key: string): Promise<void> {
    const model = this.#models.get(key);
    if (!model) return;
    this.#models.delete(key);
    this.#trials.forget(key);
    this.#dispatcher.pump();
    await this.#unloadHandle(model.handle);
  }

  async run(
    key: string,
    rows: readonly InferenceRow[],
    signal?: AbortSignal,
    predictedMs?: number,
  ): Promise<BatchScores> {
    this.#refuseWhenClosed();
    const model = this.#models.get(key);
    if (!model) throw new WinnowError('model_not_ready', { model: key, reason: 'it is not loaded' });
    this.#refuseInOutage();
    const onSplit = () => {
      this.#splits++;
      this.#observe({ kind: 'split', model: key });
    };
    return scoreBatch(
      rows,
      model.spec.maxLength,
      (part) => this.#dispatcher.submit(key, part, signal, predictedMs ?? this.#trials.predictMs(key, part)),
      onSplit,
    );
  }

  /** Rejects new batches and those that no host has; resolves when every process has ended. */
  close(): Promise<void> {
    if (this.#closed) return this.#closed;
    const error = new WinnowError('shutting_down');
    this.#missing.stop();
    this.#dispatcher.close(error);
    this.#rejectWaiting(error);
    this.#closed = this.#fleet.close();
    return this.#closed;
  }

  #refuseWhenClosed(): void {
    if (this.#closed) throw new WinnowError('shutting_down');
  }

  #refuseInOutage(): void {
    const { outage } = this.#fleet;
    if (outage?.isOverGrace) throw noHost(outage);
  }

  async #loadOn(host: HostClient, { handle, spec }: Model): Promise<LoadedModel> {
    host.loading.add(handle);
    try {
      const encode = (id: number) => encodeJson('load', id, { handle, spec });
      const { payload } = await host.call(encode, this.#options.loadTimeoutMs, LOAD_WEIGHT);
      const { rss, cpuMs, ...facts } = decodeJson<LoadedMessage>(payload);
      host.loaded.add(handle);
      this.#fleet.noteLoad(host, { rss, cpuMs });
      return { key: spec.key, provider: this.#provider, ...facts };
    } finally {
      host.loading.delete(handle);
      this.#dispatcher.pump();
    }
  }

  /** Loads a model on all hosts at the same time. For an empty pool, which has no batches to delay. */
  async #loadOnAll(model: Model): Promise<LoadedModel> {
    const results = await Promise.allSettled(this.#fleet.ready.map((host) => this.#loadOn(host, model)));
    const refused = results.find((result) => result.status === 'rejected' && !(result.reason instanceof HostLost));
    if (refused?.status === 'rejected') throw refused.reason;
    return results.find((result) => result.status === 'fulfilled')?.value ?? this.#loadOnOne(model);
  }

  /** Loads a model on one host, so that a graph that crashes its host at loading crashes at most two while the others serve. */
  async #loadOnOne(model: Model): Promise<LoadedModel> {
    let reason = '';
    for (let attempt = 0; attempt < 2; attempt++)
      try {
        return await this.#loadOn(await this.#anyHost(), model);
      } catch (error) {
        if (!(error instanceof HostLost)) throw error;
        reason = error.message;
      }
    throw endsHost(model.spec, reason);
  }

  /**
   * Puts a model that takes long to load into service by hosts that load it, with all others, before they replace those that serve: a host that
   * loads runs no batch meanwhile.
   */
  async #loadBySwap(model: Model, facts: LoadedModel): Promise<LoadedModel> {
    const { key } = model.spec;
    const before = this.#models.get(key);
    this.#models.set(key, model);
    await this.#fleet.replaceAll();
    if (!this.#fleet.ready.some((host) => host.loaded.has(model.handle))) {
      if (before) this.#models.set(key, before);
      else this.#models.delete(key);
      throw endsHost(model.spec, 'no host has loaded it in time');
    }
    return facts;
  }

  /** Loads what is missing, on one host after another so that the others serve. A host lost meanwhile loads when it is restarted. */
  async #loadMissing(): Promise<void> {
    for (const model of [...this.#models.values()])
      for (const host of this.#fleet.ready) {
        if (host.loaded.has(model.handle) || host.loading.has(model.handle)) continue;
        await this.#loadOn(host, model).catch((error) => this.#reportMissing(error, host, model));
        this.#dispatcher.pump();
      }
  }

  async #prepare(host: HostClient): Promise<void> {
    for (const model of this.#models.values())
      await this.#loadOn(host, model).catch((error) => {
        if (error instanceof HostLost) throw error;
        this.#reportMissing(error, host, model);
      });
  }

  #reportMissing(error: Error, host: HostClient, { spec }: Model): void {
    if (error instanceof HostLost) return;
    this.#observe({ kind: 'model_missing', host: host.index, model: spec.key, reason: error.message });
    if (!this.#closed) this.#missing.plan();
  }

  async #unloadHandle(handle: number): Promise<void> {
    const holders = this.#fleet.ready.filter((host) => host.loaded.delete(handle) || host.loading.has(handle));
    const limit = this.#options.loadTimeoutMs;
    await Promise.allSettled(
      holders.map((host) => host.call((id) => encodeJson('unload', id, { handle }), limit, LOAD_WEIGHT)),
    );
  }

  async #anyHost(): Promise<HostClient> {
    for (;;) {
      const [host] = this.#fleet.ready.toSorted((a, b) => a.depth - b.depth);
      if (host) return host;
      this.#refuseInOutage();
      await this.#waiters.next();
      this.#refuseWhenClosed();
    }
  }

  #hostReady(): void {
    this.#waiters.wake();
    this.#dispatcher.pump();
    void this.#loadMissing();
  }

  #rejectWaiting(error: WinnowError): void {
    this.#waiters.reject(error);
    this.#dispatcher.rejectWaiting(error);
  }
}
