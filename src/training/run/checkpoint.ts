import { createHash } from 'node:crypto';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { WinnowError } from '../../errors.ts';
import { readSafetensors, writeSafetensors } from '../../onnx/safetensors.ts';
import { float32View, type Tensor, tensorOf } from '../../onnx/tensor.ts';
import { isObject, type JsonObject } from '../../util/json-files.ts';
import { parseJson } from '../../util/parse-json.ts';
import type { LossScale } from '../optimizers/loss-scale.ts';
import type { StateArrays } from '../step/stepper.ts';

/*
 * A checkpoint is one file, written atomically: weights, moments and, in its metadata, everything else a run needs to continue with the same
 * numbers. Data order and dropout masks follow from seed and step, so there is no state of a random generator. The metadata has a hash of all
 * of it, so that a file which a disk or a copy has damaged is not continued from.
 */

/** The metadata of a checkpoint. */
export interface CheckpointFacts {
  /** Steps done. */
  readonly step: number;
  /** Hash of recipe and data; a run continues from its own checkpoints only. */
  readonly runHash: string;
  /** Best validation so far. */
  readonly best?: Best;
  /** Validations since the best one. */
  readonly stale: number;
  /** Consecutive steps that failed each check of the guards. */
  readonly alarms: Readonly<Record<string, number>>;
  /** In float16 only. */
  readonly lossScale?: LossScale;
}

interface Checkpoint extends CheckpointFacts {
  readonly state: StateArrays;
}

const FILE = /^checkpoint-(\d+)\.safetensors$/;
const fileOf = (step: number): string => `checkpoint-${step}.safetensors`;

async function steps(folder: string): Promise<number[]> {
  const names = await readdir(folder).catch(() => [] as string[]);
  return names
    .flatMap((name) => FILE.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b);
}

/** Returns a hash of facts and tensors, independent of their place in the file. */
function digestOf(facts: string, tensors: ReadonlyMap<string, Tensor>): string {
  const hash = createHash('sha256').update(facts);
  for (const name of [...tensors.keys()].sort()) {
    const { dtype, dims, bytes } = tensors.get(name)!;
    hash.update(JSON.stringify([name, dtype, dims])).update(bytes);
  }
  return hash.digest('hex');
}

/** Writes a checkpoint and removes all but the newest `keep`. */
export async function writeCheckpoint(folder: string, { state, ...facts }: Checkpoint, keep: number): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeWeights(join(folder, fileOf(facts.step)), state, { ...facts });
  for (const old of (await steps(folder)).slice(0, -keep)) await rm(join(folder, fileOf(old)), { force: true });
}

/** Writes arrays with facts and a hash of both. */
async function writeWeights(path: string, state: StateArrays, facts: Readonly<Record<string, unknown>>): Promise<void> {
  const tensors = new Map([...state].map(([name, data]) => [name, tensorOf('float32', [data.length], data)] as const));
  const text = JSON.stringify(facts);
  await writeSafetensors(path, tensors, { facts: text, sha256: digestOf(text, tensors) });
}

/** Reads what `writeWeights` wrote. @throws WinnowError `invalid_graph` for a damaged file. */
async function readWeights(path: string): Promise<{ readonly state: StateArrays; readonly facts: JsonObject }> {
  const { tensors, metadata } = await readSafetensors(path);
  const { facts: text = '{}', sha256 } = metadata;
  const found = digestOf(text, tensors);
  if (sha256 !== undefined && sha256 !== found)
    throw new WinnowError('invalid_graph', { where: path, expected: `contents of hash ${sha256}`, got: found });
  const facts = parseFacts(text);
  if (!facts) throw new WinnowError('invalid_graph', { where: path, expected: 'facts of a run', got: 'none' });
  return { state: new Map([...tensors].map(([name, t]) => [name, float32View(t)])), facts };
}

function parseFacts(text: string): JsonObject | undefined {
  try {
    const value: unknown = parseJson(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

interface Newest {
  readonly checkpoint: Checkpoint | undefined;
  /** A line for each newer file that is damaged. */
  readonly damaged: readonly string[];
}

/**
 * Reads the newest checkpoint of a folder that is whole; undefined where there is none.
 * @throws WinnowError `invalid_input` if it belongs to another recipe or other data.
 */
export async function readCheckpoint(folder: string, runHash: string): Promise<Newest> {
  const damaged: string[] = [];
  for (const step of (await steps(folder)).reverse()) {
    const path = join(folder, fileOf(step));
    const found = await readWeights(path).catch((error) => {
      if (!(error instanceof WinnowError)) throw error;
      damaged.push(error.message);
      return undefined;
    });
    if (!found) continue;
    const { state, facts } = found;
    const known = facts as unknown as CheckpointFacts;
    if (known.runHash !== runHash)
      throw new WinnowError('invalid_input', {
        where: path,
        expected: `a checkpoint of this recipe and data (${runHash})`,
        got: `one of ${known.runHash}; remove the folder or give another --run`,
      });
    return { checkpoint: { ...known, state }, damaged };
  }
  return { checkpoint: undefined, damaged };
}

/** The best weights so far, in `best.safetensors` of a run's folder. */
export interface Best {
  readonly step: number;
  readonly value: number;
}

const bestFile = (folder: string): string => join(folder, 'best.safetensors');

/** Replaces the best weights of a run. */
export const writeBest = (folder: string, state: StateArrays, runHash: string, best: Best): Promise<void> =>
  writeWeights(bestFile(folder), state, { ...best, runHash });

/**
 * Reads the best weights of a run. They may be from a later step than a checkpoint knows of, which was damaged or never written.
 * @param best what the checkpoint knows.
 * @throws WinnowError `invalid_input` where the file is missing, damaged or of another run.
 */
export async function readBest(
  folder: string,
  runHash: string,
  best: Best,
): Promise<{ readonly state: StateArrays; readonly best: Best }> {
  const where = bestFile(folder);
  const refuse = (got: string): never => {
    const expected = `the best weights of this run (${runHash}, step ${best.step})`;
    throw new WinnowError('invalid_input', { where, expected, got: `${got}; remove ${folder} to train again` });
  };
  const { state, facts } = await readWeights(where).catch((error) => refuse(whyUnread(error)));
  const { step, value, runHash: of } = facts;
  if (of !== runHash) return refuse(`those of ${of ?? 'a run without a hash'}`);
  if (typeof step !== 'number' || typeof value !== 'number' || value < best.value || step < best.step)
    return refuse(`those of step ${step}`);
  return { state, best: { step, value } };
}

function whyUnread(error: unknown): string {
  if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 'no file';
  if (error instanceof WinnowError) return error.message;
  throw error;
}
