import type { Config } from '../config/config-schema.ts';
import { createPassageCache } from '../passages/passage-cache.ts';
import type { PassageDisk } from '../passages/passage-disk.ts';
import type { PassageCache } from '../passages/passage-types.ts';
import type { RegistryObserver, ServedVersion } from '../registry/registry-types.ts';
import { type PassageSharing, versionFile } from '../rerank/kept-passages.ts';
import type { Metrics } from '../telemetry/instruments.ts';
import type { Logger } from '../telemetry/logger.ts';
import { openPassageDisk } from './open-passage-disk.ts';
import { watchCache } from './watch.ts';

/** The passage cache of a server. */
export interface Passages {
  /** Undefined where the cache is off. */
  readonly sharing: PassageSharing | undefined;
  /** The file that keeps them as well, where there is one. */
  readonly disk: PassageDisk | undefined;
  /** Frees the entries of versions that are unloaded, and brings back those of versions that are loaded. */
  readonly observer: Required<Pick<RegistryObserver, 'onLoaded' | 'onUnloaded'>>;
  /** Resolves when what the file has of the loaded versions is in memory. Never rejects. */
  loaded(): Promise<void>;
  /** Closes the file. Never rejects. */
  close(): Promise<void>;
}

const OFF: Passages = {
  sharing: undefined,
  disk: undefined,
  observer: { onLoaded: () => {}, onUnloaded: () => {} },
  loaded: async () => {},
  close: async () => {},
};

type Labels = Readonly<Record<'model' | 'version', string>>;

/** Returns the counters of versions, by what they count. */
const countersOf = (metrics: Metrics) => ({
  hits: metrics.passageHits,
  misses: metrics.passageMisses,
  evictions: metrics.passageEvictions,
  encodeMs: metrics.passageEncodeSeconds,
});
const COUNTED = ['hits', 'misses', 'evictions', 'encodeMs'] as const;

/** Adds up the counts of the files that a version was loaded from. */
function byVersion(cache: PassageCache) {
  const versions = Map.groupBy(cache.stats().models, ({ model: { name, version } }) => `${name}@${version}`);
  return [...versions].map(([key, counts]) => {
    const { name, version } = counts[0]!.model;
    const sum = (field: (typeof COUNTED)[number] | 'entries' | 'bytes') =>
      counts.reduce((total, one) => total + one[field], 0);
    return { key, labels: { model: name, version } satisfies Labels, sum };
  });
}

/** Starts the counters of a version, so that its first event is an increase. */
function startCounters(metrics: Metrics, labels: Labels): void {
  for (const counter of Object.values(countersOf(metrics))) counter.inc(labels, 0);
}

/** Reads the counts of the passage cache at each scrape. */
function watchPassages(metrics: Metrics, cache: PassageCache): void {
  watchCache(metrics, 'passages', () => {
    const { bytes, models } = cache.stats();
    const sum = (field: 'hits' | 'misses') => models.reduce((total, one) => total + one[field], 0);
    return { bytes, hits: sum('hits'), misses: sum('misses') };
  });
  const counters = countersOf(metrics);
  /** What the counters have, by version. */
  const counted = new Map<string, number>();
  metrics.onScrape(() => {
    for (const { key, labels, sum } of byVersion(cache)) {
      metrics.passageEntries.set(labels, sum('entries'));
      metrics.passageBytes.set(labels, sum('bytes'));
      for (const field of COUNTED) {
        const now = sum(field) / (field === 'encodeMs' ? 1000 : 1);
        counters[field].inc(labels, now - (counted.get(`${field} ${key}`) ?? 0));
        counted.set(`${field} ${key}`, now);
      }
    }
  });
}

/** Brings back what the file has of versions as they are loaded. */
function restorer(cache: PassageCache, disk: PassageDisk | undefined, logger: Pick<Logger, 'info'>) {
  const pending = new Set<Promise<void>>();
  return {
    restore(version: ServedVersion): void {
      if (!disk) return;
      const work = disk.load(cache, versionFile(version)).then((entries) => {
        pending.delete(work);
        if (entries > 0) logger.info({ model: version.key, entries }, 'kept passages: read from the file');
      });
      pending.add(work);
    },
    loaded: async () => void (await Promise.all(pending)),
  };
}

/**
 * Opens the passage cache and its file, unless it is off, and frees the entries of a version when no copy of its file is in memory any more.
 * @param bytes The most memory of the cache; 0: there is none.
 * @throws WinnowError `in_use`, `invalid_input` for the file.
 */
export async function openPassages(
  { cache: { shared, passageFile }, auth }: Pick<Config, 'cache' | 'auth'>,
  bytes: number,
  deps: { readonly metrics: Metrics; readonly logger: Pick<Logger, 'info' | 'warn' | 'error'> },
): Promise<Passages> {
  const { metrics, logger } = deps;
  if (shared && auth.keysFile === undefined)
    logger.warn({ setting: 'cache.shared' }, 'no effect: without auth.keysFile all requests share entries');
  if (bytes === 0) return OFF;
  const disk = passageFile === undefined ? undefined : await openPassageDisk(passageFile, bytes, deps);
  const cache = createPassageCache({ bytes, ...(disk && { observer: disk.observer }) });
  const { restore, loaded } = restorer(cache, disk, logger);
  watchPassages(metrics, cache);
  // A version that is loaded again is in memory twice until the old copy has finished its work.
  const copies = new Map<string, number>();
  const count = (version: ServedVersion, change: number): number => {
    const key = JSON.stringify(versionFile(version));
    const now = (copies.get(key) ?? 0) + change;
    if (now > 0) copies.set(key, now);
    else copies.delete(key);
    return now;
  };
  return {
    sharing: { cache, shared },
    disk,
    loaded,
    close: async () => disk?.close(),
    observer: {
      onLoaded({ version }) {
        count(version, 1);
        if (version.encoder) startCounters(metrics, { model: version.name, version: version.version });
        restore(version);
      },
      onUnloaded({ version }) {
        if (count(version, -1) > 0) return;
        cache.clear(versionFile(version), 'unloaded').catch((error: unknown) => {
          logger.warn({ err: error, model: version.key }, 'kept passages of a version were not freed');
        });
      },
    },
  };
}
