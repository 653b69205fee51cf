import { createSession } from '../../src/inference/providers.ts';
import { readModel } from '../../src/onnx/model-file.ts';
import { prepare } from '../../src/onnx/prepare.ts';
import { type Batch, formBatch } from '../../src/training/data/batches.ts';
import { createObjective } from '../../src/training/objectives/catalog.ts';
import { createHostStepper } from '../../src/training/step/host-stepper.ts';
import { loopOf } from '../../src/training/step/loop.ts';
import { createLoopStepper } from '../../src/training/step/loop-stepper.ts';
import type { Precision } from '../../src/training/step/precision.ts';
import { buildStep } from '../../src/training/step/step.ts';
import { createStepper, type Stepper, type StepperOptions } from '../../src/training/step/stepper.ts';
import type { Family, Golden } from './training-fixtures.ts';

/** The golden batch as lists of passages, the first of each relevant. */
export function goldenBatch(g: Golden): Batch {
  const lists = Array.from({ length: g.queries }, (_, q) => ({
    list: {
      qid: `${q}`,
      query: '',
      passages: g.teacher[q]!.map(String),
      relevance: g.teacher[q]!.map((_, p) => +(p === 0)),
      teacher: g.teacher[q]!,
    },
    rows: g.teacher[q]!.map((_, p) => goldenRow(g, q * g.teacher[q]!.length + p)),
  }));
  return formBatch(lists);
}

function goldenRow(g: Golden, row: number) {
  const mask = g.inputs.attention_mask[row]!;
  const length = mask.reduce((sum, m) => sum + m, 0);
  const ids = Int32Array.from(g.inputs.input_ids[row]!.slice(0, length));
  const types = g.inputs.token_type_ids?.[row];
  const second = types ? types.indexOf(1) : -1;
  return { ids, secondSegment: second < 0 ? ids.length : second, truncated: false };
}

/** `packed` is `host` with the tokens packed. */
export type Way = 'graph' | 'host' | 'loop' | 'packed';

/** Opens a stepper of an export with PyTorch's settings. */
export async function goldenStepper(
  way: Way,
  file: string,
  g: Golden,
  objective: string,
  precision: Precision = 'fp32',
): Promise<Stepper> {
  const { model, weights: found } = await prepare(await readModel(file));
  const run = g.adamw;
  const optimizer = {
    beta1: run.betas[0]!,
    beta2: run.betas[1]!,
    epsilon: run.eps,
    weightDecay: run.weight_decay,
    clipNorm: run.clip_global_norm,
  };
  const weights = found.map((w) => ({
    name: w.tensor,
    value: model.graph.initializers.get(w.tensor)!,
    decays: w.decay,
    group: 'backbone' as const,
  }));
  const onHost = way === 'host' || way === 'packed';
  const step = await buildStep(model, model.graph.outputs[0]!.name, {
    kind: onHost ? 'gradients' : 'step',
    objective: createObjective(objective),
    optimizer,
    weights,
    microBatches: 1,
    precision,
    ...(way === 'packed' && { packBy: 'attention_mask' }),
  });
  const session = await createSession(way === 'loop' ? loopOf(step.model) : step.model, {
    threads: 1,
    optimization: 'basic',
  });
  const options: StepperOptions = {
    weights: step.trained,
    optimizer,
    padId: g.special_ids.pad,
    ...(precision === 'fp16' && { lossScale: { scale: 1024, good: 0, skipped: 0 } }),
  };
  if (onHost) return createHostStepper(session, { ...options, tables: step.tables });
  return way === 'loop' ? createLoopStepper(session, options) : createStepper({ update: session }, options);
}

export const relative = (got: number, expected: number): number => Math.abs(got - expected) / Math.abs(expected);

/** Returns the parameters whose final norm differs by more than 1e-4, without those of zero gradient. */
export function wrongNorms(
  family: Family,
  file: string,
  g: Golden,
  state: ReadonlyMap<string, Float32Array>,
): string[] {
  const zero = new Set(g.objectives[g.adamw.objective]!.zero_gradient);
  const wrong: string[] = [];
  for (const [parameter, initializer] of family.mapping(file)) {
    const values = state.get(initializer);
    if (zero.has(parameter)) continue;
    if (!values) {
      wrong.push(`${parameter}: not among the trained weights`);
      continue;
    }
    const norm = Math.sqrt(values.reduce((sum, x) => sum + x * x, 0));
    if (relative(norm, g.adamw.final_parameters[parameter]!.norm) > 1e-4)
      wrong.push(`${parameter}: ${norm}, expected ${g.adamw.final_parameters[parameter]!.norm}`);
  }
  return wrong;
}
