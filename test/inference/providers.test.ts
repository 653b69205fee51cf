import { readFileSync } from 'node:fs';
import { Tensor } from 'onnxruntime-node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { GraphicsFacts } from '../../src/inference/adapters.ts';
import { chooseProvider, createSession, PROBE, providerWorks, sessionOptions } from '../../src/inference/providers.ts';
import { decodeModel } from '../../src/onnx/protobuf.ts';
import { type GraphFolder, graphFolder, shapedGraph } from './graphs.ts';

const NOTHING: GraphicsFacts = { platform: 'linux', drivers: [], nvidia: false, icds: '' };

let folder: GraphFolder;
beforeAll(async () => {
  folder = await graphFolder();
});
afterAll(() => folder.remove());

describe('sessions', () => {
  it('open from a path and from bytes, and compute the same', async () => {
    const { file } = await folder.write('column', shapedGraph('column'));
    for (const model of [file, new Uint8Array(readFileSync(file))]) {
      const session = await createSession(model, { threads: 1, optimization: 'basic' });
      const input = new Tensor('int64', BigInt64Array.of(1n, 2n, 3n, 4n), [2, 2]);
      const { logits } = await session.run({ input_ids: input });
      expect([...(logits!.data as Float32Array)]).toEqual([3, 7]);
      await session.release();
    }
  });

  it('refuse an absent provider with the cure, and a broken graph with the engine’s reason', async () => {
    const { file } = await folder.write('column', shapedGraph('column'));
    await expect(createSession(file, { provider: 'cuda' })).rejects.toMatchObject({ code: 'provider_unavailable' });
    await expect(createSession(Buffer.from('no graph'))).rejects.toThrow('protobuf');
  });

  it('have the threads they are given, one operator at a time, and do not spin', () => {
    expect(sessionOptions({ threads: 3, arena: false, memoryPattern: false })).toMatchObject({
      intraOpNumThreads: 3,
      interOpNumThreads: 1,
      enableCpuMemArena: false,
      enableMemPattern: false,
      extra: { session: { intra_op: { allow_spinning: '0' } } },
    });
    expect(sessionOptions({ provider: 'cuda', device: 2 }).executionProviders).toEqual([{ name: 'cuda', deviceId: 2 }]);
  });
});

describe('choosing a provider', () => {
  it('takes what is asked for', async () => {
    expect(await chooseProvider('cpu')).toBe('cpu');
    expect(await providerWorks('cpu')).toBe(true);
  });

  it('auto falls back to the CPU where a device is in sight and does not open', async () => {
    expect(await chooseProvider('auto', 0, NOTHING)).toBe('cpu');
    // No driver stands behind these devices here, as behind a GPU that is handed into a container without its libraries.
    if (await providerWorks('cuda')) return;
    expect(await chooseProvider('auto', 0, { ...NOTHING, nvidia: true, icds: 'swiftshader' })).toBe('cpu');
  });

  it('probes with the graph it says', () => {
    const { graph, opsets, irVersion } = decodeModel(PROBE);
    expect(graph.nodes.map(({ op, inputs, outputs }) => ({ op, inputs, outputs }))).toEqual([
      { op: 'Identity', inputs: ['x'], outputs: ['y'] },
    ]);
    expect({ opsets, irVersion }).toEqual({ opsets: { '': 13 }, irVersion: 8 });
  });
});
