import type { Config } from '../config/config-schema.ts';
import type { ServedVersion } from '../registry/registry-types.ts';
import { createScorer } from '../rerank/scorer.ts';
import { createMetrics } from '../telemetry/instruments.ts';
import { createLogger } from '../telemetry/logger.ts';
import type { IdentifiedList } from '../training/data/list-types.ts';
import { openStack } from './stack.ts';

/** A list with the logits of its passages, and the version that gave them. */
interface ScoredByVersion {
  readonly list: IdentifiedList;
  readonly scores: Float32Array;
  readonly version: ServedVersion;
}

/**
 * Scores lists by a model of the registry folder as it is served, in the server's batch lane.
 * @param reference `model`, `model@version` or `model:label`.
 * @throws WinnowError of registry, tokenizer and scheduler.
 */
export async function* scoreByVersion(
  config: Config,
  reference: string,
  lists: AsyncIterable<IdentifiedList>,
): AsyncGenerator<ScoredByVersion> {
  const metrics = createMetrics();
  const stack = await openStack(config, { metrics, logger: createLogger(config.telemetry.logLevel) });
  try {
    const { registry, tokenizers, scheduler, passages } = stack;
    const scorer = createScorer({ registry, tokenizers, scheduler, passages, settings: config.tokenization });
    for await (const { input, scores, version } of scorer.score(lists, { model: reference }))
      yield { list: input, scores, version };
  } finally {
    await stack.closePrefetched();
    await stack.close();
    metrics.close();
  }
}
