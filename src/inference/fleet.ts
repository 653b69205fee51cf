import type { Clock } from '../util/clock.ts';
import type { BackOff } from './backoff.ts';
import { restartDelay } from './backoff.ts';
import { HostClient, type HostEnd } from './host-client.ts';
import type { HostSettings } from './host-protocol.ts';
import type { Provider, ProviderSetting } from './inference-types.ts';
import type { PoolEvent, PoolObserver } from './pool-observer.ts';

export interface FleetOptions extends HostSettings {
  readonly hosts: number;
  readonly env: Readonly<Record<string, string>>;
  readonly clock: Clock;
  readonly backOff: BackOff;
  readonly startTimeoutMs: number;
  /** How long a host that is let go may finish what it has. */
  readonly graceMs: number;
  /** A host above this memory is replaced; 0: never. */
  readonly maxRssBytes: number;
  /** Least time between two replacements of a host for memory. */
  readonly recycleEveryMs: number;
}

export interface FleetHooks {
  /** Makes a new host fit for work (loads the models) before it gets any. */
  readonly prepare: (host: HostClient) => Promise<void>;
  /** A host has come into service. */
  readonly ready: () => void;
  /** No host is left and starting one has failed again and again. */
  readonly broken: (reason: string) => void;
  readonly observe: PoolObserver;
}

/** The place of a host; processes come and go in it. */
interface Slot {
  readonly index: number;
  host: HostClient | undefined;
  failures: number;
  readyAt: number;
  /** Memory of the host when its models were loaded: a limit below it could never be kept. */
  readyRss: number;
  rss: number;
  recycling: boolean;
}

/** Starts in a row that must fail, on every slot, before waiting batches are given up. */
const HOPELESS = 5;
/** A host must have grown by this factor since it was ready; recycling one that has not would bring nothing. */
const GROWTH = 1.25;

/** Keeps a number of hosts in service: starts, restarts with back-off, replaces those that grew too large. */
export class Fleet {
  readonly #options: FleetOptions;
  readonly #hooks: FleetHooks;
  readonly #slots: readonly Slot[];
  /** Processes that are not in service yet, or no longer. */
  readonly #aside = new Set<HostClient>();
  readonly #closing = new AbortController();
  #provider: ProviderSetting;
  #restarts = 0;
  #recycles = 0;
  #kills = 0;

  constructor(options: FleetOptions, hooks: FleetHooks) {
    this.#options = options;
    this.#hooks = hooks;
    this.#provider = options.provider;
    this.#slots = Array.from({ length: options.hosts }, (_, index) => ({
      index,
      host: undefined,
      failures: 0,
      readyAt: 0,
      readyRss: 0,
      rss: 0,
      recycling: false,
    }));
  }

  /** Hosts that take work now. */
  get ready(): readonly HostClient[] {
    return this.#slots.flatMap(({ host }) => (host?.alive ? [host] : []));
  }

  /** Whether some host is still to come. */
  get recovering(): boolean {
    return this.#slots.some(({ host }) => !host?.alive);
  }

  get facts() {
    const { hosts, threads } = this.#options;
    const counters = { restarts: this.#restarts, recycles: this.#recycles, kills: this.#kills };
    return { hosts, threads, ...counters, alive: this.ready.length, rss: this.#slots.map(({ rss }) => rss) };
  }

  /**
   * Starts every host. With `auto`, what the first host finds holds for all.
   * @throws WinnowError `provider_unavailable`; HostLost when a host ends at once. No process is left behind.
   */
  async start(): Promise<Provider> {
    const starts = this.#slots.map(async (slot) => this.#install(slot, await this.#bring(slot)));
    const failed = (await Promise.allSettled(starts)).find((result) => result.status === 'rejected');
    if (failed) {
      await this.close();
      throw failed.reason;
    }
    return this.#provider as Provider;
  }

  /** Notes a host's memory behind a load: what it cannot be smaller than. */
  noteLoad(host: HostClient, rss: number): void {
    host.rss = rss;
    const slot = this.#slots[host.index]!;
    if (slot.host === host) Object.assign(slot, { rss, readyRss: Math.max(slot.readyRss, rss) });
  }

  /** Notes what a host said of its memory, and replaces it where that is too much. */
  noteMemory(host: HostClient, rss: number): void {
    const slot = this.#slots[host.index]!;
    if (slot.host !== host) return;
    slot.rss = rss;
    const { maxRssBytes, recycleEveryMs, clock } = this.#options;
    if (maxRssBytes === 0 || slot.recycling || rss <= Math.max(maxRssBytes, GROWTH * slot.readyRss)) return;
    if (clock.now() - slot.readyAt >= recycleEveryMs) void this.#recycle(slot, rss);
  }

  /** Ends every process: those in service finish what they have. */
  async close(): Promise<void> {
    this.#closing.abort();
    for (const host of this.#aside) host.kill('the pool was closed');
    const serving = this.#slots.flatMap(({ host }) => (host ? [host] : []));
    await Promise.all([
      ...serving.map((host) => host.end(this.#options.graceMs)),
      ...[...this.#aside].map((h) => h.gone),
    ]);
  }

  #emit(event: PoolEvent): void {
    this.#hooks.observe(event);
  }

  /** A new process with its models loaded; not in service yet. */
  async #bring(slot: Slot): Promise<HostClient> {
    const { threads, device, env, clock, startTimeoutMs } = this.#options;
    const host: HostClient = new HostClient({
      ...{ provider: this.#provider, threads, device, env, clock, startTimeoutMs, index: slot.index },
      onLog: (line) => this.#emit({ kind: 'output', host: slot.index, line }),
      onExit: (end) => this.#exited(slot, host, end),
    });
    this.#aside.add(host);
    try {
      const { provider, rss } = await host.ready;
      this.#provider = provider;
      host.rss = rss;
      await this.#hooks.prepare(host);
      if (this.#closing.signal.aborted) throw new Error('the pool was closed');
      return host;
    } catch (error) {
      host.kill((error as Error).message);
      throw error;
    }
  }

  #install(slot: Slot, host: HostClient): void {
    this.#aside.delete(host);
    Object.assign(slot, { host, readyAt: this.#options.clock.now(), readyRss: host.rss, rss: host.rss });
    this.#emit({ kind: 'ready', host: slot.index, pid: host.pid!, provider: this.#provider as Provider });
    this.#hooks.ready();
  }

  #exited(slot: Slot, host: HostClient, { cause, reason }: HostEnd): void {
    this.#aside.delete(host);
    if (cause === 'killed') this.#kills++;
    if (slot.host !== host) return;
    slot.host = undefined;
    slot.rss = 0;
    if (this.#closing.signal.aborted) return;
    this.#emit({ kind: 'lost', host: slot.index, cause, reason });
    if (!slot.recycling) void this.#restart(slot);
  }

  async #restart(slot: Slot): Promise<void> {
    const { backOff, clock } = this.#options;
    if (clock.now() - slot.readyAt > backOff.stableMs) slot.failures = 0;
    while (!this.#closing.signal.aborted) {
      const delayMs = restartDelay(++slot.failures, backOff);
      this.#restarts++;
      this.#emit({ kind: 'restart', host: slot.index, delayMs });
      await this.#sleep(delayMs);
      if (this.#closing.signal.aborted) return;
      try {
        this.#install(slot, await this.#bring(slot));
        return;
      } catch (error) {
        this.#startFailed(slot, (error as Error).message);
      }
    }
  }

  #startFailed(slot: Slot, reason: string): void {
    if (this.#closing.signal.aborted) return;
    this.#emit({ kind: 'lost', host: slot.index, cause: 'crashed', reason });
    if (this.#slots.every(({ host, failures }) => !host?.alive && failures >= HOPELESS)) this.#hooks.broken(reason);
  }

  /** The old host serves until the new one has its models; then it finishes what it has and leaves. */
  async #recycle(slot: Slot, rss: number): Promise<void> {
    slot.recycling = true;
    try {
      const next = await this.#bring(slot);
      const old = slot.host;
      if (old) this.#aside.add(old);
      this.#install(slot, next);
      this.#recycles++;
      this.#emit({ kind: 'recycle', host: slot.index, rss });
      await old?.end(this.#options.graceMs);
    } catch (error) {
      this.#startFailed(slot, (error as Error).message);
    }
    slot.recycling = false;
    if (!slot.host && !this.#closing.signal.aborted) void this.#restart(slot);
  }

  #sleep(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const cancel = this.#options.clock.after(ms, resolve);
    const { signal } = this.#closing;
    const wake = () => {
      cancel();
      resolve();
    };
    signal.addEventListener('abort', wake, { once: true });
    return promise.finally(() => signal.removeEventListener('abort', wake));
  }
}
