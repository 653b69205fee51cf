import { join } from 'node:path';
import type { Config } from '../config/config-schema.ts';
import { consoleApi, consolePage } from '../console/router.ts';
import type { ConsoleSources, Distribution, LoadFacts, PlaygroundAnswer } from '../console/types.ts';
import type { Extension } from '../http/ports.ts';
import { versionsOf } from '../http/routes/models.ts';
import { unknownVersion } from '../registry/unknown-names.ts';
import type { RerankAnswer } from '../rerank/rerank-types.ts';
import type { Metrics } from '../telemetry/instruments.ts';
import type { Stack } from './stack.ts';

interface Samples {
  readonly values: readonly {
    readonly value: number;
    readonly metricName?: string;
    readonly labels: Readonly<Record<string, unknown>>;
  }[];
}

interface Readable {
  get(): Promise<Samples>;
}

/** Adds up a counter over its labels. */
async function total(counter: Readable): Promise<number> {
  return (await counter.get()).values.reduce((sum, { value }) => sum + value, 0);
}

/** Adds up a histogram over its labels. Prometheus' buckets count everything below their bound, these only what lies between bounds. */
async function distribution(histogram: Readable): Promise<Distribution> {
  const upTo = new Map<number, number>();
  let sum = 0;
  for (const { value, metricName = '', labels } of (await histogram.get()).values) {
    const bound = labels.le === '+Inf' ? Number.POSITIVE_INFINITY : Number(labels.le);
    if (metricName.endsWith('_bucket')) upTo.set(bound, (upTo.get(bound) ?? 0) + value);
    else if (metricName.endsWith('_sum')) sum += value;
  }
  const buckets = [...upTo].toSorted(([a], [b]) => a - b);
  const counts = buckets.map(([, count], i) => count - (buckets[i - 1]?.[1] ?? 0));
  return { bounds: buckets.map(([bound]) => bound).filter(Number.isFinite), counts, sum };
}

async function loadFacts({ pool, scheduler, passages }: Stack, metrics: Metrics): Promise<LoadFacts> {
  const { provider, alive, slots, restarts, recycles } = pool.facts();
  const [rows, latency] = await Promise.all([distribution(metrics.batchRows), distribution(metrics.requestSeconds)]);
  const memory = process.memoryUsage();
  const kept = passages?.cache.stats();
  const sumOf = (field: 'hits' | 'misses') => kept?.models.reduce((sum, one) => sum + one[field], 0) ?? 0;
  return {
    at: Date.now(),
    queue: scheduler.queued(),
    inFlight: await total(metrics.requestsInFlight),
    requests: await total(metrics.requests),
    errors: await total(metrics.errors),
    pairs: await total(metrics.pairs),
    shedRows: await total(metrics.shedRows),
    batches: rows.counts.reduce((sum, count) => sum + count, 0),
    batchRows: rows.sum,
    tokens: await total(metrics.tokens),
    paddingTokens: await total(metrics.paddingTokens),
    latency,
    queueWait: await distribution(metrics.queueSeconds),
    hosts: { provider, alive, rss: slots.map(({ rss }) => rss), restarts, recycles },
    passages: {
      hits: sumOf('hits'),
      misses: sumOf('misses'),
      entries: kept?.entries ?? 0,
      bytes: kept?.bytes ?? 0,
    },
    process: { rss: memory.rss, heapUsed: memory.heapUsed },
  };
}

function playgroundAnswer(answer: RerankAnswer): PlaygroundAnswer {
  const { model, version, ranking, truncated, queryCut, tokens, timings } = answer;
  const items = ranking.map(({ index, score, relevanceScore }) => ({
    index,
    score,
    relevanceScore,
    truncated: truncated[index] ?? false,
  }));
  return { model, version, ranking: items, tokens, queryCut, timings };
}

function folderOf({ registry }: Stack, root: string, model: string, version: string): string {
  const versions = versionsOf(registry, model).map((status) => status.version);
  if (!versions.includes(version)) throw unknownVersion(model, versions, version);
  return join(root, model, version);
}

interface ConsoleParts {
  readonly config: Config;
  readonly stack: Stack;
  readonly metrics: Metrics;
  readonly version: string;
  readonly keyed: boolean;
}

function consoleSources({ config, stack, metrics, version, keyed }: ConsoleParts): ConsoleSources {
  const { registry, reranker, pool } = stack;
  const startedAt = Date.now();
  return {
    keyed,
    session: () => {
      const { defaultModel } = registry;
      return {
        version,
        provider: pool.provider,
        hosts: pool.size,
        startedAt,
        ...(defaultModel ? { defaultModel } : {}),
      };
    },
    load: () => loadFacts(stack, metrics),
    folderOf: (model, wanted) => folderOf(stack, config.registry.folder, model, wanted),
    async rerank({ model, ...request }) {
      // Requests for an exact version are outside all experiments, so that trials here do not count.
      const lease = await registry.acquire(model);
      try {
        const deadlineMs = config.server.requestTimeoutMs;
        const exact = {
          ...request,
          model: lease.version.key,
          truncate: true,
          lane: 'interactive',
          deadlineMs,
        } as const;
        return playgroundAnswer(await reranker.rerank(exact));
      } finally {
        lease.release();
      }
    },
  };
}

/** Returns the console at /console: its page is public, its data is for admins. */
export function consoleExtensions(parts: ConsoleParts): readonly Extension[] {
  const sources = consoleSources(parts);
  return [
    { path: '/console/api', access: 'admin', router: consoleApi(sources) },
    { path: '/console', access: 'public', router: consolePage(sources), json: false },
  ];
}
