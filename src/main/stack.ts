import { join } from 'node:path';
import type { Config } from '../config/config-schema.ts';
import type { ExperimentsApi } from '../experiments/experiments-api.ts';
import { cpuBudget } from '../inference/cgroup.ts';
import { deviceOf } from '../inference/host-layout.ts';
import type { SupervisedPool } from '../inference/host-pool.ts';
import { createGraphRewriter } from '../inference/rewrite/graph-rewriter.ts';
import { DEFAULT_LIMITS } from '../registry/folder-files.ts';
import { createRegistry, type FolderRegistry } from '../registry/folder-registry.ts';
import { createPassagesApi } from '../rerank/create-passages-api.ts';
import type { PassageSharing } from '../rerank/kept-passages.ts';
import { cascadeNamed } from '../rerank/named-cascades.ts';
import type { PassagesApi } from '../rerank/passages-api.ts';
import type { Reranker } from '../rerank/rerank-types.ts';
import { createReranker } from '../rerank/reranker.ts';
import { createScoreCache } from '../rerank/score-cache.ts';
import type { ScoredRow } from '../rerank/scoring-types.ts';
import { createTokenReader, type TokenReader } from '../rerank/text-tokens.ts';
import { createScheduler } from '../scheduling/scheduler.ts';
import type { Scheduler } from '../scheduling/scheduling-types.ts';
import type { Metrics } from '../telemetry/instruments.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Tracing } from '../telemetry/tracing.ts';
import { createTokenizerPool, type TokenizerPool } from '../tokenization/tokenizer-pool.ts';
import { cacheFolder } from '../util/cache-folder.ts';
import { once } from '../util/once.ts';
import type { ReadResult } from '../util/watched-file.ts';
import { closeAll } from './close-all.ts';
import { instructionNotes, observePool, observeRegistry, observeScheduler } from './observe.ts';
import { openExperiments } from './open-experiments.ts';
import { openHostPool } from './open-host-pool.ts';
import { openPassages, type Passages } from './open-passages.ts';
import { type HostPlan, planHosts } from './plan-hosts.ts';
import { prefetchTokenizer } from './prefetch.ts';
import { watchCache, watchPool, watchRegistry, watchScheduler } from './watch.ts';

/** The parts of the service behind HTTP, connected. */
export interface Stack {
  readonly pool: SupervisedPool;
  readonly tokenizers: TokenizerPool;
  readonly tokenizerThreads: number;
  readonly registry: FolderRegistry;
  readonly scheduler: Scheduler<ScoredRow>;
  readonly reranker: Reranker;
  readonly tokenReader: TokenReader;
  /** The passage cache; undefined where it is off. */
  readonly passages: PassageSharing | undefined;
  /** What clients may do with it; undefined where it is off. */
  readonly passagesApi: PassagesApi | undefined;
  /** Resolves when what the passage file has of the loaded models is in memory. Never rejects. */
  passagesLoaded(): Promise<void>;
  readonly experiments: ExperimentsApi;
  /** Reads experiments.yaml again. Never rejects. */
  reloadExperiments(): Promise<ReadResult>;
  /** Closes what was opened ahead for a quick start; call it after the first answer. */
  closePrefetched(): Promise<void>;
  /** Finishes accepted work, then ends processes and threads. */
  close(): Promise<void>;
}

/** One thread tokenizes faster than four cores score; a GPU needs several. */
const tokenizerThreadsFor = (configured: number) => configured || Math.max(1, Math.min(8, Math.floor(cpuBudget() / 4)));

interface StackDeps {
  readonly metrics: Metrics;
  readonly logger: Logger;
  /** Records loads of models; default: none are. */
  readonly tracing?: Pick<Tracing, 'record'>;
  /** Hosts that are starting already. The caller closes them, after the stack. */
  readonly pool?: Promise<SupervisedPool>;
  /** What they are started with. */
  readonly plan?: Promise<HostPlan>;
}

function openScheduler(config: Config, pool: SupervisedPool, { metrics }: StackDeps): Scheduler<ScoredRow> {
  const { devices } = pool.facts();
  return createScheduler<ScoredRow>({
    // Two batches per host: the next one waits in its pipe while one runs.
    executor: {
      concurrency: pool.size,
      depth: 2,
      available: () => pool.facts().alive,
      execute: (key, rows, predictedMs) => pool.run(key, rows, undefined, predictedMs),
    },
    limits: config.scheduling,
    observer: observeScheduler(
      metrics,
      () => pool.provider,
      (host) => String(deviceOf(devices, host) ?? ''),
      pool.size,
    ),
  });
}

/** Returns where rewritten graphs are kept. */
const graphFolder = (): string => join(cacheFolder(process.env), 'graphs');

interface RegistryParts {
  readonly pool: SupervisedPool;
  readonly tokenizers: TokenizerPool;
  /** Room for loaded models where no setting limits it; 0: no limit. */
  readonly modelBytes: number;
  readonly passages: Passages;
}

function openRegistry(
  { registry, inference }: Config,
  { metrics, logger, tracing }: StackDeps,
  { pool, tokenizers, modelBytes, passages }: RegistryParts,
): Promise<FolderRegistry> {
  const observer = observeRegistry(metrics, logger, tracing);
  const { folder, aliases, cascades, defaultModel, memoryBytes, pinned, variant, maxModelBytes, watch, pollMs } =
    registry;
  return createRegistry({
    folder,
    aliases,
    cascades,
    defaultModel,
    memoryBytes: memoryBytes || modelBytes,
    pinned,
    variant,
    watch,
    pollMs,
    pool,
    tokenizers,
    rewriter: inference.rewrite ? createGraphRewriter({ folder: graphFolder() }) : undefined,
    limits: { ...DEFAULT_LIMITS, maxBytes: maxModelBytes },
    observer: {
      ...observer,
      onLoaded(event) {
        observer.onLoaded(event);
        passages.observer.onLoaded(event);
      },
      onUnloaded(event) {
        observer.onUnloaded(event);
        passages.observer.onUnloaded(event);
      },
    },
  });
}

/** Whether a version is in the registry folder. */
const hasVersion = (registry: FolderRegistry, { name, version }: { readonly name: string; readonly version: string }) =>
  registry.list().some((status) => status.name === name && status.version === version);

/**
 * Starts hosts (where none are given) and tokenizer threads and opens the registry. No model is loaded yet.
 * @throws WinnowError `provider_unavailable`, `host_lost`, `invalid_input`. Nothing is left running then.
 */
export async function openStack(config: Config, deps: StackDeps): Promise<Stack> {
  const { metrics, logger } = deps;
  const tokenizerThreads = tokenizerThreadsFor(config.tokenization.threads);
  const tokenizers = createTokenizerPool({ threads: tokenizerThreads, cacheBytes: config.tokenization.cacheBytes });
  const closePrefetched = once(prefetchTokenizer(config, tokenizers));
  const cleanup = new AsyncDisposableStack();
  cleanup.defer(() => tokenizers.close());
  try {
    const planned = deps.plan ?? planHosts(config, logger);
    const pool = await (deps.pool ?? openHostPool(config, logger, observePool(metrics, logger), undefined, planned));
    if (!deps.pool) cleanup.defer(() => pool.close());
    const { modelBytes, maxRssBytes, passageBytes } = await planned;
    metrics.hostMemoryLimit.set(maxRssBytes);
    const passages = await openPassages(config, passageBytes, deps);
    cleanup.defer(() => passages.close());
    const registry = await openRegistry(config, deps, { pool, tokenizers, modelBytes, passages });
    cleanup.defer(() => registry.close());
    void passages.disk?.dropUnknown((model) => hasVersion(registry, model));
    const experiments = await openExperiments(config.experiments, deps, () => registry.defaultModel);
    // Closed after the scheduler, because the last shadow rankings are still recorded.
    cleanup.defer(() => experiments.close());
    await experiments.start();
    const scheduler = openScheduler(config, pool, deps);
    cleanup.defer(() => scheduler.close());
    const scoreCache = config.scoreCache.bytes > 0 ? createScoreCache(config.scoreCache) : undefined;
    const reranker = createReranker({
      registry,
      tokenizers,
      scheduler,
      settings: config.tokenization,
      ...(scoreCache ? { scoreCache } : {}),
      passages: passages.sharing,
      cascadeOf: (name) => cascadeNamed(config.registry.cascades, name, registry.canonical(name)),
      pruneRecall: config.pruning.recall,
      experiments: experiments.hook,
      observer: {
        onHookFailure: (error, { requestId }) => logger.error({ err: error, requestId }, 'experiment failed'),
        onInstructionIgnored: instructionNotes(logger),
      },
    });
    if (scoreCache) watchCache(metrics, 'scores', () => scoreCache.stats());
    watchPool(metrics, () => pool.facts());
    metrics.onScrape(() => metrics.demand.set(scheduler.demand.ratio()));
    watchScheduler(metrics, scheduler);
    watchRegistry(metrics, registry);
    watchCache(metrics, 'tokens', () => tokenizers.stats().cache);
    const tokenReader = createTokenReader({ registry, tokenizers });
    const { sharing, disk } = passages;
    const passagesApi =
      sharing &&
      createPassagesApi({ registry, tokenizers, scheduler, settings: config.tokenization, passages: sharing, disk });
    const parts = { pool, tokenizers, tokenizerThreads, registry, scheduler, reranker, tokenReader };
    return {
      ...parts,
      passages: sharing,
      passagesApi,
      passagesLoaded: () => passages.loaded(),
      experiments: experiments.api,
      reloadExperiments: () => experiments.reload(),
      closePrefetched,
      close: () => closeAll(cleanup),
    };
  } catch (error) {
    await closeAll(cleanup);
    throw error;
  }
}
