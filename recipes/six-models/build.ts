/*
 * Trains the six models that ship in `models/`, one per objective, on the same data from the same start:
 *
 *   node recipes/six-models/build.ts [--models models]
 *
 * Steps: candidate lists with a teacher's scores (prepare.ts), a common start (distil.yaml), six objectives from two seeds each
 * (six-objectives.yaml). Of each objective the seed that is better on held-out queries is quantized to int8 and published; the best of all is
 * the default model.
 *
 * Reads the collections and the backbone from ../shared, beside the project. Takes hours on two cores; every part continues where it was
 * stopped, and finished parts are not repeated.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { DEFAULT_FILE } from '../../src/registry/labels.ts';
import { collect, fullCells } from '../../src/training/grid/grid.ts';
import { readGrid } from '../../src/training/grid/grid-schema.ts';
import { writeFileAtomic } from '../../src/util/files.ts';
import { warnOfOld } from '../../src/util/spelling.ts';
import { prepare } from './prepare.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const WORK = join(ROOT, 'runs/six-models');
const DATA = join(ROOT, '../shared/data');
const BACKBONE = join(ROOT, '../shared/backbones/all-minilm-l6-v2');
const { values: flags } = parseArgs({
  options: {
    models: { type: 'string' },
    /** Old name of `--models`. */
    registry: { type: 'string' },
  },
});
if (flags.registry !== undefined) warnOfOld([{ at: '', old: '--registry', now: '--models' }]);
const MODELS = flags.models ?? flags.registry ?? join(ROOT, 'models');

/** Runs a command of this program on this terminal. */
function winnow(...args: string[]): void {
  const done = spawnSync(process.execPath, [join(ROOT, 'bin/winnow.mjs'), ...args], { stdio: 'inherit', cwd: ROOT });
  if (done.status !== 0) throw new Error(`winnow ${args.join(' ')} ended with ${done.status ?? done.signal}`);
}

const recipe = (name: string): string => join(import.meta.dirname, name);
const started = join(WORK, 'registry/minilm-l6-distilled/1');

/** Returns the better seed of each objective by the held-out queries, not by the sets the models are compared on. */
async function bestSeeds(): Promise<{ objective: string; version: string; validation: number }[]> {
  const cells = fullCells(readGrid(recipe('six-objectives.yaml')), new Map());
  const { done } = await collect(join(WORK, 'grid'), cells);
  return [...Map.groupBy(done, ({ cell }) => cell.objective)].map(([objective, results]) => {
    const best = results.toSorted((a, b) => (b.validation ?? 0) - (a.validation ?? 0))[0]!;
    const { name } = cells.find((cell) => cell.objective === objective && cell.seed === best.cell.seed)!.recipe;
    return { objective, version: join(WORK, 'registry', name, '1'), validation: best.validation ?? 0 };
  });
}

const nameOf = (objective: string): string => `minilm-l6-${objective.toLowerCase()}`;

await prepare(DATA, BACKBONE, join(WORK, 'data'));
if (!existsSync(started)) winnow('train', recipe('distil.yaml'), '--run', join(WORK, 'distil'));
winnow('grid', recipe('six-objectives.yaml'), '--run', join(WORK, 'grid'));
const models = await bestSeeds();
for (const { objective, version } of models) {
  const name = nameOf(objective);
  // The float32 version under the shipped name, for comparison with the int8 file.
  cpSync(version, join(WORK, 'fp32', name, '1'), { recursive: true });
  if (existsSync(join(MODELS, name))) continue;
  const dl21 = join(DATA, 'trec-dl/BM25.dl21.top100.json');
  const judged = ['--data', dl21, '--qrels', join(WORK, 'data/held-out.qrels')];
  const as = ['--name', name, '--models', MODELS, '--label', 'stable'];
  winnow('quantize', version, ...judged, ...as, '--only', '--tables', 'beside');
  process.stdout.write(`${name} from ${relative(ROOT, version)}\n`);
}
const best = models.toSorted((a, b) => b.validation - a.validation)[0]!;
await writeFileAtomic(join(MODELS, DEFAULT_FILE), `${JSON.stringify({ model: nameOf(best.objective) }, null, 2)}\n`);
