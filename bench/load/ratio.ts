import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { InferenceSession } from 'onnxruntime-node';
import { type BareEngine, type BareRow, sortedBatches, startBareEngine } from './engine.ts';
import { median } from './figures.ts';
import { ownCpuSeconds } from './processes.ts';

/** One file in batches of one size. */
interface Side {
  readonly file: string;
  readonly tokens: number;
}

/** Tokens of a batch of the float32 baseline. */
const BASELINE_TOKENS = 1024;
/** Processes of one thread each. */
const LAYOUT = { hosts: 2, threads: 1 } as const;

/** A MiniLM-L6 in float32, for folders that have no float32 file. */
const SHARED = join(import.meta.dirname, '../../../shared/backbones/all-minilm-l6-v2/onnx/model.onnx');

/** Returns the float32 file that a model is compared with, if there is one. */
export const baselineOf = (folder: string): string | undefined =>
  [join(folder, 'onnx/model.onnx'), join(folder, 'model.onnx'), SHARED].find(existsSync);

interface Round {
  readonly seconds: number;
  readonly cpu: number;
}

async function measured(engine: BareEngine): Promise<Round> {
  const used = () => engine.pids.reduce((sum, pid) => sum + ownCpuSeconds(pid), 0);
  const before = used();
  const seconds = await engine.round();
  return { seconds, cpu: used() - before };
}

const range = (values: readonly number[]) =>
  `${median(values).toFixed(2)} (${Math.min(...values).toFixed(2)}–${Math.max(...values).toFixed(2)})`;

/**
 * Compares a file with float32 in short rounds that take turns, by plain onnxruntime: ratios of pairs a second and of processor time, which
 * other programs disturb less. @returns lines for the terminal.
 */
export async function compareWithFloat(
  { file, baseline }: { readonly file: string; readonly baseline: string },
  rows: readonly BareRow[],
  { tokens, rounds, session }: { tokens: number; rounds: number; session: InferenceSession.SessionOptions },
): Promise<readonly string[]> {
  const sides: readonly Side[] = [
    { file: baseline, tokens: BASELINE_TOKENS },
    { file: baseline, tokens },
    { file, tokens: BASELINE_TOKENS },
    { file, tokens },
  ];
  const engines: BareEngine[] = [];
  const runs: Round[][] = sides.map(() => []);
  try {
    for (const side of sides) {
      const batches = sortedBatches(rows, { tokens: side.tokens, rows: Number.POSITIVE_INFINITY });
      engines.push(await startBareEngine(side.file, LAYOUT, batches, session));
    }
    for (let round = 0; round < rounds; round++)
      for (const [i, engine] of engines.entries()) runs[i]!.push(await measured(engine));
  } finally {
    for (const engine of engines) engine.close();
  }
  const base = runs[0]!;
  return sides.map((side, i) => {
    const ratio = (of: (r: Round) => number) => range(runs[i]!.map((run, r) => of(base[r]!) / of(run)));
    const rate = median(runs[i]!.map(({ seconds }) => rows.length / seconds));
    const name = i < 2 ? 'float32' : 'file';
    return `${name} at ${side.tokens} tokens: ${rate.toFixed(1)} pairs/s, ${ratio((r) => r.seconds)}x by time, ${ratio((r) => r.cpu)}x by processor time`;
  });
}
