import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { HostPool } from '../../src/inference/inference-types.ts';
import { createLocalPool } from '../../src/inference/local-pool.ts';
import { createGraphRewriter } from '../../src/inference/rewrite/graph-rewriter.ts';
import type { GraphRewriter, RewriteRequest, Rewritten } from '../../src/inference/rewrite/rewrite-types.ts';
import { type AdmissionDeps, inspectVersion, loadAndTest } from '../../src/registry/version-admission.ts';
import {
  dropVersion,
  type FolderShape,
  fakePool,
  openRegistry,
  scratch,
  tinyGraph,
  tokenizers,
  writeExport,
} from './support.ts';

let pool: HostPool;
beforeAll(async () => {
  pool = await createLocalPool({ threads: 1 });
});
afterAll(() => pool.close());

async function admit(shape: FolderShape, over: Partial<AdmissionDeps> = {}) {
  const deps = { pool, tokenizers, ...over };
  const folder = await writeExport(await scratch(), shape);
  const inspected = await inspectVersion({ folder }, { ...deps, provider: deps.pool.provider });
  const admitted = await loadAndTest({ name: 'm', version: '1', key: 'm@1', folder }, inspected, deps);
  const { scores } = await deps.pool.run('m@1', [{ ids: Int32Array.of(2, 7, 3, 9, 3), secondSegment: 3 }]);
  await deps.pool.unload('m@1');
  return { ...admitted.served, file: admitted.file, score: scores[0]! };
}

/** Answers with a file of other scores, so that a test sees which file is served. */
async function rewriterTo(bytes: Uint8Array | string, note = 'rewritten') {
  const file = join(await scratch(), 'rewritten.onnx');
  await writeFile(file, bytes);
  const requests: RewriteRequest[] = [];
  const rewriter: GraphRewriter = {
    async rewrite(request): Promise<Rewritten> {
      requests.push(request);
      return { file, note };
    },
  };
  return { rewriter, requests, file };
}

/** A version that ships with Winnow. */
const SHIPPED = join(import.meta.dirname, '../../models/minilm-l6-bce/1');

const EXPORT = { producer: 'pytorch' } as const;

describe('the graph of another tool', () => {
  it('is served as rewritten, and the status says how', async () => {
    const { rewriter, requests } = await rewriterTo(tinyGraph({ bias: 1 }));
    const plain = await admit(EXPORT);
    const served = await admit(EXPORT, { rewriter });
    expect(plain.rewrite).toBeUndefined();
    expect(served.rewrite).toBe('rewritten');
    expect(served.score).toBeCloseTo(plain.score + 1, 5);
    // What is served is still named by the file of the version.
    expect(served.sha256).toBe(plain.sha256);
    expect(served.file).toMatch(/onnx\/model\.onnx$/);
    expect(requests[0]).toMatchObject({
      sha256: plain.sha256,
      tolerance: 1e-5,
      spec: { maxLength: 64, firstPosition: 0 },
    });
    expect(requests[0]!.rows.length).toBeGreaterThanOrEqual(6);
  });

  it('is served as exported where the hosts refuse the rewritten one', async () => {
    const { rewriter } = await rewriterTo('no graph');
    const served = await admit(EXPORT, { rewriter });
    expect(served.rewrite).toMatch(/^served as exported: the rewritten graph was refused \(.+\)$/);
    expect(served.score).toBe((await admit(EXPORT)).score);
  });

  it('is served as exported where it rounds by the whole batch', async () => {
    const { rewriter, requests } = await rewriterTo(tinyGraph());
    const served = await admit({ ...EXPORT, dynamic: true }, { rewriter });
    expect(served.rewrite).toMatch(/^served as exported: dynamic int8 rounds by the states of the whole batch/);
    expect(requests).toHaveLength(0);
  });

  it('has to give the same bits where it is int8', async () => {
    const { rewriter, requests } = await rewriterTo(tinyGraph());
    await admit({ ...EXPORT, file: 'onnx/model_int8.onnx', files: { 'onnx/model.onnx': null } }, { rewriter });
    expect(requests[0]!.tolerance).toBe(0);
  });

  it('is not touched on a GPU, in half precision, or when Winnow wrote it', async () => {
    const { rewriter, requests } = await rewriterTo(tinyGraph());
    const gpu = { ...fakePool(), provider: 'webgpu' } as const;
    expect((await admit(EXPORT, { rewriter, pool: gpu })).rewrite).toBeUndefined();
    const half = { ...EXPORT, file: 'onnx/model_fp16.onnx' };
    expect((await admit(half, { rewriter, variant: 'fp16' })).rewrite).toBeUndefined();
    expect((await admit({}, { rewriter })).rewrite).toBeUndefined();
    expect(requests).toHaveLength(0);
  });

  it('is none in a file of `winnow quantize`, which keeps the name of the exporter', async () => {
    const { graph } = await inspectVersion({ folder: SHIPPED }, { provider: 'cpu' });
    expect(graph.isOwn).toBe(true);
    const exported = await writeExport(await scratch(), EXPORT);
    expect((await inspectVersion({ folder: exported }, { provider: 'cpu' })).graph.isOwn).toBe(false);
  });

  it('is loaded as exported by a host that finds the cache emptied', async () => {
    const { rewriter, file } = await rewriterTo(tinyGraph({ bias: 1 }));
    const folder = await writeExport(await scratch(), EXPORT);
    const deps = { pool, tokenizers, rewriter };
    const inspected = await inspectVersion({ folder }, { ...deps, provider: 'cpu' });
    await loadAndTest({ name: 'm', version: '1', key: 'm@1', folder }, inspected, deps);
    await rm(file);
    const spec = { padId: 0, maxLength: 64, reduction: { kind: 'single' }, file, key: 'again' } as const;
    await pool.load({ ...spec, exported: join(folder, 'onnx/model.onnx') });
    await pool.unload('again');
    await pool.unload('m@1');
  });

  it('shows in the list of versions, from rewriting by a real process on', async () => {
    const folder = await scratch();
    await dropVersion(folder, 'm', '1', EXPORT);
    const rewriter = createGraphRewriter({ folder: join(folder, '.graphs'), leastGain: 0 });
    const registry = await openRegistry(folder, { pool, rewriter });
    (await registry.acquire('m')).release();
    const [status] = registry.list();
    expect(status!.rewrite).toMatch(/^rewritten for this processor: \d+ → \d+ nodes, scores equal /);
    expect((await readFile(join(folder, 'm/1/onnx/model.onnx'))).length).toBeGreaterThan(0);
  });
});
