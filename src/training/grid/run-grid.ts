import { join, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { WinnowError } from '../../errors.ts';
import { writeDrawings } from '../../reports/drawings.ts';
import { type GridData, PAPER_GRID, readGridData } from '../../reports/grid-data.ts';
import { writeReport } from '../../reports/write-report.ts';
import { writeFileAtomic } from '../../util/files.ts';
import { type Cell, type CellResult, collect, freeze, fullCells, searchCells } from './grid.ts';
import { gridData, trainedGridReport } from './grid-report.ts';
import type { LoadedGrid } from './grid-schema.ts';
import { type GridOptions, runCells } from './run-cells.ts';

/** Seconds between checks for the results of other shards. */
const CHECK_SECONDS = 10;

/** Returns the results of all cells of a phase, those of other shards too; undefined where the grid is stopped before they are there. */
async function allResults(cells: readonly Cell[], folder: string, wait: boolean, signal: AbortSignal) {
  for (;;) {
    const { done, missing } = await collect(folder, cells);
    if (missing.length === 0) return done;
    if (signal.aborted) return undefined;
    if (!wait)
      throw new WinnowError('invalid_input', {
        where: folder,
        expected: `results of all ${cells.length} cells of phase ${cells[0]!.phase}`,
        got: `${done.length}; run the other shards, or give --wait`,
      });
    await pause(CHECK_SECONDS * 1000, undefined, { signal }).catch(() => undefined);
  }
}

export interface GridFiles {
  readonly paths: readonly string[];
  readonly done: number;
  readonly missing: number;
}

/** Reads the results that a grid is compared with. @throws WinnowError `invalid_input`. */
async function referenceOf({ grid, folder }: LoadedGrid): Promise<GridData | undefined> {
  const { reference } = grid;
  if (reference === undefined || reference === 'paper') return reference === undefined ? undefined : PAPER_GRID;
  return readGridData(resolve(folder, reference));
}

/**
 * Writes `grid.json`, `cells.jsonl` (a line per cell, with the values of its queries) and the report of the full cells that have a result; writes
 * nothing where none has.
 */
export async function writeGridReport(loaded: LoadedGrid, folder: string): Promise<GridFiles> {
  const { grid } = loaded;
  const frozen = freeze(grid, (await collect(folder, searchCells(loaded))).done);
  const { done, missing } = await collect(folder, fullCells(loaded, frozen));
  const counts = { done: done.length, missing: missing.length };
  if (done.length === 0) return { ...counts, paths: [] };
  await writeFileAtomic(join(folder, 'grid.json'), `${JSON.stringify(gridData(grid, done), null, 2)}\n`);
  await writeFileAtomic(join(folder, 'cells.jsonl'), done.map((result) => `${JSON.stringify(result)}\n`).join(''));
  const report = trainedGridReport(grid, frozen, done, await referenceOf(loaded));
  const paths = await writeReport(join(folder, 'report'), report);
  return { ...counts, paths: [...paths, ...(await writeDrawings(join(folder, 'report'), report))] };
}

export interface ListedCells {
  readonly cells: readonly { readonly cell: Cell; readonly result: CellResult | undefined }[];
  /** The cells of the full grid follow from search results that are missing. */
  readonly searchOpen: boolean;
}

/** Lists the cells that are known, each with its result. */
export async function listCells(loaded: LoadedGrid, folder: string): Promise<ListedCells> {
  const search = searchCells(loaded);
  const found = await collect(folder, search);
  const searchOpen = found.missing.length > 0;
  const full = searchOpen ? [] : fullCells(loaded, freeze(loaded.grid, found.done));
  const cells = [];
  for (const cell of [...search, ...full]) cells.push({ cell, result: (await collect(folder, [cell])).done[0] });
  return { cells, searchOpen };
}

interface GridRun extends GridOptions {
  readonly phase: 'all' | 'search' | 'full';
  /** Wait for the other shards at the end of the search. */
  readonly wait: boolean;
  readonly signal: AbortSignal;
}

/**
 * Runs the cells of a shard, phase by phase. The shard that finishes last writes the report.
 * @returns the report's files, or nothing where cells are missing.
 */
export async function runGrid(loaded: LoadedGrid, folder: string, run: GridRun): Promise<GridFiles | undefined> {
  const { phase, wait, signal } = run;
  const search = searchCells(loaded);
  if (phase !== 'full') await runCells(loaded.grid, search, folder, run);
  if (phase === 'search' || signal.aborted) return undefined;
  const found = search.length > 0 ? await allResults(search, folder, wait, signal) : [];
  if (!found) return undefined;
  const full = fullCells(loaded, freeze(loaded.grid, found));
  await runCells(loaded.grid, full, folder, run);
  const { missing } = await collect(folder, full);
  return missing.length === 0 ? writeGridReport(loaded, folder) : undefined;
}
