import { createSession } from '../../../src/inference/providers.ts';
import { feedsOf, largestDifference, numbersOf, randomRows, rootMeanSquare } from '../batches.ts';
import { type BenchModel, benchModel, fileOf, formsOf, type Precision } from '../bench-models.ts';
import type { Context } from '../context.ts';
import { attempt, report } from '../findings.ts';
import type { Check } from './check.ts';

const ROWS = 64;

async function scoresOf(file: string, model: BenchModel, provider: Context['provider'], threads: number) {
  const session = await createSession(file, { provider, threads });
  try {
    const feeds = feedsOf(
      randomRows(ROWS, (row) => 16 + 2 * row, model.vocabulary),
      session.inputNames,
    );
    return numbersOf((await session.run(feeds)).logits!);
  } finally {
    await session.release();
  }
}

/** Compares scores of MiniLM-L6 on the card with float32 on the processor. */
async function compare(context: Context, tf32: string) {
  const model = await benchModel('minilm-l6', context);
  const expected = await scoresOf(fileOf(model, 'fp32'), model, 'cpu', context.threads);
  const mean = expected.reduce((sum, x) => sum + x, 0) / expected.length;
  const spread = rootMeanSquare(expected.map((x) => x - mean));
  report({ what: 'spread of the scores', status: 'measured', value: spread, unit: 'deviation' });
  for (const precision of ['fp32', 'fp16'] satisfies Precision[])
    for (const form of formsOf(context.provider)) {
      const what = `${precision}, attention ${form}, ${tf32}`;
      await attempt(what, async () => {
        const found = await scoresOf(fileOf(model, precision, form), model, context.provider, context.threads);
        const value = largestDifference(expected, found);
        const rms = rootMeanSquare(expected.map((x, i) => x - found[i]!));
        report({ what, status: 'measured', value, unit: 'largest difference', detail: `RMS ${rms.toExponential(1)}` });
      });
    }
}

const QUESTION = 'How far are scores on the card from float32 on the processor?';

export const precision: Check = {
  name: 'precision',
  question: QUESTION,
  seconds: 60,
  run: (context) => compare(context, 'TF32 as the engine sets it'),
};

export const withoutTf32: Check = {
  name: 'precision-fp32',
  question: QUESTION,
  seconds: 60,
  env: { NVIDIA_TF32_OVERRIDE: '0' },
  run: (context) => compare(context, 'TF32 off'),
};
