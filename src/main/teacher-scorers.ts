import type { Config } from '../config/config-schema.ts';
import { type PairSettings, pairOptions } from '../rerank/pair-settings.ts';
import { createScorer, type Scorer } from '../rerank/scorer.ts';
import { createMetrics } from '../telemetry/instruments.ts';
import { createLogger } from '../telemetry/logger.ts';
import type { IdentifiedList } from '../training/data/list-types.ts';
import { type BiEncoderOptions, openBiEncoder } from '../training/teachers/bi-encoder.ts';
import type { ListScorer } from '../training/teachers/score-job.ts';
import { openStack, type Stack } from './stack.ts';

type Provider = Config['inference']['provider'];

interface Teachers {
  /** Models of the registry folder. */
  readonly models: readonly string[];
  /** Folders of sentence encoders. */
  readonly biEncoders: readonly string[];
  /** How all sentence encoders read texts. */
  readonly sides: Omit<BiEncoderOptions, 'provider' | 'threads'>;
  /** Provider of bi-encoders; `auto` leaves it to their default. */
  readonly provider?: Provider | undefined;
  /** What models with a template look for, in place of the template's own instruction. */
  readonly instruction?: string | undefined;
  /** Receives each teacher that does not read the instruction. */
  readonly onIgnored?: (name: string) => void;
}

/** Makes the scorer of a registry model. It names the version, so that a job is not resumed with another one. */
async function modelScorer(
  { registry }: Stack,
  scorer: Scorer,
  reference: string,
  settings: PairSettings,
  { instruction, onIgnored }: Teachers,
): Promise<ListScorer> {
  const lease = await registry.acquire(reference);
  const { name, version, variant } = lease.version;
  const asked = instruction === undefined ? {} : { instruction };
  const pairs = pairOptions({ truncate: true, ...asked }, lease.version, settings);
  lease.release();
  const model = `${name}@${version}`;
  if (instruction !== undefined && pairs.instruction === undefined) onIgnored?.(model);
  return {
    name: `model ${model} ${variant}`,
    pairs,
    score: (lists: AsyncIterable<IdentifiedList>) => scorer.score(lists, { model, ...asked }),
  };
}

/** Opens scorers of registry models on one stack: they use the server's batch lane. */
async function* modelScorers(config: Config, teachers: Teachers): AsyncGenerator<ListScorer> {
  const metrics = createMetrics();
  const stack = await openStack(config, { metrics, logger: createLogger(config.telemetry.logLevel) });
  try {
    const { registry, tokenizers, scheduler, passages } = stack;
    const scorer = createScorer({ registry, tokenizers, scheduler, passages, settings: config.tokenization });
    for (const model of teachers.models) yield await modelScorer(stack, scorer, model, config.tokenization, teachers);
  } finally {
    await stack.closePrefetched();
    await stack.close();
    metrics.close();
  }
}

/**
 * Opens the teachers of a score job one after another; the models' stack is closed before the first sentence encoder is opened.
 * @param config is called only if there are models.
 */
export async function* openTeachers(config: () => Config, teachers: Teachers): AsyncGenerator<ListScorer> {
  const { models, biEncoders, sides, provider, instruction, onIgnored } = teachers;
  if (models.length > 0) yield* modelScorers(config(), teachers);
  for (const folder of biEncoders) {
    if (instruction !== undefined) onIgnored?.(folder);
    const named = provider === undefined || provider === 'auto' ? {} : { provider };
    const encoder = await openBiEncoder(folder, { ...sides, ...named });
    try {
      yield encoder;
    } finally {
      await encoder.close();
    }
  }
}
