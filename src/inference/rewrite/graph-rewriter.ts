import { createHash } from 'node:crypto';
import { readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { sha256File, withTemporary, writeFileAtomic } from '../../util/files.ts';
import { parseJson } from '../../util/parse-json.ts';
import { workerEntry } from '../../util/worker-entry.ts';
import { NoAnswer, runChildJob } from '../child-job.ts';
import type { GraphRewriter, RewriteJob, RewriteOutcome, RewriteRequest, Rewritten } from './rewrite-types.ts';

/** Changes whenever a graph is rewritten in another way or by another engine, so that files of before are not used. */
const REVISION = 1;

/** Larger files are served as exported: rewriting holds several copies in memory. */
const MAX_BYTES = 1 << 30;
/** Memory that rewriting takes, in sizes of the files. */
const COPIES = 6;

/** Less is not worth another file. */
const LEAST_GAIN = 1.02;

/** Milliseconds after which a rewriting is given up. */
const LIMIT_MS = 120_000;

/** Milliseconds after which a file that no start has used is removed. */
const UNUSED_MS = 30 * 86_400_000;

const entrySchema = z.strictObject({
  outcome: z.discriminatedUnion('kind', [
    z.strictObject({
      kind: z.literal('rewritten'),
      nodes: z.tuple([z.number(), z.number()]),
      difference: z.number(),
      speed: z.number(),
    }),
    z.strictObject({ kind: z.literal('kept'), reason: z.string() }),
  ]),
  /** sha256 of the rewritten file. */
  sha256: z.string().optional(),
});

type Entry = z.infer<typeof entrySchema>;

interface RewriterOptions {
  /** Where rewritten graphs are kept. */
  readonly folder: string;
  /** Runs a job. Default: in a child process. */
  readonly run?: (job: RewriteJob) => Promise<RewriteOutcome>;
  readonly availableMemory?: () => number;
  /** How many times as fast a rewritten graph has to be to be worth its file. Default: 1.02. */
  readonly leastGain?: number;
}

const asExported = (reason: string): Rewritten => ({ file: undefined, note: `served as exported: ${reason}` });

function answerOf(outcome: RewriteOutcome, file: string): Rewritten {
  if (outcome.kind !== 'rewritten') return asExported(outcome.reason);
  const { nodes, difference, speed } = outcome;
  const equal = difference === 0 ? 'bit for bit' : `to ${difference.toExponential(1)}`;
  const note = `rewritten for this processor: ${nodes[0]} → ${nodes[1]} nodes, scores equal ${equal}, ${speed.toFixed(2)} times as fast`;
  return { file, note };
}

/** Runs a job in a child process, which is ended after `LIMIT_MS`. */
async function runInChild(job: RewriteJob): Promise<RewriteOutcome> {
  const module = workerEntry('./rewrite-process', import.meta.url);
  try {
    return (await runChildJob(module, job, { limitMs: LIMIT_MS, stderr: 'ignore' })) as RewriteOutcome;
  } catch (error) {
    return { kind: 'failed', reason: reasonOf(error as Error) };
  }
}

function reasonOf(error: Error): string {
  if (!(error instanceof NoAnswer)) return error.message;
  if (error.end === undefined) return `rewriting took longer than ${LIMIT_MS / 1000} s`;
  return `the process that rewrites it ended with ${error.end}`;
}

/** Returns the name of what is kept of a graph: its content and how it was rewritten. */
async function keyOf({ files: [, ...external], sha256, tolerance }: RewriteRequest): Promise<string> {
  const hash = createHash('sha256').update(JSON.stringify([REVISION, process.arch, sha256, tolerance]));
  for (const file of external) hash.update(await sha256File(file));
  return hash.digest('hex').slice(0, 32);
}

/** Reads what is known of a graph; nothing where it is damaged or the rewritten file is not the one that was checked. */
async function readEntry(path: string, graph: string): Promise<Entry | undefined> {
  try {
    const entry = entrySchema.parse(parseJson(await readFile(path, 'utf8')));
    if (entry.outcome.kind === 'rewritten' && (await sha256File(graph)) !== entry.sha256) return undefined;
    const now = new Date();
    const used = entry.outcome.kind === 'rewritten' ? [path, graph] : [path];
    // On a disk that is read only the dates stay.
    for (const file of used) await utimes(file, now, now).catch(() => undefined);
    return entry;
  } catch {
    return undefined;
  }
}

async function removeUnused(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (!/^[0-9a-f]{32}\.(onnx|json)$/.test(name)) continue;
    const path = join(folder, name);
    const facts = await stat(path).catch(() => undefined);
    if (facts && Date.now() - facts.mtimeMs > UNUSED_MS) await rm(path, { force: true });
  }
}

/** Returns why a graph is not tried; undefined where it is. */
function obstacle({ bytes }: RewriteRequest, available: number): string | undefined {
  if (bytes > MAX_BYTES) return `files above ${MAX_BYTES} bytes are not rewritten`;
  if (bytes * COPIES > available)
    return `rewriting needs about ${bytes * COPIES} bytes of memory, ${available} are free`;
  return undefined;
}

/**
 * Creates a rewriter that keeps its graphs in a folder, by content. A graph is rewritten in a child process and served only if it gives the
 * same scores and is faster.
 */
export function createGraphRewriter(options: RewriterOptions): GraphRewriter {
  const { folder, run = runInChild, availableMemory = process.availableMemory, leastGain = LEAST_GAIN } = options;

  async function make(request: RewriteRequest, entryFile: string, graph: string): Promise<Rewritten> {
    const reason = obstacle(request, availableMemory());
    if (reason !== undefined) return asExported(reason);
    return withTemporary(graph, async (target) => {
      const { spec, rows, tolerance } = request;
      const outcome = await run({ source: request.files[0], target, spec, rows, tolerance, leastGain });
      if (outcome.kind === 'failed') return asExported(outcome.reason);
      const entry: Entry =
        outcome.kind === 'rewritten'
          ? { outcome: { ...outcome, nodes: [...outcome.nodes] }, sha256: await sha256File(target) }
          : { outcome };
      if (outcome.kind === 'rewritten') await rename(target, graph);
      await writeFileAtomic(entryFile, JSON.stringify(entry));
      await removeUnused(folder);
      return answerOf(outcome, graph);
    });
  }

  return {
    async rewrite(request) {
      try {
        const key = await keyOf(request);
        const [entryFile, graph] = [join(folder, `${key}.json`), join(folder, `${key}.onnx`)];
        const known = await readEntry(entryFile, graph);
        return known ? answerOf(known.outcome, graph) : await make(request, entryFile, graph);
      } catch (error) {
        return asExported((error as Error).message);
      }
    },
  };
}
