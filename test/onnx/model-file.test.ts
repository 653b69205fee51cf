import { mkdtemp, open, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { ModelProtoSchema, TensorProtoSchema } from 'onnx-buf';
import { InferenceSession, type Tensor } from 'onnxruntime-node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GraphBuilder, modelOf } from '../../src/onnx/builder.ts';
import type { Model } from '../../src/onnx/graph.ts';
import { readModel, writeModel } from '../../src/onnx/model-file.ts';
import { decodeModel } from '../../src/onnx/protobuf.ts';
import { encodeModel } from '../../src/onnx/protobuf-write.ts';
import { fromOrt, openRunner, runOnce, toOrt } from '../../src/onnx/runner.ts';
import { deferred, float32, numbers, tensor } from '../../src/onnx/tensor.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'winnow-onnx-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** y = x·w + b, with weights large enough to be external. */
function linear(): Model {
  const g = new GraphBuilder();
  g.input('x', 'float32', ['rows', 40]);
  g.initializer(
    'w',
    float32(
      [40, 30],
      Array.from({ length: 1200 }, (_, i) => Math.sin(i)),
    ),
  );
  g.initializer(
    'b',
    float32(
      [30],
      Array.from({ length: 30 }, (_, i) => i),
    ),
  );
  g.output(g.add(g.matmul('x', 'w'), 'b'), 'float32', ['rows', 30], 'y');
  return modelOf(g.build());
}

const x = float32(
  [1, 40],
  Array.from({ length: 40 }, (_, i) => i / 40),
);

describe('tensors that are read when their bytes are', () => {
  it.each([undefined, 1000])(
    'are read once each, one after the other, with an inside limit of %s',
    async (insideLimit) => {
      const model = linear();
      const read: string[] = [];
      const initializers = new Map(
        [...model.graph.initializers].map(([name, t]) => [
          name,
          deferred(t.dtype, t.dims, () => {
            read.push(name);
            return t.bytes;
          }),
        ]),
      );
      const path = join(folder, `deferred-${insideLimit}.onnx`);
      const options = insideLimit === undefined ? {} : { insideLimit };
      await writeModel(path, { ...model, graph: { ...model.graph, initializers } }, options);
      expect(read).toEqual(['w', 'b']);
      expect((await readModel(path)).graph.initializers).toEqual(model.graph.initializers);
    },
  );
});

describe('protobuf', () => {
  it('keeps everything of a model', () => {
    const inner = new GraphBuilder('branch');
    inner.output(inner.op('Identity', ['x']), 'float32', ['rows', null]);
    const g = new GraphBuilder('all kinds');
    g.input('x', 'float32', ['rows', null]);
    g.input('free', 'int64', []);
    const attrs = {
      whole: 3,
      largest: { kind: 'int', value: 2 ** 63 },
      alpha: 0.5,
      text: 'grün',
      list: [1, -1],
      rates: { kind: 'floats', value: [0.5, 0.25] },
      words: { kind: 'strings', value: ['a', 'b'] },
      value: tensor('int64', [2], [1, -1]),
      body: inner.build(),
    } as const;
    g.output(g.op('Thing', ['x', '', 'free'], attrs, { domain: 'my.domain', name: 'a thing' }), 'float32', ['rows', 3]);
    g.output(g.op('Other', ['x']));
    for (const dtype of ['float16', 'bfloat16', 'float64', 'int32', 'uint8', 'bool'] as const)
      g.initializer(`of ${dtype}`, tensor(dtype, [2], [0, 1]));
    const model: Model = { ...modelOf(g.build()), metadata: { made: 'here' }, opsets: { '': 20, 'my.domain': 3 } };
    const bytes = encodeModel(model);
    expect(decodeModel(bytes)).toEqual(model);
    expect(toBinary(ModelProtoSchema, fromBinary(ModelProtoSchema, bytes))).toEqual(bytes);
  });

  it('reads numbers kept in typed lists instead of raw bytes', () => {
    const t = (fields: object) => create(TensorProtoSchema, fields);
    const proto = create(ModelProtoSchema, {
      irVersion: 8n,
      opsetImport: [{ domain: '', version: 17n }],
      graph: {
        name: 'lists',
        initializer: [
          t({ name: 'f', dataType: 1, dims: [2n], floatData: [1.5, -2] }),
          t({ name: 'i', dataType: 7, dims: [2n], int64Data: [5n, -6n] }),
          t({ name: 'd', dataType: 11, dims: [], doubleData: [0.25] }),
          t({ name: 'b', dataType: 9, dims: [3n], int32Data: [1, 0, 1] }),
          t({ name: 'h', dataType: 10, dims: [1n], int32Data: [0x3c00] }),
        ],
        input: [{ name: 'f' }, { name: 'x', type: { value: { case: 'tensorType', value: { elemType: 1 } } } }],
      },
    });
    const { graph } = decodeModel(toBinary(ModelProtoSchema, proto));
    expect([...graph.initializers].map(([name, v]) => [name, numbers(v)])).toEqual([
      ['f', [1.5, -2]],
      ['i', [5, -6]],
      ['d', [0.25]],
      ['b', [1, 0, 1]],
      ['h', [1]],
    ]);
    // An initializer that is listed among the inputs, as in old files, is not an input.
    expect(graph.inputs.map((i) => i.name)).toEqual(['x']);
  });

  it('names fault and tensor', () => {
    expect(() => decodeModel(Buffer.from('this is no model'), 'a.onnx')).toThrow(/^a\.onnx: expected an ONNX model/);
    expect(() => decodeModel(new Uint8Array(), 'empty.onnx')).toThrow('empty.onnx: expected a graph, got none');
    const broken = (dataType: number, bytes: number) =>
      toBinary(
        ModelProtoSchema,
        create(ModelProtoSchema, {
          graph: { initializer: [{ name: 'w', dataType, dims: [4n], rawData: new Uint8Array(bytes) }] },
        }),
      );
    expect(() => decodeModel(broken(1, 15), 'a.onnx')).toThrow(
      'a.onnx, tensor w: expected 16 bytes for float32[4], got 15',
    );
    expect(() => decodeModel(broken(8, 4), 'a.onnx')).toThrow(
      'a.onnx, tensor w: expected a numeric data type, got code 8',
    );
  });

  it('names the node the engine refuses', async () => {
    const g = new GraphBuilder();
    g.input('x', 'float32', [1]);
    g.output(g.op('NoSuchOp', ['x'], {}, { name: 'layer.3/odd' }), 'float32', [1]);
    await expect(openRunner(modelOf(g.build()))).rejects.toThrow(/layer\.3\/odd|NoSuchOp/);
  });
});

describe('model files', () => {
  it('come back as they were written', async () => {
    const path = join(folder, 'plain.onnx');
    const model = linear();
    expect(await writeModel(path, model)).toEqual([path]);
    expect(await readModel(path)).toEqual(model);
  });

  it('put large initializers into an aligned file beside them, which the engine reads too', async () => {
    const path = join(folder, 'external.onnx');
    const model = linear();
    const written = await writeModel(path, model, { insideLimit: 1000 });
    expect(written.map((w) => w.slice(folder.length + 1))).toEqual(['external.onnx.data', 'external.onnx']);
    expect((await stat(path)).size).toBeLessThan(1000);
    const read = await readModel(path);
    expect(read).toEqual(model);
    const session = await InferenceSession.create(path);
    const { y } = await session.run({ x: toOrt(x) });
    expect(fromOrt(y as Tensor)).toEqual((await runOnce(model, { x })).y);
    await session.release();
  });

  it('make the chosen initializers external', async () => {
    const path = join(folder, 'chosen.onnx');
    await writeModel(path, linear(), { outside: (name) => name === 'b', dataFile: 'shared.bin' });
    expect((await stat(join(folder, 'shared.bin'))).size).toBe(120);
    expect(await readModel(path)).toEqual(linear());
  });

  it('read data beyond 4 GB without reading what is before it', async () => {
    const path = join(folder, 'far.onnx');
    const offset = 5 * 2 ** 30;
    const data = await open(join(folder, 'far.bin'), 'w');
    await data.write(new Uint8Array(float32([2], [3, 4]).bytes), 0, 8, offset);
    await data.close();
    const external = { location: 'far.bin', offset, length: 8 };
    const g = new GraphBuilder();
    g.initializer('w', float32([2], [0, 0]));
    g.output(g.op('Identity', ['w']), 'float32', [2], 'y');
    await writeFile(
      path,
      encodeModel(modelOf(g.build()), (name) => (name === 'w' ? external : undefined)),
    );
    expect(numbers((await readModel(path)).graph.initializers.get('w')!)).toEqual([3, 4]);
  });

  it.each([
    ['../outside.bin', 'unsafe_path'],
    ['/etc/passwd', 'unsafe_path'],
    ['missing.bin', 'invalid_graph'],
  ])('refuse external data at %s', async (location, code) => {
    const path = join(folder, 'refused.onnx');
    await writeFile(
      path,
      encodeModel(linear(), (name) => (name === 'w' ? { location, offset: 0, length: 4800 } : undefined)),
    );
    await expect(readModel(path)).rejects.toMatchObject({ code });
  });

  it('refuse truncated external data', async () => {
    const path = join(folder, 'short.onnx');
    await writeFile(join(folder, 'short.bin'), new Uint8Array(100));
    await writeFile(
      path,
      encodeModel(linear(), (name) => (name === 'w' ? { location: 'short.bin', offset: 0, length: 4800 } : undefined)),
    );
    await expect(readModel(path)).rejects.toThrow(/expected 4800 bytes, got a file of 100/);
  });
});
