import { existsSync, readdirSync } from 'node:fs';
import { open, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { WinnowError } from '../../src/errors.ts';
import { GraphBuilder, modelOf } from '../../src/onnx/builder.ts';
import { writeModel } from '../../src/onnx/model-file.ts';
import { decodeModel } from '../../src/onnx/protobuf.ts';
import { float32, int64s, tensor } from '../../src/onnx/tensor.ts';
import { scanOnnx } from '../../src/registry/onnx-scan.ts';
import { scratch, tinyGraph } from './support.ts';

const FIXTURES = join(import.meta.dirname, '..', '..', '..', 'shared', 'fixtures');

async function scanBytes(bytes: Uint8Array) {
  const path = join(await scratch(), 'model.onnx');
  await writeFile(path, bytes);
  return scanOnnx(path, 'model.onnx');
}

describe('scanning an ONNX file', () => {
  it('finds inputs, output, shapes and ops', async () => {
    const facts = await scanBytes(tinyGraph({ width: 3 }));
    expect(facts.inputs).toEqual([
      { name: 'input_ids', shape: [undefined, undefined] },
      { name: 'attention_mask', shape: [undefined, undefined] },
    ]);
    expect(facts.outputs).toEqual([{ name: 'logits', shape: [undefined, 3] }]);
    expect(facts.external).toEqual([]);
    expect([...facts.ops]).toEqual(expect.arrayContaining(['Gather', 'ReduceSum', 'Div']));
  });

  it('finds external data, weights of a sub-graph among it, and how long it must be', async () => {
    const folder = await scratch();
    const g = new GraphBuilder('with-data');
    const ids = g.input('input_ids', 'int64', ['n']);
    const big = g.initializer('big', float32([1000], new Array(1000).fill(1)));
    g.output(g.op('Gather', [big, ids]), 'float32', ['n'], 'logits');
    const path = join(folder, 'model.onnx');
    await writeModel(path, modelOf(g.build()), { dataFile: 'weights.bin', outside: () => true });
    expect((await scanOnnx(path, 'm')).external).toEqual([{ location: 'weights.bin', bytes: 4000 }]);
  });

  it('tells inputs of sub-graphs from those of the model', async () => {
    const inner = new GraphBuilder('then');
    inner.output(inner.constant(float32([1], [1])), 'float32', [1]);
    const other = new GraphBuilder('else');
    other.output(other.constant(float32([1], [2])), 'float32', [1]);
    const g = new GraphBuilder('outer');
    const ids = g.input('input_ids', 'int64', [1]);
    const truth = g.op('Cast', [ids], { to: 9 });
    const flag = g.op('Reshape', [truth, g.constant(int64s([]))]);
    g.output(g.op('If', [flag], { then_branch: inner.build(), else_branch: other.build() }), 'float32', [1], 'logits');
    const { encodeModel } = await import('../../src/onnx/protobuf-write.ts');
    const facts = await scanBytes(encodeModel(modelOf(g.build())));
    expect(facts.inputs.map((v) => v.name)).toEqual(['input_ids']);
    expect(facts.outputs.map((v) => v.name)).toEqual(['logits']);
  });

  it('jumps over weights instead of reading them', async () => {
    const path = join(await scratch(), 'model.onnx');
    const values = tensor('float32', [4_000_000], new Float32Array(4_000_000));
    const g = new GraphBuilder('heavy');
    const ids = g.input('input_ids', 'int64', ['n']);
    g.output(g.op('Gather', [g.initializer('heavy', values), ids]), 'float32', ['n'], 'logits');
    await writeModel(path, modelOf(g.build()));
    const handle = await open(path);
    const proto = Object.getPrototypeOf(handle) as { read: (...args: unknown[]) => Promise<{ bytesRead: number }> };
    await handle.close();
    const read = proto.read;
    let bytes = 0;
    proto.read = async function count(...args) {
      const result = await read.apply(this, args);
      bytes += result.bytesRead;
      return result;
    };
    try {
      await scanOnnx(path, 'm');
    } finally {
      proto.read = read;
    }
    expect(bytes).toBeGreaterThan(0);
    expect(bytes).toBeLessThan(300_000);
  });

  it('answers every cut and every changed byte with facts or a clear error', async () => {
    const folder = await scratch();
    const whole = tinyGraph({ width: 2 });
    const path = join(folder, 'model.onnx');
    const check = async () => {
      try {
        const facts = await scanOnnx(path, 'model.onnx');
        expect(facts.outputs.length).toBeGreaterThan(0);
      } catch (error) {
        expect(error).toBeInstanceOf(WinnowError);
        expect((error as WinnowError).code).toBe('invalid_manifest');
      }
    };
    await fc.assert(
      fc.asyncProperty(fc.nat(whole.length), fc.nat(255), fc.boolean(), async (at, byte, cut) => {
        const bytes = Uint8Array.from(whole);
        if (at < bytes.length) bytes[at] = byte;
        await writeFile(path, bytes);
        if (cut) await truncate(path, at);
        await check();
      }),
      { numRuns: 300 },
    );
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
        await writeFile(path, bytes);
        await check();
      }),
      { numRuns: 200 },
    );
  });

  it.each([
    ['an empty file', new Uint8Array()],
    ['text', new TextEncoder().encode('this is no model')],
    ['a graph without outputs', new Uint8Array([0x3a, 0x00])],
    ['a length beyond the end', new Uint8Array([0x3a, 0xff, 0xff, 0xff, 0xff, 0x0f])],
    ['a number without an end', new Uint8Array(12).fill(0xff)],
  ])('refuses %s', async (_, bytes) => {
    await expect(scanBytes(bytes)).rejects.toMatchObject({ code: 'invalid_manifest' });
  });

  it('refuses graphs nested without end', async () => {
    const varint = (n: number): number[] => (n < 128 ? [n] : [(n & 127) | 128, ...varint(n >>> 7)]);
    const field = (number: number, body: number[]) => [...varint(number * 8 + 2), ...varint(body.length), ...body];
    let graph: number[] = [];
    for (let i = 0; i < 100; i++) graph = field(1, field(5, field(6, graph)));
    await expect(scanBytes(Uint8Array.from(field(7, graph)))).rejects.toThrow(/deep/);
  });

  it.skipIf(!existsSync(FIXTURES))(
    'agrees with a full decoder on every export (needs ../shared/fixtures)',
    async () => {
      const files = readdirSync(FIXTURES, { recursive: true, encoding: 'utf8' }).filter((f) => f.endsWith('.onnx'));
      expect(files.length).toBeGreaterThan(30);
      for (const file of files) {
        const path = join(FIXTURES, file);
        const [facts, model] = [await scanOnnx(path, file), decodeModel(await readFile(path), file)];
        const names = (values: readonly { readonly name: string }[]) => values.map((v) => v.name);
        const weights = model.graph.initializers;
        expect(names(facts.inputs)).toEqual(names(model.graph.inputs.filter((v) => !weights.has(v.name))));
        expect(names(facts.outputs)).toEqual(names(model.graph.outputs));
      }
    },
  );
});
