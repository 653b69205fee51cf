/*
 * Makes what ships in `models/`: six cross-encoders, one an objective, trained on the same data from the same start, and a bi-encoder as its authors
 * trained it.
 *
 *   npm run train:models -- [--models FOLDER] [--until STEP] [--explain]
 *
 * Steps: candidate lists with a teacher's scores (prepare.ts), a common start (distil.yaml), six objectives from two seeds each
 * (six-objectives.yaml). Of each objective the seed that is better on held-out queries is quantized to int8, published and calibrated; the best of all
 * is the default model, whose int8 file is made faster and calibrated for pruning. The bi-encoder comes from Maven Central.
 *
 * Reads the collections and the backbone from ../shared, beside the project. Takes hours on two cores; every part continues where it was
 * stopped, and finished parts are not repeated. A model that is in the folder already is left as it is.
 */
import { cpSync, existsSync } from 'node:fs';
import { join, relative } from 'node:path';
import { CASCADES_FILE, DEFAULT_FILE } from '../../src/registry/labels.ts';
import { writeFileAtomic } from '../../src/util/files.ts';
import { fetchEncoder } from '../build/encoders.ts';
import {
  type BestSeed,
  bestOf,
  bestSeeds,
  buildFlags,
  calibrate,
  DATA,
  followFlags,
  MINILM,
  quantize,
  ROOT,
  type Step,
  shippedName,
  winnow,
} from '../build/steps.ts';
import { prepare } from './prepare.ts';

const WORK = join(ROOT, 'runs/six-models');
const PREPARED = join(WORK, 'data');
const REGISTRY = join(WORK, 'registry');
const ENCODER = 'e5-small-v2';
const GRID = join(import.meta.dirname, 'six-objectives.yaml');
const DISTIL = join(import.meta.dirname, 'distil.yaml');

const flags = buildFlags(join(ROOT, 'models'));
const MODELS = flags.models;
const isShipped = (name: string): boolean => existsSync(join(MODELS, name));

const listsOf = (system: string, year: string): string[] => [
  '--data',
  join(DATA, `trec-dl/${system}.${year}.top100.json`),
];
const HELD_OUT = join(PREPARED, 'held-out.qrels');
const JUDGED = ['--qrels', join(DATA, 'trec-dl/qrels.dl21-passage.txt')];

const steps: readonly Step[] = [
  { name: 'candidate lists', output: join(PREPARED, 'prepared.json'), run: () => prepare(DATA, MINILM, PREPARED) },
  {
    name: 'train the start',
    output: join(REGISTRY, 'minilm-l6-distilled/1'),
    recipe: DISTIL,
    run: () => winnow('train', DISTIL, '--run', join(WORK, 'distil')),
  },
  {
    name: 'train objectives',
    output: join(WORK, 'grid/grid.json'),
    recipe: GRID,
    run: () => winnow('grid', GRID, '--run', join(WORK, 'grid')),
  },
  {
    name: `fetch ${ENCODER}`,
    output: join(WORK, 'encoders', ENCODER),
    run: async () => void (await fetchEncoder(join(WORK, 'encoders'), ENCODER)),
  },
  {
    name: `import ${ENCODER}`,
    output: join(REGISTRY, ENCODER, '1'),
    run: () => winnow('models', 'import', join(WORK, 'encoders', ENCODER), ENCODER, '--models', REGISTRY),
  },
];

/** Publishes the model of an objective. The default's int8 file is quantized further, and pruning is calibrated on the lists of all queries. */
function ship({ objective, version }: BestSeed, isDefault: boolean): void {
  const name = shippedName(objective);
  // The float32 version under the shipped name, for comparison with the int8 file.
  cpSync(version, join(WORK, 'fp32', name, '1'), { recursive: true });
  if (isShipped(name)) return;
  if (isDefault) {
    const first = join(WORK, 'int8');
    if (!existsSync(join(first, name))) quantize(version, name, first, '--qrels', HELD_OUT);
    quantize(join(first, name, '1'), name, MODELS, ...JUDGED, '--attention-noise', '0.01');
    const systems = ['BM25', 'SPLADE_P_P_ENSEMBLE_DISTIL'];
    const lists = systems.flatMap((system) => ['dl21', 'dl22'].flatMap((year) => listsOf(system, year)));
    winnow('prune', join(MODELS, name, '1'), '--format', 'rank-llm', ...lists);
  } else quantize(version, name, MODELS, '--qrels', HELD_OUT);
  calibrate(name, MODELS, HELD_OUT);
  process.stdout.write(`${name} from ${relative(ROOT, version)}\n`);
}

async function writeJson(file: string, value: object): Promise<void> {
  await writeFileAtomic(join(MODELS, file), `${JSON.stringify(value, null, 2)}\n`);
}

if (await followFlags(steps, join(WORK, 'times.jsonl'), flags)) {
  const models = await bestSeeds(GRID, join(WORK, 'grid'), REGISTRY);
  const best = bestOf(models);
  for (const model of models) ship(model, model === best);
  if (!isShipped(ENCODER)) {
    quantize(join(REGISTRY, ENCODER, '1'), ENCODER, MODELS);
    calibrate(ENCODER, MODELS, HELD_OUT);
  }
  const model = shippedName(best.objective);
  await writeJson(DEFAULT_FILE, { model });
  // The bi-encoder chooses, and the order is by both: docs/passages.md has the measurements.
  const accurate = [
    { model: ENCODER, keep: 50 },
    { model, blend: 0.7 },
  ];
  if (!isShipped(CASCADES_FILE)) await writeJson(CASCADES_FILE, { accurate });
}
