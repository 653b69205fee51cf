import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { WinnowError } from '../../errors.ts';
import { readSafetensors, writeSafetensors } from '../../onnx/safetensors.ts';
import { float32View, tensorOf } from '../../onnx/tensor.ts';
import type { LossScale } from '../optimizers/loss-scale.ts';
import type { StateArrays } from '../step/stepper.ts';

/*
 * A checkpoint is one file, written atomically: weights, moments and, in its metadata, everything else a run needs to continue with the same
 * numbers. Data order and dropout masks follow from seed and step, so there is no state of a random generator.
 */

/** The metadata of a checkpoint. */
export interface CheckpointFacts {
  /** Steps done. */
  readonly step: number;
  /** Hash of recipe and data; a run continues from its own checkpoints only. */
  readonly runHash: string;
  /** Best validation so far. */
  readonly best?: { readonly step: number; readonly value: number };
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

const asTensors = (state: StateArrays) =>
  new Map([...state].map(([name, data]) => [name, tensorOf('float32', [data.length], data)] as const));

/** Writes a checkpoint and removes all but the newest `keep`. */
export async function writeCheckpoint(folder: string, { state, ...facts }: Checkpoint, keep: number): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeSafetensors(join(folder, fileOf(facts.step)), asTensors(state), { facts: JSON.stringify(facts) });
  for (const old of (await steps(folder)).slice(0, -keep)) await rm(join(folder, fileOf(old)), { force: true });
}

/** Writes weights without moments, such as the best ones. */
export async function writeWeights(
  path: string,
  state: StateArrays,
  facts: Readonly<Record<string, unknown>>,
): Promise<void> {
  await writeSafetensors(path, asTensors(state), { facts: JSON.stringify(facts) });
}

/** Reads the tensors of a checkpoint or of written weights. */
export async function readWeights(path: string): Promise<{ readonly state: StateArrays; readonly facts: unknown }> {
  const { tensors, metadata } = await readSafetensors(path);
  return {
    state: new Map([...tensors].map(([name, t]) => [name, float32View(t)])),
    facts: JSON.parse(metadata.facts ?? '{}'),
  };
}

/**
 * Reads the newest checkpoint of a folder; undefined where there is none.
 * @throws WinnowError `invalid_input` if it belongs to another recipe or other data.
 */
export async function readCheckpoint(folder: string, runHash: string): Promise<Checkpoint | undefined> {
  const newest = (await steps(folder)).at(-1);
  if (newest === undefined) return undefined;
  const { state, facts } = await readWeights(join(folder, fileOf(newest)));
  const known = facts as CheckpointFacts;
  if (known.runHash !== runHash)
    throw new WinnowError('invalid_input', {
      where: join(folder, fileOf(newest)),
      expected: `a checkpoint of this recipe and data (${runHash})`,
      got: `one of ${known.runHash}; remove the folder or give another --run`,
    });
  return { ...known, state };
}
