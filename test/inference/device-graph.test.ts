import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openServed } from '../../src/inference/device-graph.ts';
import { createSession, type SessionSettings } from '../../src/inference/providers.ts';
import { GraphBuilder, modelOf } from '../../src/onnx/builder.ts';
import type { InferenceSession } from '../../src/onnx/engine.ts';
import { readModel, writeModel } from '../../src/onnx/model-file.ts';
import { prepare } from '../../src/onnx/prepare.ts';
import { probeShapes } from '../../src/onnx/probe.ts';
import { decodeModel } from '../../src/onnx/protobuf.ts';
import { halveModel } from '../../src/onnx/rewrites/fp16.ts';
import { paddedFeeds } from '../../src/onnx/rewrites/fused-attention.ts';
import { withoutAnd } from '../../src/onnx/rewrites/webgpu.ts';
import { runOnce, toOrt } from '../../src/onnx/runner.ts';
import { numbers, tensor } from '../../src/onnx/tensor.ts';
import { FIXTURES, NO_FIXTURES } from '../support/training-fixtures.ts';
import { type GraphFolder, graphFolder } from './graphs.ts';

/*
 * What a card would run, opened on the processor: its engine has the same operators.
 */

const CUDA: SessionSettings = { provider: 'cuda', threads: 1 };
const SPEC = { maxLength: 40 };

let folder: GraphFolder;
beforeAll(async () => {
  folder = await graphFolder();
});
afterAll(() => folder.remove());

/** Opens everything on the processor and keeps the graphs that came as bytes. */
function onProcessor(graphs: string[][]) {
  return (model: string | Uint8Array, settings: SessionSettings): Promise<InferenceSession> => {
    if (typeof model !== 'string') graphs.push(decodeModel(Buffer.from(model)).graph.nodes.map(({ op }) => op));
    return createSession(model, { ...settings, provider: 'cpu' });
  };
}

async function scores(session: InferenceSession, lengths: readonly number[]): Promise<readonly number[]> {
  const inputs = session.inputNames.map((name) => ({ name, dtype: 'int64' as const }));
  const feeds = Object.entries(paddedFeeds(inputs, lengths)).map(([name, value]) => [name, toOrt(value)]);
  const { logits } = await session.run(Object.fromEntries(feeds));
  return Array.from(logits!.data as Float32Array);
}

const apart = (a: readonly number[], b: readonly number[]) => Math.max(...a.map((x, i) => Math.abs(x - b[i]!)));

describe.skipIf(NO_FIXTURES !== '')(`a card ${NO_FIXTURES && `(skipped: ${NO_FIXTURES})`}`, () => {
  const file = join(FIXTURES, 'bert/dynamo-op20.onnx');
  const told: string[] = [];
  const tell = (line: string) => void told.push(line);

  it('gets attention as one node, which gives the same scores in every batch', async () => {
    const graphs: string[][] = [];
    const session = await openServed({ ...SPEC, file }, CUDA, tell, onProcessor(graphs));
    expect(graphs).toHaveLength(1);
    expect(graphs[0]).toContain('MultiHeadAttention');
    expect(graphs[0]).not.toContain('Softmax');
    const plain = await createSession(file, { threads: 1 });
    for (const lengths of [[40], [1], [3, 40, 17], [8, 8]])
      expect(apart(await scores(session, lengths), await scores(plain, lengths))).toBeLessThanOrEqual(1e-5);
    await Promise.all([session.release(), plain.release()]);
  });

  it('gets it in float16 too', async () => {
    const { model } = await prepare(await readModel(file), { output: 'logits' });
    const half = join(folder.path, 'half.onnx');
    await writeModel(half, halveModel(model, await probeShapes(model)));
    const graphs: string[][] = [];
    const session = await openServed({ ...SPEC, file: half }, CUDA, tell, onProcessor(graphs));
    const plain = await createSession(half, { threads: 1 });
    expect(graphs[0]).toContain('MultiHeadAttention');
    expect(apart(await scores(session, [5, 40]), await scores(plain, [5, 40]))).toBeLessThanOrEqual(5e-3);
    await Promise.all([session.release(), plain.release()]);
  });

  it('keeps the graph of the file where the device refuses the other, and says so', async () => {
    const refusing = (model: string | Uint8Array, settings: SessionSettings) =>
      typeof model === 'string'
        ? createSession(model, { ...settings, provider: 'cpu' })
        : Promise.reject(new Error('no kernel'));
    const session = await openServed({ ...SPEC, file }, CUDA, tell, refusing);
    expect(told.pop()).toBe(`${file}: attention stays as it is: no kernel`);
    expect(await scores(session, [5])).toHaveLength(1);
    await session.release();
  });

  it('keeps it where the device gives other scores', async () => {
    const other = join(FIXTURES, 'electra/dynamo-op20.onnx');
    const wrong = (model: string | Uint8Array, settings: SessionSettings) =>
      createSession(typeof model === 'string' ? model : readFileSync(other), { ...settings, provider: 'cpu' });
    const session = await openServed({ ...SPEC, file }, CUDA, tell, wrong);
    expect(told.pop()).toContain('attention stays as it is: expected scores within 0.02');
    const plain = await createSession(file, { threads: 1 });
    expect(await scores(session, [5, 9])).toEqual(await scores(plain, [5, 9]));
    await Promise.all([session.release(), plain.release()]);
  });

  it('runs a file without attention as it is', async () => {
    const graphs: string[][] = [];
    const deberta = join(FIXTURES, 'deberta-v2/dynamo-op20.onnx');
    const session = await openServed({ ...SPEC, file: deberta }, CUDA, tell, onProcessor(graphs));
    expect([graphs, told]).toEqual([[], []]);
    await session.release();
  });
});

it('a processor runs the file as it is', async () => {
  const g = new GraphBuilder('sum');
  g.output(
    g.reduceSum(g.cast(g.input('input_ids', 'int64', ['n', 'l']), 'float32'), [1]),
    'float32',
    ['n', 1],
    'logits',
  );
  const { file } = await folder.write('sum', g);
  const graphs: string[][] = [];
  const session = await openServed({ ...SPEC, file }, { threads: 1 }, undefined, onProcessor(graphs));
  expect([graphs, await scores(session, [2])]).toEqual([[], [1 + 8]]);
  await session.release();
});

it('And as a product is And, for inputs of all broadcast sizes', async () => {
  const sizes: readonly (readonly number[])[] = [[2, 1, 3], [2, 3, 1], [3], [], [1, 3, 3], [2, 3, 3]];
  for (const left of sizes)
    for (const right of sizes) {
      const g = new GraphBuilder('and');
      const [a, b] = [g.input('a', 'bool', [...left]), g.input('b', 'bool', [...right])];
      g.output(g.op('And', [a, b]), 'bool', undefined, 'y');
      const bits = (dims: readonly number[], step: number) =>
        tensor(
          'bool',
          dims,
          Array.from({ length: dims.reduce((n, d) => n * d, 1) }, (_, i) => +((i * step) % 3 > 0)),
        );
      const model = modelOf(g.build());
      const feeds = { a: bits(left, 2), b: bits(right, 5) };
      const [expected, got] = [await runOnce(model, feeds), await runOnce(withoutAnd(model)!, feeds)];
      expect([got.y!.dtype, got.y!.dims, numbers(got.y!)]).toEqual(['bool', expected.y!.dims, numbers(expected.y!)]);
    }
});

it('a model without And is not rewritten', () => {
  const g = new GraphBuilder('or');
  g.output(g.op('Or', [g.input('a', 'bool', [1]), 'a']), 'bool', [1], 'y');
  expect(withoutAnd(modelOf(g.build()))).toBeUndefined();
});
