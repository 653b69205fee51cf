import { existsSync } from 'node:fs';
import { chmod, copyFile, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createGraphRewriter } from '../../src/inference/rewrite/graph-rewriter.ts';
import type { RewriteJob, RewriteOutcome, RewriteRequest } from '../../src/inference/rewrite/rewrite-types.ts';
import { modelOf } from '../../src/onnx/builder.ts';
import { readModel, writeModel } from '../../src/onnx/model-file.ts';
import { sha256File } from '../../src/util/files.ts';
import { FIXTURES, NO_FIXTURES } from '../support/training-fixtures.ts';
import { positionGraph, row, strangerGraph, sumGraph } from './graphs.ts';

const ROWS = [
  row([101, 7, 102, 9, 9, 102], 3),
  row([101, 3, 102, 8, 102], 3),
  row([101, 3, 4, 5, 102, 8, 11, 13, 102], 5),
];
const REWRITTEN: RewriteOutcome = { kind: 'rewritten', nodes: [9, 5], difference: 0, speed: 1.5 };

async function folderOf(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'winnow-rewriter-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

const requestFor = async (file: string, tolerance = 1e-5): Promise<RewriteRequest> => ({
  files: [file],
  sha256: await sha256File(file),
  bytes: 1000,
  spec: { padId: 0, maxLength: 16, reduction: { kind: 'single' } },
  rows: ROWS,
  tolerance,
});

async function tinyFile(folder: string, graph = sumGraph()): Promise<string> {
  const file = join(folder, 'exported.onnx');
  await writeModel(file, modelOf(graph.build()));
  return file;
}

/** Counts its calls and writes a file in place of the rewritten graph. */
function counting(outcome: RewriteOutcome = REWRITTEN) {
  const jobs: RewriteJob[] = [];
  const run = async (job: RewriteJob) => {
    jobs.push(job);
    await writeFile(job.target, 'rewritten');
    return outcome;
  };
  return { jobs, run };
}

describe('createGraphRewriter', () => {
  it('keeps a rewritten graph by content and uses it again', async () => {
    const folder = await folderOf();
    const request = await requestFor(await tinyFile(folder));
    const { jobs, run } = counting();
    const cache = join(folder, 'graphs');
    const first = await createGraphRewriter({ folder: cache, run }).rewrite(request);
    const second = await createGraphRewriter({ folder: cache, run }).rewrite(request);
    expect(first.note).toBe('rewritten for this processor: 9 → 5 nodes, scores equal bit for bit, 1.50 times as fast');
    expect(second).toEqual(first);
    expect(jobs).toHaveLength(1);
    const other = await createGraphRewriter({ folder: cache, run }).rewrite({ ...request, sha256: 'other' });
    expect(other.file).not.toBe(first.file);
    expect(jobs).toHaveLength(2);
  });

  it('tells external data of the same graph apart', async () => {
    const folder = await folderOf();
    const request = await requestFor(await tinyFile(folder));
    const data = join(folder, 'weights.data');
    const { jobs, run } = counting();
    const rewriter = createGraphRewriter({ folder: join(folder, 'graphs'), run });
    const files = [request.files[0], data] as const;
    await writeFile(data, 'one');
    const one = await rewriter.rewrite({ ...request, files });
    await writeFile(data, 'two');
    const two = await rewriter.rewrite({ ...request, files });
    expect(one.file).not.toBe(two.file);
    expect(jobs).toHaveLength(2);
  });

  it('rewrites anew where the file that was checked is damaged or gone', async () => {
    const folder = await folderOf();
    const request = await requestFor(await tinyFile(folder));
    const { jobs, run } = counting();
    const rewriter = createGraphRewriter({ folder: join(folder, 'graphs'), run });
    const { file } = await rewriter.rewrite(request);
    await writeFile(file!, 'damaged');
    await rewriter.rewrite(request);
    await rm(file!);
    expect((await rewriter.rewrite(request)).file).toBe(file);
    await writeFile(file!.replace(/onnx$/, 'json'), '{"outcome":');
    await rewriter.rewrite(request);
    expect(jobs).toHaveLength(4);
    expect(await readdir(join(folder, 'graphs'))).toHaveLength(2);
  });

  it('remembers a verdict, and tries again after what only was in the way', async () => {
    const folder = await folderOf();
    const request = await requestFor(await tinyFile(folder));
    const kept = counting({ kind: 'kept', reason: 'no gain' });
    const rewriter = createGraphRewriter({ folder: join(folder, 'kept'), run: kept.run });
    await rewriter.rewrite(request);
    expect(await rewriter.rewrite(request)).toEqual({ file: undefined, note: 'served as exported: no gain' });
    expect(kept.jobs).toHaveLength(1);
    const failed = counting({ kind: 'failed', reason: 'ENOSPC' });
    const other = createGraphRewriter({ folder: join(folder, 'failed'), run: failed.run });
    await other.rewrite(request);
    expect((await other.rewrite(request)).note).toBe('served as exported: ENOSPC');
    expect(failed.jobs).toHaveLength(2);
    expect(await readdir(join(folder, 'failed'))).toEqual([]);
  });

  it('leaves large graphs and machines without memory alone', async () => {
    const folder = await folderOf();
    const request = await requestFor(await tinyFile(folder));
    const { jobs, run } = counting();
    const options = { folder: join(folder, 'graphs'), run };
    expect((await createGraphRewriter(options).rewrite({ ...request, bytes: 2 ** 31 })).note).toMatch(/files above/);
    const poor = createGraphRewriter({ ...options, availableMemory: () => 5999 });
    expect((await poor.rewrite(request)).note).toBe(
      'served as exported: rewriting needs about 6000 bytes of memory, 5999 are free',
    );
    expect(jobs).toHaveLength(0);
  });

  it.skipIf(process.getuid?.() === 0)('serves the export where the cache cannot be written', async () => {
    const folder = await folderOf();
    const request = await requestFor(await tinyFile(folder));
    await chmod(folder, 0o500);
    const { note } = await createGraphRewriter({ folder: join(folder, 'graphs') }).rewrite(request);
    await chmod(folder, 0o700);
    expect(note).toMatch(/EACCES/);
  });

  it('serves the export where a file stands in the place of the cache', async () => {
    const folder = await folderOf();
    const file = await tinyFile(folder);
    const { note } = await createGraphRewriter({ folder: join(file, 'graphs') }).rewrite(await requestFor(file));
    expect(note).toMatch(/^served as exported: ENOTDIR/);
  });

  it('removes what no start has used for a month', async () => {
    const folder = await folderOf();
    const request = await requestFor(await tinyFile(folder));
    const { run } = counting();
    const rewriter = createGraphRewriter({ folder: join(folder, 'graphs'), run });
    const { file } = await rewriter.rewrite(request);
    const old = new Date(Date.now() - 31 * 86_400_000);
    for (const path of [file!, file!.replace(/onnx$/, 'json')]) await utimes(path, old, old);
    await writeFile(join(folder, 'graphs', 'notes.txt'), 'not ours');
    await rewriter.rewrite({ ...request, sha256: 'other' });
    expect(existsSync(file!)).toBe(false);
    expect(await readdir(join(folder, 'graphs'))).toHaveLength(3);
  });
});

describe('the process that rewrites', () => {
  it('says what the engine refuses, and what changes scores', async () => {
    const folder = await folderOf();
    const rewriter = createGraphRewriter({ folder: join(folder, 'graphs'), leastGain: 0 });
    const stranger = await rewriter.rewrite(await requestFor(await tinyFile(folder, strangerGraph())));
    expect(stranger.file).toBeUndefined();
    expect(stranger.note).toMatch(/^served as exported: /);
    await writeFile(join(folder, 'broken.onnx'), 'no protobuf');
    const broken = await rewriter.rewrite(await requestFor(join(folder, 'broken.onnx')));
    expect(broken.note).toMatch(/^served as exported: .*broken\.onnx/);
  });

  it('writes a graph with the same scores', async () => {
    const folder = await folderOf();
    const request = await requestFor(await tinyFile(folder, positionGraph()), 0);
    const { file, note } = await createGraphRewriter({ folder: join(folder, 'graphs'), leastGain: 0 }).rewrite(request);
    expect(note).toMatch(/scores equal bit for bit/);
    expect((await readModel(file!)).producer).toBe('winnow');
  });
});

/** Exports by several exporters and optimizers, of encoders whose head reads the first token. */
const EXPORTS = [
  'bert/torchscript-op14.onnx',
  'bert/tf448-op14-sdpa.onnx',
  'bert/dynamo-op20.onnx',
  'roberta/torchscript-op17.onnx',
  'electra/dynamo-op18.onnx',
  'deberta-v2/torchscript-op17.onnx',
  'modernbert-cls/tf448-op14-sdpa.onnx',
] as const;

describe.skipIf(NO_FIXTURES !== '')(`exports ${NO_FIXTURES && `(skipped: ${NO_FIXTURES})`}`, () => {
  it.each(EXPORTS)('%s is rewritten with equal scores', async (name) => {
    const folder = await folderOf();
    await copyFile(join(FIXTURES, name), join(folder, 'exported.onnx'));
    const request = await requestFor(join(folder, 'exported.onnx'));
    const rows = [row([1, 7, 2, 9, 9, 2], 3), row([1, 3, 2, 8, 2], 3), row([1, 3, 4, 5, 2, 8, 11, 13, 2], 5)];
    const spec = { ...request.spec, firstPosition: name.startsWith('roberta') ? 2 : 0 };
    const rewriter = createGraphRewriter({ folder: join(folder, 'graphs'), leastGain: 0 });
    const { file, note } = await rewriter.rewrite({ ...request, rows, spec });
    expect(note).toMatch(/^rewritten/);
    const ops = new Set((await readModel(file!)).graph.nodes.map(({ op }) => op));
    expect(ops).toContain('LayerNormalization');
    expect(ops).toContain('Gelu');
    expect(ops).not.toContain('Erf');
  });
});
