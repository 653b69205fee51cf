import { restartDelay } from './backoff.ts';
import type { FleetHooks, FleetOptions } from './fleet-options.ts';
import { HostClient, type HostEnd } from './host-client.ts';
import { choosesDevice } from './host-layout.ts';
import type { HostUsage } from './host-protocol.ts';
import { emptySlots, type Slot } from './host-slots.ts';
import type { Provider, ProviderSetting } from './inference-types.ts';
import { Outage, type OutageFacts } from './outage.ts';
import { pause } from './pause.ts';
import type { PoolEvent } from './pool-observer.ts';

/** Consecutive failed starts, on every slot, after which waiting batches are rejected. */
const MAX_FAILED_STARTS = 5;
/** Least growth of a host since its models were loaded; replacing one that has grown less frees no memory. */
const MIN_GROWTH = 1.25;

/** Above the niceness of hosts in service, so that a trial takes only the time that they leave. */
const SPARE_NICENESS = 15;

/** Keeps a number of hosts in service: starts them, restarts lost ones with back-off, replaces those that grew too large. */
export class Fleet {
  readonly #options: FleetOptions;
  readonly #hooks: FleetHooks;
  readonly #slots: readonly Slot[];
  /** Processes that are starting or ending. */
  readonly #outOfService = new Set<HostClient>();
  readonly #closing = new AbortController();
  readonly #outage: Outage;
  #provider: ProviderSetting;
  #restarts = 0;
  #recycles = 0;
  #kills = 0;

  constructor(options: FleetOptions, hooks: FleetHooks) {
    this.#options = options;
    this.#hooks = hooks;
    this.#provider = options.provider;
    this.#outage = new Outage({
      graceMs: options.outageGraceMs,
      clock: options.clock,
      onOverGrace: (facts) => {
        this.#emit({ kind: 'outage', reason: facts.reason });
        hooks.outage(facts);
      },
    });
    this.#slots = emptySlots(options);
  }

  /** Hosts that take batches now. */
  get ready(): readonly HostClient[] {
    return this.#slots.flatMap(({ host }) => (host?.alive ? [host] : []));
  }

  /** Whether a slot has no running host. */
  get recovering(): boolean {
    return this.#slots.some(({ host }) => !host?.alive);
  }

  /** The time in which no host is in service, if it is one. */
  get outage(): OutageFacts | undefined {
    return this.#outage.facts;
  }

  get facts() {
    const { hosts, threads } = this.#options;
    const counters = { restarts: this.#restarts, recycles: this.#recycles, kills: this.#kills };
    const slots = this.#slots.map(({ host, device, rss, cpuMs }) => ({
      device,
      rss,
      cpuMs,
      alive: host?.alive ?? false,
    }));
    const devices = this.#provider !== 'auto' && choosesDevice(this.#provider) ? this.#options.devices : [];
    return { hosts, threads, devices, ...counters, slots, alive: this.ready.length };
  }

  /**
   * Starts every host. With `auto`, the provider that the first host finds holds for all: another device that does not open it is an error.
   * Leaves no process behind when it throws.
   * @throws WinnowError `provider_unavailable`; HostLost when a host ends before it is ready.
   */
  async start(): Promise<Provider> {
    const begin = async (slot: Slot) => this.#install(slot, await this.#startHost(slot));
    const alone = this.#provider === 'auto' ? 1 : 0;
    const results = await Promise.allSettled(this.#slots.slice(0, alone).map(begin));
    if (results.every(({ status }) => status === 'fulfilled'))
      results.push(...(await Promise.allSettled(this.#slots.slice(alone).map(begin))));
    const failed = results.find((result) => result.status === 'rejected');
    if (failed) {
      await this.close();
      throw failed.reason;
    }
    return this.#provider as Provider;
  }

  /** Records a host's memory after a load, which later memory is compared with. */
  noteLoad(host: HostClient, { rss, cpuMs }: HostUsage): void {
    host.rss = rss;
    this.#noteCpu(host, cpuMs);
    const slot = this.#slots[host.index];
    if (slot?.host === host) Object.assign(slot, { rss, readyRss: Math.max(slot.readyRss, rss) });
  }

  /** Records what a host uses, and replaces the host if its memory exceeds the limit. */
  noteUsage(host: HostClient, { rss, cpuMs }: HostUsage): void {
    this.#noteCpu(host, cpuMs);
    const slot = this.#slots[host.index]!;
    if (slot.host !== host) return;
    slot.rss = rss;
    const { maxRssBytes, recycleEveryMs, clock } = this.#options;
    if (maxRssBytes === 0 || slot.recycling || rss <= Math.max(maxRssBytes, MIN_GROWTH * slot.readyRss)) return;
    if (clock.now() - slot.readyAt >= recycleEveryMs) void this.#recycle(slot, rss);
  }

  /** Adds the processor time since the host's last report to its place; a host that is tried has none. */
  #noteCpu(host: HostClient, cpuMs: number): void {
    const slot = this.#slots[host.index];
    if (slot) slot.cpuMs += Math.max(0, cpuMs - host.cpuMs);
    host.cpuMs = cpuMs;
  }

  /** Starts a host that is never in service, at a lower priority than those that are. The caller ends it. */
  async startSpare(): Promise<HostClient> {
    const { hosts, devices } = this.#options;
    const host: HostClient = this.#newHost(hosts, devices[0]!, () => this.#outOfService.delete(host), SPARE_NICENESS);
    this.#outOfService.add(host);
    try {
      await host.ready;
      if (this.#closing.signal.aborted) throw new Error('the pool was closed');
      return host;
    } catch (error) {
      host.kill((error as Error).message);
      throw error;
    }
  }

  /** Replaces every host in service by one that loads all models before it serves, one after another. */
  async replaceAll(): Promise<void> {
    for (const slot of this.#slots) if (slot.host && !slot.recycling) await this.#recycle(slot, slot.rss);
  }

  /** Ends every process. Those in service finish their batches first. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#outage.end();
    for (const host of this.#outOfService) host.kill('the pool was closed');
    const serving = this.#slots.flatMap(({ host }) => (host ? [host] : []));
    await Promise.all([
      ...serving.map((host) => host.end(this.#options.graceMs)),
      ...[...this.#outOfService].map((h) => h.gone),
    ]);
  }

  #emit(event: PoolEvent): void {
    this.#hooks.observe(event);
  }

  #newHost(index: number, device: number, onExit: (end: HostEnd) => void, niceness?: number): HostClient {
    const { threads, program, env, clock, startTimeoutMs } = this.#options;
    return new HostClient({
      provider: this.#provider,
      threads,
      device,
      ...(niceness === undefined ? {} : { niceness }),
      program,
      env,
      clock,
      startTimeoutMs,
      index,
      onLog: (line) => this.#emit({ kind: 'output', host: index, line }),
      onExit,
    });
  }

  /** Starts a process and loads the models on it. It is not in service yet. */
  async #startHost(slot: Slot): Promise<HostClient> {
    const host: HostClient = this.#newHost(slot.index, slot.device, (end) => this.#exited(slot, host, end));
    this.#outOfService.add(host);
    try {
      const { provider, rss, cpuMs } = await host.ready;
      this.#provider = provider;
      host.rss = rss;
      this.#noteCpu(host, cpuMs);
      await this.#hooks.prepare(host);
      if (this.#closing.signal.aborted) throw new Error('the pool was closed');
      return host;
    } catch (error) {
      host.kill((error as Error).message);
      throw error;
    }
  }

  #install(slot: Slot, host: HostClient): void {
    this.#outOfService.delete(host);
    Object.assign(slot, { host, readyAt: this.#options.clock.now(), readyRss: host.rss, rss: host.rss });
    this.#outage.end();
    const provider = this.#provider as Provider;
    this.#emit({ kind: 'ready', host: slot.index, pid: host.pid!, provider, device: slot.device });
    this.#hooks.ready();
  }

  #exited(slot: Slot, host: HostClient, { cause, reason }: HostEnd): void {
    this.#outOfService.delete(host);
    if (cause === 'killed') this.#kills++;
    if (slot.host !== host) return;
    slot.host = undefined;
    slot.rss = 0;
    if (this.#closing.signal.aborted) return;
    this.#noteOutage(reason);
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
      await pause(delayMs, clock, this.#closing.signal);
      if (this.#closing.signal.aborted) return;
      try {
        this.#install(slot, await this.#startHost(slot));
        return;
      } catch (error) {
        this.#startFailed(slot, (error as Error).message);
      }
    }
  }

  #startFailed(slot: Slot, reason: string): void {
    if (this.#closing.signal.aborted) return;
    this.#noteOutage(reason);
    this.#emit({ kind: 'lost', host: slot.index, cause: 'crashed', reason });
    if (!this.#slots.every(({ host, failures }) => !host?.alive && failures >= MAX_FAILED_STARTS)) return;
    this.#hooks.startsFailed(reason);
    this.#outage.giveUp();
  }

  #noteOutage(reason: string): void {
    if (this.ready.length === 0) this.#outage.begin(reason);
  }

  /** Ends the host of a place after its batches. */
  async #vacate(slot: Slot): Promise<void> {
    const { host } = slot;
    if (!host) return;
    slot.host = undefined;
    this.#outOfService.add(host);
    this.#noteOutage('it is replaced, because its memory is over the limit');
    await host.end(this.#options.graceMs);
  }

  /** Replaces a host: the old one serves until the new one has its models, then finishes its batches and ends. */
  async #recycle(slot: Slot, rss: number): Promise<void> {
    slot.recycling = true;
    try {
      const old = slot.host;
      if (this.#options.replacesInPlace) await this.#vacate(slot);
      const next = await this.#startHost(slot);
      if (old?.alive) this.#outOfService.add(old);
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
}
