import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { sessionOptions } from '../../../src/inference/providers.ts';
import { InferenceSession } from '../../../src/onnx/engine.ts';
import { feedsOf, randomRows } from '../batches.ts';
import { type BenchModel, benchModel, fileOf, formsOf, type Precision } from '../bench-models.ts';
import { type Context, PAIR_TOKENS } from '../context.ts';
import { attempt, type Finding, report } from '../findings.ts';
import type { Check } from './check.ts';

/** One event of the engine's profile; durations in microseconds. */
export interface ProfileEvent {
  readonly cat?: string;
  readonly name: string;
  readonly dur?: number;
  readonly args?: { readonly op_name?: string; readonly provider?: string };
}

const LISTED = 8;

const counted = (all: readonly string[]): string => {
  const counts = new Map<string, number>();
  for (const one of all) counts.set(one, (counts.get(one) ?? 0) + 1);
  return [...counts]
    .toSorted(([, a], [, b]) => b - a)
    .slice(0, LISTED)
    .map(([name, count]) => `${name} ${count}`)
    .join(', ');
};

/** Sums up a profile: operators by the time of their kernels, those that ran on the processor, and names of kernels where the engine has them. */
export function readProfile(events: readonly ProfileEvent[]): readonly Finding[] {
  const nodes = events.filter(
    ({ cat, name, args }) => cat === 'Node' && name.endsWith('_kernel_time') && args?.op_name,
  );
  const spent = new Map<string, number>();
  for (const { args, dur = 0 } of nodes) spent.set(args!.op_name!, (spent.get(args!.op_name!) ?? 0) + dur);
  const all = [...spent.values()].reduce((a, b) => a + b, 0);
  const shares = [...spent]
    .toSorted(([, a], [, b]) => b - a)
    .slice(0, LISTED)
    .map(([op, time]) => `${op} ${((100 * time) / all).toFixed(0)} %`);
  const onCpu = nodes.filter(({ args }) => args?.provider === 'CPUExecutionProvider').map(({ args }) => args!.op_name!);
  const kernels = events.filter(({ cat }) => cat === 'Kernel').map(({ name }) => name);
  const fused = nodes.filter(({ args }) => args?.op_name === 'MultiHeadAttention' || args?.op_name === 'Attention');
  return [
    { what: 'time by operator', status: 'measured', value: all / 1000, unit: 'ms', detail: shares.join(', ') },
    { what: 'fused attention nodes', status: 'measured', value: fused.length, unit: 'calls' },
    { what: 'calls on the processor', status: 'measured', value: onCpu.length, unit: 'calls', detail: counted(onCpu) },
    ...(kernels.length > 0
      ? ([
          { what: 'kernels', status: 'measured', value: kernels.length, unit: 'calls', detail: counted(kernels) },
        ] as const)
      : []),
  ];
}

/** Reads which kernel attention took, as the engine prints it when asked by ORT_ENABLE_ATTENTION_KERNEL_DEBUG_INFO. */
export function attentionKernels(lines: readonly string[]): readonly Finding[] {
  const found = lines.flatMap((line) => /Operator=(\S+).*SdpaKernel=(\w+)/.exec(line)?.slice(1).join(' → ') ?? []);
  return found.length === 0
    ? []
    : [
        {
          what: 'kernel of attention, as the engine says',
          status: 'measured',
          value: found.length,
          unit: 'calls',
          detail: counted(found),
        },
      ];
}

async function profile(file: string, model: BenchModel, label: string, context: Context): Promise<void> {
  const prefix = `profile-${label.replace(/\W/g, '-')}`;
  const session = await InferenceSession.create(file, {
    ...sessionOptions({ provider: context.provider, threads: context.threads }),
    enableProfiling: true,
    profileFilePrefix: join(context.at, prefix),
  });
  const rows = randomRows(context.small ? 4 : 128, (row) => PAIR_TOKENS - (row % 8), model.vocabulary);
  const feeds = feedsOf(rows, session.inputNames);
  await session.run(feeds);
  session.endProfiling();
  await session.release();
  const written = readdirSync(context.at).find((name) => name.startsWith(prefix));
  if (written === undefined) throw new Error('expected a profile of the engine, got none');
  const events = JSON.parse(readFileSync(join(context.at, written), 'utf8')) as ProfileEvent[];
  for (const finding of readProfile(events)) report({ ...finding, what: `${label}: ${finding.what}` });
}

/** What the engine runs: operators, their provider, and the kernels of attention. */
export const kernels: Check = {
  name: 'kernels',
  question: 'Which operators and kernels run, is anything left on the processor, and does fused attention fire?',
  seconds: 60,
  env: { ORT_ENABLE_ATTENTION_KERNEL_DEBUG_INFO: '1' },
  lines: attentionKernels,
  async run(context) {
    const model = await benchModel('minilm-l6', context);
    for (const precision of ['fp16', 'fp32'] satisfies Precision[])
      for (const form of formsOf(context.provider)) {
        const label = `${precision}, attention ${form}`;
        await attempt(label, () => profile(fileOf(model, precision, form), model, label, context));
      }
  },
};
