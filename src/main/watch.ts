import { choosesDevice } from '../inference/host-layout.ts';
import type { PoolFacts } from '../inference/pool-observer.ts';
import type { ModelRegistry } from '../registry/registry-types.ts';
import { LANES, type Scheduler } from '../scheduling/scheduling-types.ts';
import type { Metrics } from '../telemetry/instruments.ts';

/* Reads the state of the parts at each scrape. */

/** Reads the state of the pool at each scrape. */
export function watchPool(metrics: Metrics, facts: () => Pick<PoolFacts, 'provider' | 'alive' | 'slots'>): void {
  /** Processor time of each host that the counter has. */
  const counted: number[] = [];
  metrics.onScrape(() => {
    const { provider, alive, slots } = facts();
    metrics.hosts.set({ provider }, alive);
    for (const [host, { rss, cpuMs, device }] of slots.entries()) {
      metrics.hostRss.set({ host: String(host) }, rss);
      const place = { host: String(host), device: choosesDevice(provider) ? String(device) : '' };
      metrics.hostCpuSeconds.inc(place, (cpuMs - (counted[host] ?? 0)) / 1000);
      counted[host] = cpuMs;
    }
    if (!choosesDevice(provider)) return;
    for (const [device, there] of Map.groupBy(slots, (slot) => slot.device))
      metrics.deviceHosts.set({ device: String(device) }, there.filter((slot) => slot.alive).length);
  });
}

/** Reads at each scrape how long a request that arrives now would wait. */
export function watchScheduler(metrics: Metrics, scheduler: Pick<Scheduler<never>, 'predictedWaitMs'>): void {
  metrics.onScrape(() => {
    for (const lane of LANES) metrics.predictedWait.set({ lane }, scheduler.predictedWaitMs('', lane, 0) / 1000);
  });
}

/** Reads at each scrape how many versions are refused. */
export function watchRegistry(metrics: Metrics, registry: Pick<ModelRegistry, 'list'>): void {
  metrics.onScrape(() => {
    const versions = registry.list();
    metrics.refusedVersions.set(versions.filter(({ state }) => state === 'refused').length);
    for (const { name, version } of versions) {
      metrics.admissionsRefused.inc({ model: name, version }, 0);
      metrics.modelLoads.inc({ model: name, version }, 0);
    }
  });
}

/** Reads the counts of a cache at each scrape. */
export function watchCache(
  metrics: Metrics,
  cache: string,
  stats: () => { readonly hits: number; readonly misses: number; readonly bytes: number },
): void {
  let [hits, misses] = [0, 0];
  metrics.onScrape(() => {
    const now = stats();
    metrics.cacheHits.inc({ cache }, now.hits - hits);
    metrics.cacheMisses.inc({ cache }, now.misses - misses);
    metrics.cacheBytes.set({ cache }, now.bytes);
    ({ hits, misses } = now);
  });
}

/** Sets the facts of the process, and reads its readiness at each scrape. */
export function watchProcess(
  metrics: Metrics,
  { version, provider }: { readonly version: string; readonly provider: string },
  ready: () => boolean,
): void {
  metrics.info.set({ version, node: process.version, provider }, 1);
  for (const what of ['keys', 'settings'])
    for (const result of ['applied', 'failed']) metrics.reloads.inc({ what, result }, 0);
  metrics.onScrape(() => metrics.ready.set(ready() ? 1 : 0));
}
