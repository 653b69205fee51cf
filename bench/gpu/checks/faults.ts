import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createHostPool, type SupervisedPool } from '../../../src/inference/host-pool.ts';
import type { LoadSpec } from '../../../src/inference/inference-types.ts';
import type { PoolEvent } from '../../../src/inference/pool-observer.ts';
import { GraphBuilder, MICROSOFT, modelOf } from '../../../src/onnx/builder.ts';
import { writeModel } from '../../../src/onnx/model-file.ts';
import { float32 } from '../../../src/onnx/tensor.ts';
import { largestDifference, randomRows } from '../batches.ts';
import { type BenchModel, benchModel, fileOf } from '../bench-models.ts';
import type { Context } from '../context.ts';
import { attempt, report, shortened } from '../findings.ts';
import type { Check } from './check.ts';

const LONG = 512;
const specOf = (key: string, file: string, maxLength = LONG): LoadSpec => ({
  key,
  file,
  padId: 0,
  maxLength,
  reduction: { kind: 'single' },
});

/** Memory of the card in bytes, by `nvidia-smi`. @throws Error without it. */
function cardBytes(): number {
  const query = ['--query-gpu=memory.total', '--format=csv,noheader,nounits'];
  return Number(execFileSync('nvidia-smi', query, { encoding: 'utf8', timeout: 20_000 }).split('\n')[0]) * 2 ** 20;
}

/** Bytes that a row of 512 tokens takes in MiniLM's attention, float32: scores and their softmax of 12 heads. */
const ROW_BYTES = 2 * 12 * LONG * LONG * 4;
/** Rows of the dry run: about 1 GB in a process that may have less. */
const SMALL_ROWS = 400;

async function splits(context: Context, model: BenchModel): Promise<void> {
  const rows = context.small ? SMALL_ROWS : Math.ceil((1.25 * cardBytes()) / ROW_BYTES);
  const events: PoolEvent['kind'][] = [];
  const pool = await createHostPool(
    { provider: context.provider, hosts: 1, maxRssBytes: 0, batchTimeoutMs: 60_000 },
    ({ kind }) => events.push(kind),
  );
  try {
    await pool.load(specOf('oom', fileOf(model, 'fp32')));
    const few = randomRows(8, () => LONG, model.vocabulary);
    const before = (await pool.run('oom', few)).scores;
    const begin = performance.now();
    const { scores } = await pool.run('oom', [...few, ...randomRows(rows, () => LONG, model.vocabulary, 2)]);
    const value = events.filter((kind) => kind === 'split').length;
    const apart = largestDifference(before, scores.subarray(0, few.length));
    const lost = events.filter((kind) => kind === 'lost').length;
    const detail = `${rows + few.length} rows × ${LONG} tokens in ${((performance.now() - begin) / 1000).toFixed(1)} s, ${lost} hosts lost, scores ${apart.toExponential(1)} from those of a small batch`;
    const isRight = apart <= 1e-2 && lost === 0;
    report({
      what: 'a batch beyond memory',
      status: isRight ? (value > 0 ? 'right' : 'measured') : 'wrong',
      value,
      unit: 'splits',
      detail,
    });
  } finally {
    await pool.close();
  }
}

/** A batch that does not fit is halved until it does. */
export const memory: Check = {
  name: 'memory',
  dryRunKilobytes: 12_000_000,
  question: 'Is a batch that does not fit into memory halved until it does?',
  seconds: 75,
  async run(context) {
    await attempt('a batch beyond memory', async () => splits(context, await benchModel('minilm-l6', context)));
  },
};

/** Graphs of one operator that reads or writes where an id says, without a check in its kernel. Score: the sum of what was read. */
const POISONS: Readonly<Record<string, (g: GraphBuilder, ids: string) => string>> = {
  ScatterElements: (g, ids) => {
    const zeros = g.mul(g.cast(ids, 'float32'), g.scalar(0));
    return g.op('ScatterElements', [zeros, ids, g.add(zeros, g.scalar(1))], { axis: 1 });
  },
  EmbedLayerNormalization: (g, ids) => {
    const table = g.constant(float32([8, 8], new Array<number>(64).fill(1)));
    const gamma = g.constant(float32([8], new Array<number>(8).fill(1)));
    const inputs = [
      g.cast(ids, 'int32'),
      '',
      table,
      g.constant(float32([LONG, 8], new Array<number>(8 * LONG).fill(1)), 'positions'),
      '',
      gamma,
      gamma,
    ];
    return g.ops('EmbedLayerNormalization', inputs, { epsilon: 1e-5 }, 2, { domain: MICROSOFT })[0]!;
  },
  GatherElements: (g, ids) => g.op('GatherElements', [g.cast(ids, 'float32'), ids], { axis: 1 }),
};

async function writePoison(name: string, folder: string): Promise<string> {
  const g = new GraphBuilder(name);
  const ids = g.input('input_ids', 'int64', ['batch', 'sequence']);
  const value = POISONS[name]!(g, ids);
  const flat = g.reshape(value, g.concat([g.slice(g.shape(ids), [0], [1], [0]), g.ints([-1])], 0));
  g.output(g.reduceSum(flat, [1]), 'float32', ['batch', 1], 'logits');
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `${name}.onnx`);
  await writeModel(file, modelOf(g.build()));
  return file;
}

/** An id far outside of any table. */
const FAR = 2_000_000_000;

async function poison(
  pool: SupervisedPool,
  events: readonly PoolEvent[],
  file: string,
  name: string,
  model: BenchModel,
) {
  const healthy = randomRows(8, () => 64, model.vocabulary);
  const before = (await pool.run('healthy', healthy)).scores;
  await pool.load(specOf(name, file));
  const seen = events.length;
  const answer = await pool
    .run(name, [{ ids: Int32Array.from([0, 1, FAR, 1]), secondSegment: 4 }])
    .then(({ scores }) => `a score, ${scores[0]}`)
    .catch((error: unknown) => shortened(String((error as Error).message)));
  const begin = performance.now();
  const { scores } = await pool.run('healthy', healthy);
  const value = performance.now() - begin;
  const lost = events.slice(seen).filter(({ kind }) => kind === 'lost').length;
  const isRight = largestDifference(before, scores) <= 1e-3;
  const detail = `the bad batch got ${answer}; ${lost} hosts replaced`;
  report({
    what: `${name} with an id of ${FAR}, then a good batch`,
    status: isRight ? 'right' : 'wrong',
    value,
    unit: 'ms to good scores',
    detail,
  });
  await pool.unload(name);
}

/** After an error that stays with the device's context, the host is replaced and other batches are right. */
export const sticky: Check = {
  name: 'sticky',
  question: 'Does the server recover from an error that stays until the process ends?',
  seconds: 75,
  async run(context) {
    const model = await benchModel('minilm-l6', context);
    const events: PoolEvent[] = [];
    const pool = await createHostPool(
      { provider: context.provider, hosts: 1, maxRssBytes: 0, batchTimeoutMs: 20_000 },
      (event) => events.push(event),
    );
    try {
      await pool.load(specOf('healthy', fileOf(model, 'fp32')));
      for (const name of Object.keys(POISONS))
        await attempt(name, async () =>
          poison(pool, events, await writePoison(name, join(context.at, 'poison')), name, model),
        );
    } finally {
      await pool.close();
    }
  },
};
