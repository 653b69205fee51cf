import { type Batch, formBatch } from '../../../src/training/data/batches.ts';
import { parseRecipe } from '../../../src/training/recipe/recipe.ts';
import { loadBackbone } from '../../../src/training/step/backbone.ts';
import { openSessions } from '../../../src/training/step/sessions.ts';
import { createRandom } from '../../../src/util/random.ts';
import { median } from '../../load/figures.ts';
import { benchModel } from '../bench-models.ts';
import type { Context } from '../context.ts';
import { attempt, report } from '../findings.ts';
import type { Check } from './check.ts';

const LIST = 4;
const RATES = { backbone: 2e-5, head: 2e-4 };

/** Builds a batch of full rows; the first passage of every list is relevant. */
function fullBatch(rows: number, length: number): Batch {
  const random = createRandom(1);
  const relevance = Array.from({ length: LIST }, (_, p) => +(p === 0));
  const list = { qid: '', query: '', passages: relevance.map(String), relevance, teacher: relevance };
  const row = () => ({
    ids: Int32Array.from({ length }, () => 1000 + random.below(29_000)),
    secondSegment: 12,
    truncated: false,
  });
  return formBatch(Array.from({ length: rows / LIST }, () => ({ list, rows: relevance.map(row) })));
}

interface Case {
  readonly precision: 'fp32' | 'bf16' | 'fp16';
  readonly stepsPerRun: number;
}

async function steps(context: Context, { precision, stepsPerRun }: Case): Promise<void> {
  const { folder } = await benchModel('minilm-l6', context);
  const recipe = parseRecipe(
    {
      name: 'bench',
      backbone: folder,
      objective: 'BCE',
      data: { train: [{ format: 'jsonl', path: 'none' }] },
      precision,
      stepsPerRun,
      provider: context.provider,
      dropout: { hidden: 0.1, attention: 0.1, classifier: 0.1 },
    },
    'bench',
  );
  const sessions = await openSessions(await loadBackbone(folder, recipe), recipe, 0);
  const [rows, length] = context.small ? [8, 32] : [256, 128];
  const batch = fullBatch(rows, length);
  const times: number[] = [];
  const losses: number[] = [];
  let scale = '';
  const runs = context.small ? 2 : 6;
  for (let run = 0; run <= runs; run++) {
    const inputs = Array.from({ length: stepsPerRun }, (_, i) => ({
      batches: [batch],
      step: run * stepsPerRun + i + 1,
      rates: RATES,
      extra: (b: Batch, _: number, size?: Parameters<typeof sessions.dropout>[2]) =>
        sessions.dropout(b, run * stepsPerRun + i + 1, size),
    }));
    const begin = performance.now();
    const results = await sessions.stepper.run(inputs);
    if (run > 0) times.push((performance.now() - begin) / stepsPerRun);
    losses.push(...results.map(({ loss }) => loss));
  }
  if (precision === 'fp16')
    scale = `, loss scale ${sessions.stepper.lossScale().scale}, ${sessions.stepper.lossScale().skipped} steps skipped`;
  await sessions.close();
  const allFinite = losses.every(Number.isFinite);
  const detail = `loss ${losses[0]!.toFixed(4)} → ${losses.at(-1)!.toFixed(4)} in ${losses.length} steps${scale}`;
  const what = `${precision}, ${rows} rows × ${length} tokens, ${stepsPerRun} ${stepsPerRun === 1 ? 'step' : 'steps'} a run`;
  report({
    what,
    status: allFinite && losses.at(-1)! < losses[0]! ? 'right' : 'wrong',
    value: median(times),
    unit: 'ms a step',
    detail,
  });
}

/** Training steps on the card. */
export const training: Check = {
  name: 'training',
  question: 'Do training steps run and lower the loss, alone, several in one Loop, and in half precision?',
  seconds: 80,
  async run(context) {
    const several = context.small ? 2 : 8;
    for (const one of [
      { precision: 'fp32', stepsPerRun: 1 },
      { precision: 'fp32', stepsPerRun: several },
      { precision: 'fp16', stepsPerRun: several },
      { precision: 'bf16', stepsPerRun: 1 },
      { precision: 'fp16', stepsPerRun: 1 },
      { precision: 'bf16', stepsPerRun: several },
    ] satisfies Case[]) {
      const what = `${one.precision}, ${one.stepsPerRun} a run`;
      if (one.precision !== 'fp32' && context.provider === 'cpu')
        report({ what, status: 'left out', detail: 'a recipe refuses half precision on a processor' });
      else await attempt(what, () => steps(context, one));
    }
  },
};
