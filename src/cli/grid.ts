import { join, resolve } from 'node:path';
import { Command } from 'commander';
import { WinnowError } from '../errors.ts';
import { type CellForecast, explainGrid } from '../training/grid/explain-grid.ts';
import type { Cell } from '../training/grid/grid.ts';
import { type LoadedGrid, readGrid } from '../training/grid/grid-schema.ts';
import type { CellObserver } from '../training/grid/run-cells.ts';
import { type GridFiles, type ListedCells, listCells, runGrid, writeGridReport } from '../training/grid/run-grid.ts';
import { startProgress } from '../util/progress.ts';
import { type Shard, WHOLE } from '../util/shard.ts';
import { choiceOption, shardOption } from './options.ts';
import { plainTable } from './plain-table.ts';
import { stopOnSignals } from './stop-on-signals.ts';

const EXAMPLES = `
Examples:
  $ npx winnow grid grid.yaml                               # search, full grid, report in runs/<name>/report
  $ npx winnow grid grid.yaml --explain                     # memory and time of all cells on this machine
  $ npx winnow grid grid.yaml --list                        # the cells and their results
  $ npx winnow grid grid.yaml --shard 2/4 --wait            # one of four machines with a shared folder
  $ npx winnow grid grid.yaml --phase report                # the report of finished cells

A grid that was stopped goes on where it stopped, also inside a cell.
`;

interface Flags {
  readonly run?: string;
  readonly phase: 'all' | 'search' | 'full' | 'report';
  readonly shard?: Shard;
  readonly wait?: boolean;
  readonly list?: true;
  readonly explain?: true;
}

const say = (text: string): boolean => process.stderr.write(`${text}\n`);

/** Notes that cells share are printed once. */
const noted = new Set<string>();

function note(text: string): void {
  if (!noted.has(text)) say(text);
  noted.add(text);
}

function observed(cell: Cell, place: number, of: number): CellObserver {
  const label = `${cell.phase} ${place}/${of} ${cell.backbone} ${cell.objective} seed ${cell.seed}`;
  let bar: ReturnType<typeof startProgress> | undefined;
  let last = 0;
  let measured: string | undefined;
  return {
    onStart({ from, steps }) {
      if (from < steps) bar = startProgress(label, steps, from);
      last = steps;
    },
    onStep({ step, loss }) {
      bar?.update(step, `loss ${loss.toFixed(4)}`);
      if (step === last) bar?.stop();
    },
    onBenchmark(benchmark, done, pairs) {
      if (measured !== benchmark) bar = startProgress(`${label}: ${benchmark}`, pairs, done);
      measured = benchmark;
      bar?.update(done);
      if (done === pairs) bar?.stop();
    },
    onWarning: (text) => say(`${label}: ${text}`),
    onNote: note,
  };
}

function printCells({ cells, searchOpen }: ListedCells): void {
  for (const { cell, result } of cells) {
    const state = result ? JSON.stringify(result.failed ?? result.benchmarks) : 'to do';
    process.stdout.write(`${cell.phase}\t${cell.id}\t${JSON.stringify(cell.parameters)}\t${state}\n`);
  }
  if (searchOpen) process.stdout.write('full\tthe cells follow from the search\n');
}

function printFiles({ paths, done, missing }: GridFiles): void {
  if (missing > 0) say(`${missing} of ${missing + done} cells have no result yet`);
  for (const path of paths) process.stdout.write(`${path}\n`);
}

const HEAD = ['backbone', 'objective', 'runs', 'steps', 'weights trained', 'memory MiB', 'step ms', 'hours'] as const;

function rowOf({ backbone, objective, runs, steps, measured }: CellForecast): string[] {
  const counts = [backbone, objective, `${runs.search} + ${runs.full}`, `${steps}`];
  if (!measured) return [...counts, '–', '–', '–', '–'];
  const { trainedWeights, memory, stepMs, hours } = measured;
  const millions = `${(trainedWeights / 1e6).toFixed(1)} M`;
  return [...counts, millions, `${memory.weightsAndMoments} of ${memory.peak}`, `${stepMs}`, hours.toFixed(2)];
}

/** Prints the forecast. @throws WinnowError `invalid_input` where some cells cannot be run. */
async function explain(path: string, loaded: LoadedGrid): Promise<void> {
  const { backbones, objectives } = loaded.grid;
  const progress = startProgress('explain', backbones.length * objectives.length);
  const rows: CellForecast[] = [];
  for await (const row of explainGrid(loaded)) {
    rows.push(row);
    progress.update(rows.length, `${row.backbone} ${row.objective}`);
  }
  progress.stop();
  const without = rows.filter(({ fault }) => fault !== undefined);
  const hours = rows.reduce((sum, { measured }) => sum + (measured?.hours ?? 0), 0);
  const but = without.length > 0 ? ` but those of ${without.length} rows` : '';
  process.stdout.write(`${plainTable([HEAD, ...rows.map(rowOf)])}\n`);
  if (without.length < rows.length)
    process.stdout.write(`${hours.toFixed(1)} hours of training in all${but}, on this machine; runs: search + full\n`);
  if (without.length === 0) return;
  // A line for each reason: objectives with the same data lack the same files.
  const reasons = Array.from(
    Map.groupBy(without, ({ fault }) => fault),
    ([fault, cells]) => {
      const objectives = new Set(cells.map(({ objective }) => objective));
      return `${fault} (${[...objectives].join(', ')})`;
    },
  );
  const got = `${without.length} of ${rows.length} without: ${reasons.join(';\n  ')}`;
  throw new WinnowError('invalid_input', { where: path, expected: 'files for all cells', got });
}

async function run(
  path: string,
  { run: runFolder, list, explain: isExplained, phase, shard = WHOLE, wait = false }: Flags,
): Promise<void> {
  const loaded = readGrid(path);
  if (isExplained) return explain(path, loaded);
  const folder = resolve(runFolder ?? join('runs', loaded.grid.name));
  if (list) return printCells(await listCells(loaded, folder));
  if (phase === 'report') return printFiles(await writeGridReport(loaded, folder));
  const stopping = stopOnSignals();
  const files = await runGrid(loaded, folder, {
    phase,
    wait,
    shard,
    signal: stopping.signal,
    onCell: observed,
    onResult: ({ cell, benchmarks, failed }) => say(`${cell.id}: ${failed ?? JSON.stringify(benchmarks)}`),
  });
  if (files) printFiles(files);
  else stopping.stopped('before all cells were done');
}

/** Makes `winnow grid`: trains the cells of a grid. */
export function command(): Command {
  return new Command('grid')
    .description(
      'Train every combination of objectives, backbones and seeds; an optional search finds hyper-parameters first.',
    )
    .argument('<grid>', 'grid in YAML')
    .option('--run <folder>', 'folder of cells, results and report (default: runs/<name>)')
    .addOption(choiceOption('--phase <phase>', 'part of the work to run', ['all', 'search', 'full', 'report'], 'all'))
    .addOption(shardOption('the cells'))
    .option('--wait', 'wait for the results of other shards at the end of the search')
    .option('--explain', 'print memory and time of all cells on this machine, and run none')
    .option('--list', 'list the cells and run none')
    .addHelpText('after', EXAMPLES)
    .action(run);
}
