import { join, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Command } from 'commander';
import { WinnowError } from '../errors.ts';
import { writeReport } from '../reports/write-report.ts';
import {
  type Cell,
  collect,
  freeze,
  fullCells,
  type GridOptions,
  runCells,
  searchCells,
} from '../training/grid/grid.ts';
import { gridData, trainedGridReport } from '../training/grid/grid-report.ts';
import { type LoadedGrid, readGrid } from '../training/grid/grid-schema.ts';
import type { TrainingObserver } from '../training/run/run-state.ts';
import { writeFileAtomic } from '../util/files.ts';
import { startProgress } from '../util/progress.ts';
import { type Shard, WHOLE } from '../util/shard.ts';
import { choiceOption, shardOption } from './options.ts';

const EXAMPLES = `
Examples:
  $ npx winnow grid grid.yaml                               # search, full grid, report in runs/<name>/report
  $ npx winnow grid grid.yaml --list                        # the cells, and which have a result
  $ npx winnow grid grid.yaml --shard 2/4 --wait            # one of four machines over a shared folder
  $ npx winnow grid grid.yaml --phase report                # the report of what is done

A grid that is stopped goes on where it stopped, inside a cell too.
`;

interface Flags {
  readonly run?: string;
  readonly phase: 'all' | 'search' | 'full' | 'report';
  readonly shard?: Shard;
  readonly wait?: boolean;
  readonly list?: true;
}

const say = (text: string): boolean => process.stderr.write(`${text}\n`);

function observed(cell: Cell, place: number, of: number): TrainingObserver {
  const label = `${cell.phase} ${place}/${of} ${cell.backbone} ${cell.objective} seed ${cell.seed}`;
  const bar = startProgress(label, cell.recipe.steps);
  return {
    onStep({ step, loss }) {
      bar.update(step, `loss ${loss.toFixed(4)}`);
      if (step === cell.recipe.steps) bar.stop();
    },
    onWarning: (text) => say(`${label}: ${text}`),
  };
}

/** Seconds between looks at what the other shards have done. */
const LOOK_SECONDS = 10;

/** Results of all cells of a phase: those of other shards too, waited for if asked. */
async function resultsOf(cells: readonly Cell[], folder: string, wait: boolean, signal: AbortSignal) {
  for (;;) {
    const { done, missing } = await collect(folder, cells);
    if (missing.length === 0) return done;
    if (!wait || signal.aborted)
      throw new WinnowError('invalid_input', {
        where: folder,
        expected: `results of all ${cells.length} cells of phase ${cells[0]!.phase}`,
        got: `${done.length}; run the other shards, or give --wait`,
      });
    await pause(LOOK_SECONDS * 1000, undefined, { signal }).catch(() => undefined);
  }
}

async function report(loaded: LoadedGrid, folder: string): Promise<void> {
  const search = searchCells(loaded);
  const frozen = freeze(loaded.grid, (await collect(folder, search)).done);
  const { done, missing } = await collect(folder, fullCells(loaded, frozen));
  if (missing.length > 0) say(`${missing.length} of ${missing.length + done.length} cells have no result yet`);
  if (done.length === 0) return;
  await writeFileAtomic(join(folder, 'grid.json'), `${JSON.stringify(gridData(loaded.grid, done), null, 2)}\n`);
  for (const path of await writeReport(join(folder, 'report'), trainedGridReport(loaded.grid, frozen, done)))
    process.stdout.write(`${path}\n`);
}

async function list(loaded: LoadedGrid, folder: string): Promise<void> {
  const search = searchCells(loaded);
  const found = await collect(folder, search);
  const full = found.missing.length === 0 ? fullCells(loaded, freeze(loaded.grid, found.done)) : [];
  for (const cell of [...search, ...full]) {
    const { done } = await collect(folder, [cell]);
    process.stdout.write(
      `${cell.phase}\t${cell.id}\t${JSON.stringify(cell.parameters)}\t${done[0] ? JSON.stringify(done[0].failed ?? done[0].benchmarks) : 'to do'}\n`,
    );
  }
  if (found.missing.length > 0) process.stdout.write('full\tthe cells follow from the search\n');
}

async function runPhases(
  loaded: LoadedGrid,
  folder: string,
  { phase, wait = false }: Flags,
  options: GridOptions & { signal: AbortSignal },
): Promise<void> {
  const search = searchCells(loaded);
  if (phase === 'all' || phase === 'search') await runCells(loaded.grid, search, folder, options);
  if (phase === 'search' || options.signal.aborted) return;
  const found = search.length > 0 ? await resultsOf(search, folder, wait, options.signal) : [];
  const full = fullCells(loaded, freeze(loaded.grid, found));
  await runCells(loaded.grid, full, folder, options);
  // Whoever finishes last writes the report.
  if ((await collect(folder, full)).missing.length === 0) await report(loaded, folder);
}

async function run(path: string, flags: Flags): Promise<void> {
  const loaded = readGrid(path);
  const folder = resolve(flags.run ?? join('runs', loaded.grid.name));
  const { shard = WHOLE } = flags;
  if (flags.list) return list(loaded, folder);
  if (flags.phase === 'report') return report(loaded, folder);
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  process.once('SIGTERM', () => stop.abort());
  await runPhases(loaded, folder, flags, {
    shard,
    signal: stop.signal,
    onCell: observed,
    onResult: ({ cell, benchmarks, failed }) => say(`${cell.id}: ${failed ?? JSON.stringify(benchmarks)}`),
  });
}

/** `winnow grid`. */
export function command(): Command {
  return new Command('grid')
    .description('Train objectives × backbones × seeds, with hyper-parameters found on a part of the grid first.')
    .argument('<grid>', 'grid in YAML')
    .option('--run <folder>', 'cells, results and report (default runs/<name>)')
    .addOption(choiceOption('--phase <phase>', 'what to run', ['all', 'search', 'full', 'report'], 'all'))
    .addOption(shardOption('the cells'))
    .option('--wait', 'wait for the other shards at the end of the search')
    .option('--list', 'list the cells and end')
    .addHelpText('after', EXAMPLES)
    .action(run);
}
