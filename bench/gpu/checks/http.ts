import { createRandom } from '../../../src/util/random.ts';
import { createLoadClient } from '../../load/client.ts';
import { summarize } from '../../load/figures.ts';
import { closedLoop } from '../../load/loops.ts';
import type { LoadRequest } from '../../load/requests.ts';
import { startServerProcess } from '../../load/server.ts';
import { awaitModel, type BenchModel, benchModel, type ModelName, type Precision } from '../bench-models.ts';
import { type Context, PAIR_TOKENS } from '../context.ts';
import { attempt, report } from '../findings.ts';
import type { Check } from './check.ts';

const PASSAGES = 100;
const QUERY_WORDS = 8;
/** Special tokens of a pair. */
const SPECIAL = 3;
const WORDS =
  'river copper harvest tariff glacier printer orchard senate winter little noise first time flood third north long day'.split(
    ' ',
  );

/** Yields requests whose pairs have 128 tokens: every word is one token of BERT's vocabulary. No passage comes twice. */
function* requests(seed: number): Generator<LoadRequest, never> {
  const random = createRandom(seed);
  const words = (count: number) => Array.from({ length: count }, () => WORDS[random.below(WORDS.length)]!).join(' ');
  for (;;)
    yield {
      query: words(QUERY_WORDS),
      passages: Array.from({ length: PASSAGES }, () => words(PAIR_TOKENS - QUERY_WORDS - SPECIAL)),
    };
}

/** Settings of a server on a card, as in k8s/overlays/cuda. */
const settingsOf = ({ provider, small }: Context, tokens: number): readonly string[] => [
  ...['--provider', provider, '--score-cache-bytes', '0', '--tokenization-cache-bytes', '0'],
  ...['--scheduling-batch-tokens', String(tokens), '--scheduling-batch-rows', small ? '64' : '1024'],
  ...['--scheduling-max-wait-ms', '600000', '--inference-max-rss-bytes', '0'],
];

async function measure(model: BenchModel, precision: Precision, tokens: number, concurrency: number, context: Context) {
  const what = `${model.name} ${precision}, batches of ${tokens} tokens, ${concurrency} clients × ${PASSAGES} passages`;
  await attempt(what, async () => {
    const flags = ['--model', model.folder, '--registry-variant', precision, ...settingsOf(context, tokens)];
    const server = await startServerProcess({
      flags,
      env: { WINNOW_MODELS: '', XDG_CACHE_HOME: `${model.folder}-cache`, WINNOW_LOG_LEVEL: 'warn' },
    });
    const client = createLoadClient(server.url);
    try {
      const stream = requests(1);
      const load = (seconds: number) => {
        const end = performance.now() + 1000 * seconds;
        return closedLoop(client, stream, { concurrency, deadlineMs: 600_000, until: () => performance.now() > end });
      };
      await load(context.seconds);
      const found = summarize(await load(3 * context.seconds));
      const detail = `p50 ${found.p50.toFixed(0)} ms, p99 ${found.p99.toFixed(0)} ms, ${found.failed} failed${found.firstError ? ` (${found.firstError})` : ''}, ${found.refused} refused`;
      const status = found.failed + found.refused > 0 ? 'wrong' : 'measured';
      report({ what, status, value: found.pairsPerSecond, unit: 'pairs/s', detail });
    } finally {
      client.close();
      await server.stop();
    }
  });
}

/** MiniLM-L6 through HTTP, on a server of its own process. */
export const http: Check = {
  name: 'http',
  question: 'How many pairs of 128 tokens a second does MiniLM-L6 score through HTTP?',
  seconds: 110,
  async run(context) {
    const model = await benchModel('minilm-l6', context);
    if (context.small) return measure(model, 'fp32', 1024, 2, context);
    await measure(model, 'fp16', 32_768, 32, context);
    await measure(model, 'fp16', 16_384, 32, context);
    await measure(model, 'fp16', 65_536, 64, context);
    await measure(model, 'fp32', 32_768, 32, context);
  },
};

const OTHERS: readonly ModelName[] = ['minilm-l12', 'bert-base', 'modernbert-base'];

/** Larger models through HTTP. */
export const httpLarger: Check = {
  name: 'http-larger',
  question: 'How many pairs of 128 tokens a second do larger models score through HTTP?',
  seconds: 90,
  async run(context) {
    for (const name of OTHERS)
      await attempt(name, async () => {
        const model = await awaitModel(name, context, 60_000);
        await measure(
          model,
          context.small ? 'fp32' : 'fp16',
          context.small ? 1024 : 32_768,
          context.small ? 2 : 32,
          context,
        );
      });
  },
};
