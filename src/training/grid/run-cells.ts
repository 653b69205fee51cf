import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { WinnowError } from '../../errors.ts';
import { writeFileAtomic } from '../../util/files.ts';
import { isPartOf, type Shard } from '../../util/shard.ts';
import { createObjective } from '../objectives/catalog.ts';
import { checkPublish } from '../publish/check-publish.ts';
import { publishRun } from '../publish/publish.ts';
import { lockRun } from '../publish/run-recipe.ts';
import { CURVE_FILE, isValidation, readCurve } from '../run/curve.ts';
import { countLists, withSteps } from '../run/epochs.ts';
import type { TrainingObserver } from '../run/run-state.ts';
import { type TrainingOutcome, train } from '../run/trainer.ts';
import { type Cell, type CellResult, folderOf, keyOf, resultFile } from './grid.ts';
import { measureCell, type OnBenchmark } from './grid-measure.ts';
import type { Grid } from './grid-schema.ts';

/** Receives what a cell reports: its training, then how many pairs of a benchmark are scored. */
export interface CellObserver extends TrainingObserver {
  onBenchmark?: OnBenchmark;
}

/** How a grid runs, what observes it, and how it is stopped. */
export interface GridOptions {
  readonly shard: Shard;
  readonly signal?: AbortSignal | undefined;
  onCell?(cell: Cell, place: number, of: number): CellObserver;
  onResult?(result: CellResult): void;
}

/** Measures a cell's weights. The search chooses by validation and needs no benchmarks. */
async function measure(
  grid: Grid,
  cell: Cell,
  outcome: TrainingOutcome,
  { onBenchmark }: CellObserver,
): Promise<Pick<CellResult, 'benchmarks'>> {
  const { validation } = outcome;
  if (cell.phase === 'full' && Object.keys(grid.benchmarks).length > 0)
    return measureCell(cell, outcome, grid.benchmarks, onBenchmark);
  return { benchmarks: validation ? { validation: validation.tuned } : {} };
}

async function finish(
  grid: Grid,
  cell: Cell,
  folder: string,
  outcome: TrainingOutcome,
  observer: CellObserver,
): Promise<CellResult> {
  const { validation, step } = outcome;
  const measured = await measure(grid, cell, outcome, observer);
  if (cell.phase === 'full' && cell.recipe.publish) await publishRun(cell, outcome);
  const points = (await readCurve(join(folder, CURVE_FILE))).filter(isValidation);
  return {
    cell: keyOf(cell),
    step,
    ...(validation && {
      base: validation.base,
      validation: validation.tuned,
      curve: [[0, validation.base] as const, ...points.map((point) => [point.step, point.value] as const)],
    }),
    ...measured,
  };
}

/** Returns what counts the lists of a recipe; cells with the same data, seed and needs are counted once. */
function listCounter(): typeof countLists {
  const known = new Map<string, Promise<number>>();
  return (loaded) => {
    const { data, seed, objective } = loaded.recipe;
    const key = JSON.stringify([data, seed, createObjective(objective).needs]);
    const found = known.get(key) ?? countLists(loaded);
    known.set(key, found);
    return found;
  };
}

/** Runs a cell. A run that diverges is a result; other errors end the grid. Returns undefined where the grid was stopped. */
async function runCell(
  grid: Grid,
  given: Cell,
  { folder, bases, count }: { readonly folder: string; readonly bases: string; readonly count: typeof countLists },
  options: GridOptions,
  observer: CellObserver,
): Promise<CellResult | undefined> {
  const cell = await withSteps(given, undefined, count);
  try {
    const outcome = await train(cell, folder, observer, options.signal, bases);
    return options.signal?.aborted ? undefined : await finish(grid, cell, folder, outcome, observer);
  } catch (error) {
    if (!(error instanceof WinnowError && error.code === 'training_diverged')) throw error;
    return { cell: keyOf(cell), step: Number(error.params.step), benchmarks: {}, failed: error.message };
  }
}

/** Runs a cell that has no result yet and stores its result. Returns undefined where the grid was stopped or another process was quicker. */
async function completeCell(
  grid: Grid,
  cell: Cell,
  { runFolder, count }: { readonly runFolder: string; readonly count: typeof countLists },
  options: GridOptions,
  observer: CellObserver,
): Promise<CellResult | undefined> {
  const folder = folderOf(runFolder, cell);
  return lockRun(folder, async () => {
    if (existsSync(resultFile(runFolder, cell))) return undefined;
    const result = await runCell(grid, cell, { folder, bases: join(runFolder, 'bases'), count }, options, observer);
    if (!result) return undefined;
    await writeFileAtomic(resultFile(runFolder, cell), `${JSON.stringify(result, null, 2)}\n`);
    await rm(join(folder, 'checkpoints'), { recursive: true, force: true });
    return result;
  });
}

/** Runs those of a shard's cells that have no result yet. @throws WinnowError `in_use` for a cell that another process trains. */
export async function runCells(
  grid: Grid,
  cells: readonly Cell[],
  runFolder: string,
  options: GridOptions,
): Promise<void> {
  const mine = cells.filter((_, i) => isPartOf(options.shard, i));
  const isDone = (cell: Cell): boolean => existsSync(resultFile(runFolder, cell));
  const exported = new Set<string>();
  for (const cell of mine) if (!isDone(cell)) await checkPublish(cell, exported);
  const count = listCounter();
  for (const [i, cell] of mine.entries()) {
    if (options.signal?.aborted) return;
    if (isDone(cell)) continue;
    const observer = options.onCell?.(cell, i + 1, mine.length) ?? {};
    const result = await completeCell(grid, cell, { runFolder, count }, options, observer);
    if (result) options.onResult?.(result);
  }
}
