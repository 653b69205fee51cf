/*
 * Writes what the six models came to into docs/objectives.md, between its markers: `node recipes/six-models/report.ts`, after
 * `npm run train:models` and `winnow eval bench/suites/shared.yaml --out runs/shared`.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { readJson, writeFileAtomic } from '../../src/files.ts';
import { type CellResult, collect, fullCells } from '../../src/training/grid.ts';
import { readGrid } from '../../src/training/grid-schema.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const PAGE = join(ROOT, 'docs/objectives.md');
const SUITE = join(ROOT, 'runs/shared/report.json');
const MEASURE = 'nDCG@10';

/** What of the suite's report is read. */
interface SuiteReport {
  readonly data: {
    readonly sets: readonly {
      readonly name: string;
      readonly systems: readonly { readonly system: string; readonly mean: Readonly<Record<string, number>> }[];
    }[];
  };
}

const figure = (value: number | undefined): string => (value === undefined ? '–' : value.toFixed(3).replace(/^0/, ''));
const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;

/** The int8 files' values by model, on dl19. */
async function shipped(): Promise<ReadonlyMap<string, number>> {
  if (!existsSync(SUITE)) return new Map();
  const { data } = (await readJson(SUITE)) as SuiteReport;
  const systems = data.sets.find(({ name }) => name === 'dl19')?.systems ?? [];
  return new Map(systems.map(({ system, mean: values }) => [system, values[MEASURE]!]));
}

function line(objective: string, results: readonly CellResult[], small: ReadonlyMap<string, number>): string {
  const held = results.map(({ validation }) => validation!);
  const best = held.indexOf(Math.max(...held));
  const each = held.map((value, i) => (i === best ? `${figure(value)} *` : figure(value)));
  const int8 = small.get(`minilm-l6-${objective.toLowerCase()}`);
  return row([objective, ...each, figure(mean(held)), figure(int8)]);
}

const grid = readGrid(join(import.meta.dirname, 'six-objectives.yaml'));
const { done } = await collect(join(ROOT, 'runs/six-models/grid'), fullCells(grid, new Map()));
const { seeds } = grid.grid;
const small = await shipped();
const titles = (what: string) => seeds.map((seed) => `${what}, seed ${seed}`);
const head = ['objective', ...titles('held-out'), 'held-out, mean', 'dl19, shipped int8'];
const byObjective = Map.groupBy(done, ({ cell }) => cell.objective);
const table = [
  row(head),
  row(head.map((_, i) => (i === 0 ? '---' : '---:'))),
  ...[...byObjective].map(([objective, results]) =>
    line(
      objective,
      results.toSorted((a, b) => a.cell.seed - b.cell.seed),
      small,
    ),
  ),
].join('\n');
const text = readFileSync(PAGE, 'utf8');
const [begin, end] = ['<!-- measured:begin', '<!-- measured:end -->'];
const open = text.indexOf('-->', text.indexOf(begin)) + '-->'.length;
await writeFileAtomic(PAGE, `${text.slice(0, open)}\n\n${table}\n\n${text.slice(text.indexOf(end))}`);
process.stdout.write(`${table}\n`);
