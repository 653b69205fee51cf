import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createHostPool } from '../../src/inference/host-pool.ts';
import type { HostPool, InferenceRow, LoadSpec } from '../../src/inference/inference-types.ts';
import { freezeGraph, type Model, type Node, producers } from '../../src/onnx/graph.ts';
import { readModel } from '../../src/onnx/model-file.ts';
import { numbers, tensor } from '../../src/onnx/tensor.ts';
import { SHIPPED, shippedFolder } from '../support/shipped.ts';
import { FIXTURES, NO_FIXTURES } from '../support/training-fixtures.ts';
import { type GraphFolder, graphFolder, row, specOf } from './graphs.ts';

/*
 * The WebGPU provider on the software Vulkan driver (SwiftShader) of Debian's `chromium`, with the loader beside it. It computes
 * what a GPU would, at a crawl, so batches here are small.
 */

const ICD = process.env.VK_ICD_FILENAMES ?? '/usr/lib/chromium/vk_swiftshader_icd.json';
const DRIVER = existsSync(ICD);
const ENV = {
  VK_ICD_FILENAMES: ICD,
  LD_LIBRARY_PATH: [dirname(ICD), process.env.LD_LIBRARY_PATH].filter(Boolean).join(':'),
};
const SHIPPED_FILE = join(SHIPPED, 'onnx/model_int8.onnx');
/** A shipped file whose attention scores are float: all that is rounded in it are inputs of layers. */
const FLOAT_ATTENTION = join(shippedFolder('minilm-l6-infonce'), 'onnx/model_int8.onnx');

const ROWS: readonly InferenceRow[] = Array.from({ length: 4 }, (_, i) => {
  const passage = Array.from({ length: 3 + i }, (_, j) => 1996 + ((j * 7919 + i * 104_729) % 20_000));
  return row([101, 2129, 2146 + i, 102, ...passage, 102], 4);
});

const differences = (a: Float32Array, b: Float32Array) => a.map((x, i) => Math.abs(x - b[i]!)).sort();
const largest = (a: Float32Array, b: Float32Array) => differences(a, b).at(-1);

describe.skipIf(!DRIVER)(`WebGPU on software Vulkan (needs ${ICD}: Debian's chromium)`, () => {
  let gpu: HostPool;
  let cpu: HostPool;
  let folder: GraphFolder;

  beforeAll(async () => {
    folder = await graphFolder();
    // Shaders are compiled in the first batch of a shape: minutes on a slow machine.
    gpu = await createHostPool({ provider: 'webgpu', env: ENV, batchTimeoutMs: 300_000 });
    cpu = await createHostPool({ provider: 'cpu', hosts: 1 });
  });
  afterAll(async () => {
    await Promise.all([gpu.close(), cpu.close()]);
    await folder.remove();
  });

  async function both(spec: LoadSpec, rows: readonly InferenceRow[]) {
    const [there, here] = [await gpu.load(spec), await cpu.load(spec)];
    expect([there.provider, here.provider]).toEqual(['webgpu', 'cpu']);
    return { webgpu: (await gpu.run(spec.key, rows)).scores, cpu: (await cpu.run(spec.key, rows)).scores };
  }

  it('is what was asked for, with one host', () => {
    expect([gpu.provider, gpu.size]).toEqual(['webgpu', 1]);
  });

  it('scores the shipped model as the CPU does', async () => {
    const scores = await both(specOf('int8', SHIPPED_FILE), ROWS);
    // A difference in the seventh digit may round to the next int8 step, which moves a score by 0.02; the next test has no such steps.
    expect(differences(scores.webgpu, scores.cpu)[1]).toBeLessThanOrEqual(1e-4);
    expect(largest(scores.webgpu, scores.cpu)).toBeLessThanOrEqual(0.1);
  }, 300_000);

  it('scores one to 1e-5 with its activations in float32', async () => {
    const spec = await folder.writeModel('float', inFloat32(await readModel(FLOAT_ATTENTION)));
    const scores = await both(spec, ROWS);
    expect(largest(scores.webgpu, scores.cpu)).toBeLessThanOrEqual(1e-5);
  }, 300_000);

  // ModernBERT masks windows by `And` and turns states by sines, which this driver knows to 2e-4.
  it.skipIf(NO_FIXTURES !== '').each([
    ['bert', 1e-5],
    ['modernbert-cls', 2e-3],
  ])(
    `gives PyTorch's golden logits: %s to %d ${NO_FIXTURES && `(${NO_FIXTURES})`}`,
    async (family, tolerance) => {
      const golden = JSON.parse(readFileSync(join(FIXTURES, family, 'golden.json'), 'utf8')) as Golden;
      const rows = golden.inputs.input_ids.map((ids, r) => {
        const length = golden.inputs.attention_mask[r]!.reduce((sum, bit) => sum + bit, 0);
        return row(ids.slice(0, length), golden.inputs.token_type_ids?.[r]?.indexOf(1) ?? length);
      });
      const { webgpu } = await both(specOf(family, join(FIXTURES, family, 'dynamo-op20.onnx')), rows);
      expect(largest(webgpu, Float32Array.from(golden.logits))).toBeLessThanOrEqual(tolerance);
    },
    300_000,
  );

  it('is not what auto takes: a software adapter is slower than the CPU', async () => {
    const pool = await createHostPool({ env: ENV, hosts: 1 });
    expect(pool.provider).toBe('cpu');
    await pool.close();
  });
});

describe('WebGPU without a driver', () => {
  it('is an error that names the cure', async () => {
    const env = { VK_ICD_FILENAMES: '/nowhere.json', VK_DRIVER_FILES: '/nowhere.json' };
    const start = createHostPool({ provider: 'webgpu', env });
    await expect(start).rejects.toMatchObject({ code: 'provider_unavailable', params: { provider: 'webgpu' } });
    await expect(start).rejects.toThrow('install a Vulkan loader and driver');
  });
});

interface Golden {
  readonly inputs: {
    readonly input_ids: readonly number[][];
    readonly attention_mask: readonly number[][];
    readonly token_type_ids?: readonly number[][];
  };
  readonly logits: readonly number[];
}

/** The quantized linear layers with their weights as the float32 they stand for and their inputs not rounded. */
function inFloat32(model: Model): Model {
  const { graph } = model;
  const made = producers(graph);
  const initializers = new Map(graph.initializers);
  const plain = (node: Node): Node => {
    if (node.op !== 'MatMulIntegerToFloat') return node;
    const [rounded = '', weight = '', , scale = ''] = node.inputs;
    const [quantized, scales] = [initializers.get(weight)!, numbers(initializers.get(scale)!)];
    const columns = quantized.dims[1]!;
    const values = numbers(quantized).map((q, i) => q * scales[i % columns]!);
    initializers.set(`${weight}_float`, tensor('float32', quantized.dims, values));
    return { ...node, op: 'MatMul', domain: '', inputs: [made.get(rounded)!.inputs[0]!, `${weight}_float`] };
  };
  const nodes = graph.nodes.map(plain).filter(({ op }) => op !== 'QuantizeLinear');
  return { ...model, graph: freezeGraph({ ...graph, nodes, initializers }) };
}
