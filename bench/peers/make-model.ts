import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { note } from './entry.ts';

const ROOT = join(import.meta.dirname, '../..');
const WINNOW = join(ROOT, 'bin/winnow.mjs');
const RUNS = join(ROOT, 'runs/peers');
/** Candidate lists that the recipe trains on; the teacher scores them. */
const LISTS = ['BM25.dl21.top100', 'SPLADE_P_P_ENSEMBLE_DISTIL.dl21.top100', 'BM25.dl22.top100'];
const TEACHER = 'minilm-l6-bce';

function winnow(...args: readonly string[]): void {
  note(`winnow ${args.join(' ')}`);
  const { status, error } = spawnSync(process.execPath, [WINNOW, ...args], { cwd: ROOT, stdio: ['ignore', 2, 2] });
  if (status !== 0) throw new Error(`winnow ${args[0]} ended with ${error?.message ?? status}`);
}

/**
 * Trains the model of the comparison and publishes it into runs/peers/registry: scores of a shipped model, then `model.yaml`.
 * @param data folder of TREC-DL. @throws Error if a command fails; a new try goes on where it stopped.
 */
export async function makeModel(data: string): Promise<void> {
  mkdirSync(RUNS, { recursive: true });
  for (const list of LISTS) {
    const out = join(RUNS, `${list}.run`);
    const from = ['--format', 'rank-llm', '--data', join(data, `${list}.json`)];
    if (!existsSync(out)) winnow('score', ...from, '--model', TEACHER, '--out', out);
  }
  winnow('train', join(import.meta.dirname, 'model.yaml'));
}
