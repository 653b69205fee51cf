/*
 * Trains a twelve-layer cross-encoder that learns from an ensemble of sentence encoders, and six small ones, one per objective, that learn from both.
 *
 *   node recipes/ensemble-models/build.ts [--models FOLDER] [--until STEP] [--explain]
 *
 * Reads the collections and the small backbone from ../shared, beside the project, and the sentence encoders from Maven Central. Takes hours on two
 * cores. Every step goes on where it was stopped, and finished steps are not repeated. README.md describes them.
 */
import { cpSync, existsSync } from 'node:fs';
import { join, relative } from 'node:path';
import { DEFAULT_FILE } from '../../src/registry/labels.ts';
import { writeFileAtomic } from '../../src/util/files.ts';
import { bestOf, bestSeeds, buildFlags, calibrate, followFlags, quantize, ROOT, shippedName } from '../build/steps.ts';
import { addTeacher } from './card.ts';
import { allSteps, LARGE, recipePath, TIMES, WORK } from './steps.ts';

const flags = buildFlags(join(WORK, 'models'));
const MODELS = flags.models;

/**
 * Quantizes a version to int8, publishes it under its shipped name and calibrates its scores on the held-out queries, unless it is there.
 * @param ensemble name of the ensemble that it learned from.
 */
async function ship(version: string, name: string, ensemble: string): Promise<void> {
  // The float32 version under the shipped name, for comparison with the int8 file.
  cpSync(version, join(WORK, 'fp32', name, '1'), { recursive: true });
  if (existsSync(join(MODELS, name))) return;
  const heldOut = join(WORK, 'data/held-out.qrels');
  quantize(version, name, MODELS, '--qrels', heldOut);
  calibrate(name, MODELS, heldOut);
  await addTeacher(join(MODELS, name, '1'), join(WORK, `${ensemble}.json`), TIMES);
  process.stdout.write(`${name} from ${relative(ROOT, version)}\n`);
}

if (await followFlags(allSteps(), TIMES, flags)) {
  const models = await bestSeeds(recipePath('objectives.yaml'), join(WORK, 'grid'), join(WORK, 'registry'));
  await ship(join(WORK, 'registry', LARGE, '1'), LARGE, 'ensemble');
  for (const { objective, version } of models) await ship(version, shippedName(objective), 'teacher');
  const chosen = { model: shippedName(bestOf(models).objective) };
  await writeFileAtomic(join(MODELS, DEFAULT_FILE), `${JSON.stringify(chosen, null, 2)}\n`);
}
