import type { Config } from '../config/config-schema.ts';
import type {
  PruneSpec,
  ScoreRequest,
  ScoreResult,
  SuiteModel,
  SuiteModels,
} from '../evaluation/suites/suite-models.ts';
import { readManifest } from '../registry/manifest.ts';
import type { ServedVersion } from '../registry/registry-types.ts';
import { pairOptions } from '../rerank/pair-settings.ts';
import { createScorer, type Scorer } from '../rerank/scorer.ts';
import { createMetrics } from '../telemetry/instruments.ts';
import { createLogger } from '../telemetry/logger.ts';
import type { PairOptions } from '../tokenization/tokenization-types.ts';
import { closeAll } from './close-all.ts';
import { openStack, type Stack } from './stack.ts';

interface Use {
  /** What models with a template look for, in place of the template's own instruction. */
  readonly instruction?: string | undefined;
  /** Receives each model that does not read the instruction. */
  readonly onIgnored?: (key: string) => void;
}

const asked = ({ instruction }: Use) => (instruction === undefined ? {} : { instruction });

interface OpenVariant {
  readonly stack: Stack;
  readonly scorer: Scorer;
  readonly pairsOf: (version: ServedVersion) => PairOptions;
}

/** Opens a stack for a suite: tokenizers, scheduler and hosts as the server has them, without caches of scores and passages and folder watch: times are those of the models. */
async function openVariant(config: Config, cleanup: AsyncDisposableStack, use: Use): Promise<OpenVariant> {
  const metrics = createMetrics();
  cleanup.defer(() => metrics.close());
  const plain = {
    ...config,
    registry: { ...config.registry, watch: false },
    cache: { ...config.cache, passageBytes: 0 },
  };
  const stack = await openStack(plain, { metrics, logger: createLogger('warn') });
  cleanup.defer(() => stack.close());
  const { registry, tokenizers, scheduler } = stack;
  const { tokenization: settings } = config;
  return {
    stack,
    scorer: createScorer({ registry, tokenizers, scheduler, settings }),
    pairsOf: (version) => pairOptions({ truncate: true, ...asked(use) }, version, settings),
  };
}

async function factsOf({ stack, pairsOf }: OpenVariant, reference: string, use: Use): Promise<SuiteModel> {
  const lease = await stack.registry.acquire(reference);
  try {
    const { key, sha256, variant, provider, folder } = lease.version;
    const { training, pruning } = await readManifest(folder).catch(() => ({ training: undefined, pruning: undefined }));
    const pairs = pairsOf(lease.version);
    if (use.instruction !== undefined && pairs.instruction === undefined) use.onIgnored?.(key);
    const calibrated = lease.version.pruning && pruning ? { pruning } : {};
    return { key, sha256, variant, provider, pairs, training, ...calibrated };
  } finally {
    lease.release();
  }
}

async function* scores(
  { scorer }: OpenVariant,
  reference: string,
  requests: AsyncIterable<ScoreRequest>,
  use: Use,
  prune: PruneSpec | undefined,
): AsyncGenerator<ScoreResult> {
  const pruning = prune === undefined ? {} : { topN: prune.topN, prune: { recall: prune.recall } };
  for await (const scored of scorer.score(requests, { model: reference, ...pruning, ...asked(use) })) {
    const { input, scores: values, tokens, truncated, queryCut, pruned } = scored;
    yield { qid: input.qid, scores: values, tokens, truncated: truncated.filter(Boolean).length, queryCut, pruned };
  }
}

/**
 * Serves models of the registry to a suite. The stack of a variant opens on its first use.
 *
 * @param configFor returns the settings with which a variant is served.
 */
export function openSuiteModels(
  configFor: (variant: string) => Config,
  use: Use = {},
): SuiteModels & { close(): Promise<void> } {
  const cleanup = new AsyncDisposableStack();
  const stacks = new Map<string, Promise<OpenVariant>>();
  const stackOf = (variant: string): Promise<OpenVariant> => {
    const known = stacks.get(variant) ?? openVariant(configFor(variant), cleanup, use);
    stacks.set(variant, known);
    return known;
  };
  return {
    open: async (reference, variant) => factsOf(await stackOf(variant), reference, use),
    async *score(reference, variant, requests, prune) {
      yield* scores(await stackOf(variant), reference, requests, use, prune);
    },
    close: () => closeAll(cleanup),
  };
}
