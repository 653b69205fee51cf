import type { Config } from '../config/config-schema.ts';
import { createPassageCache } from '../passages/passage-cache.ts';
import type { PassageCache, PassageModel } from '../passages/passage-types.ts';
import type { RegistryObserver, ServedVersion } from '../registry/registry-types.ts';
import type { PassageSharing } from '../rerank/kept-passages.ts';
import type { Metrics } from '../telemetry/instruments.ts';
import type { Logger } from '../telemetry/logger.ts';
import { watchCache } from './watch.ts';

/** The passage cache of a server. */
export interface Passages {
  /** Undefined where the cache is off. */
  readonly sharing: PassageSharing | undefined;
  /** Frees the entries of versions that are unloaded. */
  readonly observer: Required<Pick<RegistryObserver, 'onLoaded' | 'onUnloaded'>>;
}

const modelOf = ({ name, version, sha256, variant, provider }: ServedVersion): PassageModel => ({
  name,
  version,
  sha256,
  variant,
  provider,
});

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

/**
 * Opens the passage cache, unless it is off, and frees the entries of a version when no copy of its file is in memory any more.
 * @param bytes The most memory of the cache; 0: there is none.
 */
export function openPassages(
  { cache: { shared }, auth }: Pick<Config, 'cache' | 'auth'>,
  bytes: number,
  { metrics, logger }: { readonly metrics: Metrics; readonly logger: Pick<Logger, 'warn'> },
): Passages {
  if (shared && auth.keysFile === undefined)
    logger.warn({ setting: 'cache.shared' }, 'no effect: without auth.keysFile all requests share entries');
  if (bytes === 0) return { sharing: undefined, observer: { onLoaded: () => {}, onUnloaded: () => {} } };
  const cache = createPassageCache({ bytes });
  watchPassages(metrics, cache);
  // A version that is loaded again is in memory twice until the old copy has finished its work.
  const copies = new Map<string, number>();
  const count = (version: ServedVersion, change: number): number => {
    const key = JSON.stringify(modelOf(version));
    const now = (copies.get(key) ?? 0) + change;
    if (now > 0) copies.set(key, now);
    else copies.delete(key);
    return now;
  };
  return {
    sharing: { cache, shared },
    observer: {
      onLoaded({ version }) {
        count(version, 1);
        if (version.encoder) startCounters(metrics, { model: version.name, version: version.version });
      },
      onUnloaded({ version }) {
        if (count(version, -1) > 0) return;
        cache.clear(modelOf(version), 'unloaded').catch((error: unknown) => {
          logger.warn({ err: error, model: version.key }, 'kept passages of a version were not freed');
        });
      },
    },
  };
}
