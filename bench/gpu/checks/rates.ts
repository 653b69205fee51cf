import { createSession } from '../../../src/inference/providers.ts';
import { feedsOf, randomRows } from '../batches.ts';
import {
  awaitModel,
  type BenchModel,
  benchModel,
  type Form,
  fileOf,
  formsOf,
  LARGER,
  type Precision,
} from '../bench-models.ts';
import { batchTokens, type Context, PAIR_TOKENS } from '../context.ts';
import { attempt, report } from '../findings.ts';
import type { Check } from './check.ts';

const WARM_UP = 2;
const LEAST_RUNS = 3;
const MODEL_WAIT_MS = 120_000;

/** Runs a batch again and again for some seconds. @returns pairs a second. */
async function rateOf(file: string, model: BenchModel, tokens: number, context: Context): Promise<number> {
  const { provider, seconds, threads } = context;
  const session = await createSession(file, {
    provider,
    threads: provider === 'cpu' ? threads : 1,
    memoryPattern: false,
  });
  try {
    const count = Math.max(1, Math.floor(tokens / PAIR_TOKENS));
    const feeds = feedsOf(
      randomRows(count, () => PAIR_TOKENS, model.vocabulary),
      session.inputNames,
    );
    for (let i = 0; i < WARM_UP; i++) await session.run(feeds);
    const begin = performance.now();
    let runs = 0;
    while (runs < LEAST_RUNS || performance.now() - begin < 1000 * seconds) {
      await session.run(feeds);
      runs++;
    }
    return (1000 * runs * count) / (performance.now() - begin);
  } finally {
    await session.release();
  }
}

type Shape = readonly [precision: Precision, form: Form];

/** Measures files of a model at sizes of batches. */
async function measure(model: BenchModel, shapes: readonly Shape[], context: Context, sizes: readonly number[]) {
  for (const tokens of sizes)
    for (const [precision, form] of shapes) {
      const what = `${model.name} ${precision}, attention ${form}, batches of ${tokens} tokens`;
      await attempt(what, async () => {
        const value = await rateOf(fileOf(model, precision, form), model, tokens, context);
        report({ what, status: 'measured', value, unit: 'pairs/s' });
      });
    }
}

/** MiniLM-L6 at every size of batch. */
export const engine: Check = {
  name: 'engine',
  question: 'How many pairs of 128 tokens a second does MiniLM-L6 score in the engine alone?',
  seconds: 110,
  async run(context) {
    const model = await benchModel('minilm-l6', context);
    const sizes = batchTokens(context);
    const forms = formsOf(context.provider);
    const every = (precision: Precision): Shape[] => forms.map((form) => [precision, form]);
    // The software Vulkan driver of a dry run has no float16.
    if (context.small && context.provider === 'webgpu')
      return measure(model, every('fp32'), context, sizes.slice(0, 1));
    await measure(model, every('fp16'), context, sizes.slice(0, 1));
    await measure(model, every('fp32'), context, sizes.slice(0, 1));
    await measure(model, every('fp16'), context, sizes.slice(1, 2));
    await measure(
      model,
      [
        ['fp16', forms[0]!],
        ['fp32', forms[0]!],
      ],
      context,
      sizes.slice(1),
    );
  },
};

/** Makes the larger models while other checks run. */
export const models: Check = {
  name: 'models',
  question: 'Which models were made on the spot?',
  seconds: 240,
  async run(context) {
    for (const name of LARGER)
      await attempt(name, async () => {
        const begin = performance.now();
        await benchModel(name, context);
        report({ what: name, status: 'measured', value: (performance.now() - begin) / 1000, unit: 's to make' });
      });
  },
};

/** The larger models, by name and precision. */
export const larger: Check = {
  name: 'larger',
  question: 'How many pairs of 128 tokens a second do larger models score in the engine alone?',
  seconds: 150,
  async run(context) {
    const sizes = batchTokens(context);
    const [first = 'plain'] = formsOf(context.provider);
    for (const [shapes, tokens] of [
      [
        [
          ['fp16', first],
          ['fp16', 'plain'],
        ],
        sizes.slice(0, 1),
      ],
      [[['fp32', first]], sizes.slice(0, 1)],
      [[['fp16', first]], sizes.slice(1)],
      [[['fp32', first]], sizes.slice(1)],
    ] satisfies [Shape[], readonly number[]][])
      for (const name of LARGER)
        await attempt(name, async () => {
          const model = await awaitModel(name, context, MODEL_WAIT_MS);
          await measure(model, shapes, context, tokens);
        });
  },
};
