import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { spread, type Work } from './work.ts';

const SCRIPT = join(import.meta.dirname, '../../test/clients/peers/prepare.py');
/** Pairs that calibrate NNCF's file, which gets real pairs as ours does. */
const CALIBRATION = 300;
const LIMIT_MS = 900_000;

/**
 * Lets Python write the model's files for other engines, unless they are there.
 * @param version model folder with `model.safetensors`. @param out folder of the files.
 * @returns by part (`onnx`, `dynamic`, `nncf`) why a file could not be written.
 */
export async function preparePeers(
  python: string,
  version: string,
  out: string,
  work: Work,
): Promise<Readonly<Record<string, string>>> {
  if (python === '') return {};
  mkdirSync(out, { recursive: true });
  const pairs = join(out, 'calibration-pairs.json');
  writeFileSync(pairs, JSON.stringify(spread(work.pairs, CALIBRATION)));
  const done = spawnSync(python, [SCRIPT, version, out, pairs], {
    encoding: 'utf8',
    timeout: LIMIT_MS,
    maxBuffer: 1 << 26,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, HF_HUB_OFFLINE: '1', TQDM_DISABLE: '1', TRANSFORMERS_VERBOSITY: 'error' },
  });
  const last = done.stdout?.trim().split('\n').at(-1) ?? '';
  if (done.status !== 0 || !last.startsWith('{')) {
    const reason = done.error?.message ?? done.stderr.trim().split('\n').at(-1) ?? `exit code ${done.status}`;
    return { onnx: reason, dynamic: reason, nncf: reason };
  }
  return (JSON.parse(last) as { failed: Record<string, string> }).failed;
}
