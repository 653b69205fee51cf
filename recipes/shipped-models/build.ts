/*
 * Trains the models that ship in `models/`: a twelve-layer cross-encoder that learns from an ensemble of sentence encoders, and six small ones, one
 * per objective, that learn from both.
 *
 *   npm run train:models -- [--models FOLDER] [--until STEP] [--explain]
 *
 * Reads the collections and the small backbone from ../shared, beside the project, and the sentence encoders from Maven Central. Takes hours on two
 * cores. Every step goes on where it was stopped, and finished steps are not repeated. README.md describes them.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync } from 'node:fs';
import { join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { DEFAULT_FILE } from '../../src/registry/labels.ts';
import { collect, fullCells } from '../../src/training/grid/grid.ts';
import { readGrid } from '../../src/training/grid/grid-schema.ts';
import { writeFileAtomic } from '../../src/util/files.ts';
import { warnOfOld } from '../../src/util/spelling.ts';
import { addTeacher } from './card.ts';
import { listFile } from './pools.ts';
import { allSteps, DATA, LARGE, ROOT, recipePath, runSteps, type Step, TIMES, WORK, winnow } from './steps.ts';

const { values: flags } = parseArgs({
  options: {
    models: { type: 'string' },
    /** Old name of `--models`. */
    registry: { type: 'string' },
    until: { type: 'string' },
    explain: { type: 'boolean', default: false },
  },
});
if (flags.registry !== undefined) warnOfOld([{ at: '', old: '--registry', now: '--models' }]);
const MODELS = flags.models ?? flags.registry ?? join(ROOT, 'models');

/** Returns the better seed of each objective by the held-out queries, not by the sets the models are compared on. */
async function bestSeeds(): Promise<
  { readonly objective: string; readonly version: string; readonly validation: number }[]
> {
  const cells = fullCells(readGrid(recipePath('objectives.yaml')), new Map());
  const { done } = await collect(join(WORK, 'grid'), cells);
  return [...Map.groupBy(done, ({ cell }) => cell.objective)].map(([objective, results]) => {
    const best = results.toSorted((a, b) => (b.validation ?? 0) - (a.validation ?? 0))[0]!;
    const { name } = cells.find((cell) => cell.objective === objective && cell.seed === best.cell.seed)!.recipe;
    return { objective, version: join(WORK, 'registry', name, '1'), validation: best.validation ?? 0 };
  });
}

/**
 * Quantizes a version to int8, publishes it under its shipped name and calibrates its scores on the held-out queries, unless it is there. Word
 * embeddings are beside the graph, the same for all of a backbone.
 * @param ensemble name of the ensemble that it learned from.
 */
async function ship(version: string, name: string, ensemble: string): Promise<void> {
  // The float32 version under the shipped name, for comparison with the int8 file.
  cpSync(version, join(WORK, 'fp32', name, '1'), { recursive: true });
  if (existsSync(join(MODELS, name))) return;
  const judged = ['--data', listFile(DATA, 'BM25', 'dl21'), '--qrels', join(WORK, 'data/held-out.qrels')];
  const lists = ['--format', 'rank-llm', ...judged, '--min-relevance', '2'];
  const as = ['--name', name, '--models', MODELS, '--label', 'stable'];
  winnow('quantize', version, ...judged, ...as, '--only', '--tables', 'beside');
  winnow('calibrate', '--model', name, '--models', MODELS, ...lists);
  await addTeacher(join(MODELS, name, '1'), join(WORK, `${ensemble}.json`), TIMES);
  process.stdout.write(`${name} from ${relative(ROOT, version)}\n`);
}

/** Prints which steps are done; of training that can be read already, what `winnow train --explain` and `winnow grid --list` say. */
function explain(steps: readonly Step[]): void {
  for (const { name, output, recipe } of steps) {
    const isDone = existsSync(output);
    process.stdout.write(`${isDone ? 'done   ' : 'to do  '} ${name}\n`);
    if (isDone || recipe === undefined) continue;
    const command = recipe.endsWith('objectives.yaml') ? ['grid', recipe, '--list'] : ['train', recipe, '--explain'];
    const asked = spawnSync(process.execPath, [join(ROOT, 'bin/winnow.mjs'), ...command], {
      cwd: ROOT,
      encoding: 'utf8',
    });
    const text = asked.status === 0 ? asked.stdout : 'its data is not made yet\n';
    process.stdout.write(text.replaceAll(/^(?=.)/gm, '          '));
  }
}

const steps = allSteps();
if (flags.until !== undefined && !steps.some(({ name }) => name === flags.until))
  throw new Error(`--until: expected one of ${steps.map(({ name }) => name).join(', ')}, got ${flags.until}`);
if (flags.explain) explain(steps);
else {
  await runSteps(steps, flags.until);
  if (flags.until === undefined) {
    const models = await bestSeeds();
    await ship(join(WORK, 'registry', LARGE, '1'), LARGE, 'ensemble');
    for (const { objective, version } of models) await ship(version, `minilm-l6-${objective.toLowerCase()}`, 'teacher');
    const best = models.toSorted((a, b) => b.validation - a.validation)[0]!;
    const chosen = { model: `minilm-l6-${best.objective.toLowerCase()}` };
    await writeFileAtomic(join(MODELS, DEFAULT_FILE), `${JSON.stringify(chosen, null, 2)}\n`);
  }
}
