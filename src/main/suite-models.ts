import type { Config } from '../config/config-schema.ts';
import type { ScoreRequest, ScoreResult, SuiteModel, SuiteModels } from '../evaluation/suites/suite-models.ts';
import { readManifest } from '../registry/manifest.ts';
import type { ServedVersion } from '../registry/registry-types.ts';
import { pairOptions } from '../rerank/pair-settings.ts';
import { createScorer, type Scorer } from '../rerank/scorer.ts';
import { createLogger } from '../telemetry/logger.ts';
import { createMetrics } from '../telemetry/metrics.ts';
import type { PairOptions } from '../tokenization/tokenization-types.ts';
import { closeAll } from './close-all.ts';
import { openStack, type Stack } from './stack.ts';

interface OpenVariant {
  readonly stack: Stack;
  readonly scorer: Scorer;
  readonly pairsOf: (version: ServedVersion) => PairOptions;
}

/** Opens a stack for a suite: tokenizers, scheduler and hosts as the server has them, without score cache and folder watch. */
async function openVariant(config: Config, cleanup: AsyncDisposableStack): Promise<OpenVariant> {
  const metrics = createMetrics();
  cleanup.defer(() => metrics.close());
  const unwatched = { ...config, registry: { ...config.registry, watch: false } };
  const stack = await openStack(unwatched, { metrics, logger: createLogger('warn') });
  cleanup.defer(() => stack.close());
  const { registry, tokenizers, scheduler } = stack;
  const { tokenization: settings } = config;
  return {
    stack,
    scorer: createScorer({ registry, tokenizers, scheduler, settings }),
    pairsOf: (version) => pairOptions({ truncate: true }, version, settings),
  };
}

async function factsOf({ stack, pairsOf }: OpenVariant, reference: string): Promise<SuiteModel> {
  const lease = await stack.registry.acquire(reference);
  try {
    const { key, sha256, variant, provider, folder } = lease.version;
    const { training } = await readManifest(folder).catch(() => ({ training: undefined }));
    return { key, sha256, variant, provider, pairs: pairsOf(lease.version), training };
  } finally {
    lease.release();
  }
}

async function* scores(
  { scorer }: OpenVariant,
  reference: string,
  requests: AsyncIterable<ScoreRequest>,
): AsyncGenerator<ScoreResult> {
  for await (const scored of scorer.score(requests, { model: reference })) {
    const { input, scores: values, tokens, truncated, queryCut } = scored;
    yield { qid: input.qid, scores: values, tokens, truncated: truncated.filter(Boolean).length, queryCut };
  }
}

/**
 * Serves models of the registry to a suite. The stack of a variant opens on its first use.
 *
 * @param configFor returns the settings with which a variant is served.
 */
export function openSuiteModels(configFor: (variant: string) => Config): SuiteModels & { close(): Promise<void> } {
  const cleanup = new AsyncDisposableStack();
  const stacks = new Map<string, Promise<OpenVariant>>();
  const stackOf = (variant: string): Promise<OpenVariant> => {
    const known = stacks.get(variant) ?? openVariant(configFor(variant), cleanup);
    stacks.set(variant, known);
    return known;
  };
  return {
    open: async (reference, variant) => factsOf(await stackOf(variant), reference),
    async *score(reference, variant, requests) {
      yield* scores(await stackOf(variant), reference, requests);
    },
    close: () => closeAll(cleanup),
  };
}
