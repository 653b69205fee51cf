import { WinnowError } from '../../errors.ts';
import type { Model } from '../../onnx/graph.ts';
import { readModel, writeModel } from '../../onnx/model-file.ts';
import { servingForm } from '../../onnx/serving-form.ts';
import type { InferenceRow } from '../inference-types.ts';
import { SessionTable } from '../session-table.ts';
import type { RewriteJob, RewriteOutcome } from './rewrite-types.ts';

const [EXPORTED, REWRITTEN] = [1, 2] as const;

/** Rows that are also scored alone: an engine multiplies a single row by other code. */
const ALONE = 4;

/** Rows whose scoring is timed, their tokens, and how often both graphs score them in turn. */
const TIMED = { rows: 3, tokens: 64, rounds: 5, limitMs: 4000 } as const;

async function scoresOf(table: SessionTable, handle: number, rows: readonly InferenceRow[]): Promise<number[]> {
  const batches = [...rows.slice(0, ALONE).map((row) => [row]), rows];
  const scores: number[] = [];
  for (const batch of batches) scores.push(...(await table.run(handle, batch)).scores);
  return scores;
}

/** Returns the largest difference of two lists, relative to numbers above 1; NaN where one is NaN or infinite. */
function distance(exported: readonly number[], rewritten: readonly number[]): number {
  return exported.reduce((most, x, i) => {
    const apart = Math.abs(x - rewritten[i]!) / Math.max(1, Math.abs(x));
    return Number.isNaN(most) || apart <= most ? most : apart;
  }, 0);
}

const timedRows = (maxLength: number): readonly InferenceRow[] =>
  Array.from({ length: TIMED.rows }, (_, r) => ({
    ids: Int32Array.from({ length: Math.min(TIMED.tokens, maxLength) }, (_, c) => 5 + ((r + c) % 90)),
    secondSegment: 8,
  }));

/** Returns the median of the ratios of processor time, which other programs on the machine disturb less than that of the clock. */
async function speedOf(table: SessionTable, rows: readonly InferenceRow[]): Promise<number> {
  const used = async (handle: number): Promise<number> => {
    const before = process.cpuUsage();
    await table.run(handle, rows);
    const { user, system } = process.cpuUsage(before);
    return user + system;
  };
  const ratios: number[] = [];
  const from = performance.now();
  for (let round = 0; round < TIMED.rounds && (round < 3 || performance.now() - from < TIMED.limitMs); round++)
    ratios.push((await used(EXPORTED)) / (await used(REWRITTEN)));
  return ratios.toSorted((a, b) => a - b)[ratios.length >> 1]!;
}

async function compare(job: RewriteJob, nodes: readonly [number, number]): Promise<RewriteOutcome> {
  const { source, target, spec, rows, tolerance, leastGain } = job;
  const table = new SessionTable({ provider: 'cpu', threads: 1 });
  try {
    await table.load(EXPORTED, { ...spec, key: 'exported', file: source });
    await table.load(REWRITTEN, { ...spec, key: 'rewritten', file: target });
    const difference = distance(await scoresOf(table, EXPORTED, rows), await scoresOf(table, REWRITTEN, rows));
    const bound = tolerance === 0 ? 'equal bit for bit' : `within ${tolerance}`;
    if (!(difference <= tolerance)) return kept(`expected scores ${bound}, got a difference of ${shown(difference)}`);
    const speed = await speedOf(table, timedRows(spec.maxLength));
    if (speed < leastGain) return kept(`the rewritten graph is not faster (${speed.toFixed(2)} times)`);
    return { kind: 'rewritten', nodes, difference, speed };
  } finally {
    await table.unload(EXPORTED);
    await table.unload(REWRITTEN);
  }
}

const shown = (x: number): string => x.toPrecision(2);
const kept = (reason: string): RewriteOutcome => ({ kind: 'kept', reason });

/** Returns the name of the scores, as hosts choose it. */
const outputOf = ({ graph: { outputs } }: Model): string =>
  (outputs.find(({ name }) => name === 'logits') ?? outputs[0]!).name;

/** Writes the rewritten graph of a job and compares it with the one as exported. Runs in a process of its own. */
export async function rewriteGraph(job: RewriteJob): Promise<RewriteOutcome> {
  try {
    const model = await readModel(job.source);
    const form = await servingForm(model, outputOf(model));
    await writeModel(job.target, form);
    return await compare(job, [model.graph.nodes.length, form.graph.nodes.length]);
  } catch (error) {
    const { message } = error as Error;
    return error instanceof WinnowError ? kept(message) : { kind: 'failed', reason: message };
  }
}
