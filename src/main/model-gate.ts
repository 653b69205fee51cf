import type { Config } from '../config/config.ts';
import type { ModelGate, ScoreRequest, ScoreResult, SuiteModel } from '../evaluation/suites/ports.ts';
import { readManifest } from '../registry/manifest.ts';
import { createScorer, type Scorer } from '../rerank/scorer.ts';
import { createLogger } from '../telemetry/logger.ts';
import { createMetrics } from '../telemetry/metrics.ts';
import { Closers } from './closers.ts';
import { type Engine, openEngine } from './stack.ts';

interface Opened {
  readonly engine: Engine;
  readonly scorer: Scorer;
}

/** The engine behind a suite: tokenizers, scheduler and hosts as the server's, no score cache, nobody watching the folder. */
async function openOne(config: Config, closers: Closers): Promise<Opened> {
  const metrics = createMetrics();
  closers.add(() => metrics.close());
  const quiet = { ...config, registry: { ...config.registry, watch: false } };
  const engine = await openEngine(quiet, { metrics, logger: createLogger('warn') });
  closers.add(() => engine.close());
  const { registry, tokenizers, scheduler } = engine;
  return { engine, scorer: createScorer({ registry, tokenizers, scheduler, settings: config.tokenization }) };
}

async function factsOf({ engine }: Opened, reference: string): Promise<SuiteModel> {
  const lease = await engine.registry.acquire(reference);
  try {
    const { key, sha256, variant, provider, folder } = lease.version;
    const { training } = await readManifest(folder).catch(() => ({ training: undefined }));
    return { key, sha256, variant, provider, training };
  } finally {
    lease.release();
  }
}

async function* scores(
  { scorer }: Opened,
  reference: string,
  requests: AsyncIterable<ScoreRequest>,
): AsyncGenerator<ScoreResult> {
  for await (const { input, scores: values, tokens, truncated } of scorer.score(requests, { model: reference }))
    yield { qid: input.qid, scores: values, tokens, truncated: truncated.filter(Boolean).length };
}

/**
 * Models of the registry for a suite. An engine is opened for each variant that is asked for, when it is.
 *
 * @param configFor settings with which a variant is served.
 */
export function openModelGate(configFor: (variant: string) => Config): ModelGate & { close(): Promise<void> } {
  const closers = new Closers();
  const engines = new Map<string, Promise<Opened>>();
  const engineOf = (variant: string): Promise<Opened> => {
    const known = engines.get(variant) ?? openOne(configFor(variant), closers);
    engines.set(variant, known);
    return known;
  };
  return {
    open: async (reference, variant) => factsOf(await engineOf(variant), reference),
    async *score(reference, variant, requests) {
      yield* scores(await engineOf(variant), reference, requests);
    },
    close: () => closers.close(),
  };
}
