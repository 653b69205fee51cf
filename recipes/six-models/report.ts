/*
 * Writes the results of the six models into docs/objectives.md, between its markers: `node recipes/six-models/report.ts`, after
 * `node recipes/six-models/build.ts` and `winnow eval bench/suites/shared.yaml`, once `--out runs/shared`, once `--out runs/shared-fp32` with
 * `WINNOW_MODELS=runs/six-models/fp32`.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type CellResult, collect, fullCells } from '../../src/training/grid/grid.ts';
import { readGrid } from '../../src/training/grid/grid-schema.ts';
import { writeFileAtomic } from '../../src/util/files.ts';
import { readJsonFile } from '../../src/util/json-files.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const PAGE = join(ROOT, 'docs/objectives.md');
/** Reports of the shared suite: of the int8 files, and of the float32 ones under the same names (`WINNOW_MODELS=runs/six-models/fp32`). */
const SUITES = {
  int8: join(ROOT, 'runs/shared/report.json'),
  fp32: join(ROOT, 'runs/shared-fp32/report.json'),
} as const;
const MEASURE = 'nDCG@10';

/** The part of the suite's report that is read. */
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

/** Returns the value of each model on dl19. */
async function onDl19(report: string): Promise<ReadonlyMap<string, number>> {
  if (!existsSync(report)) return new Map();
  const { data } = (await readJsonFile(report)) as SuiteReport;
  const systems = data.sets.find(({ name }) => name === 'dl19')?.systems ?? [];
  return new Map(systems.map(({ system, mean: values }) => [system, values[MEASURE]!]));
}

function line(
  objective: string,
  results: readonly CellResult[],
  { fp32, int8 }: Readonly<Record<keyof typeof SUITES, ReadonlyMap<string, number>>>,
): string {
  const held = results.map(({ validation }) => validation!);
  const best = held.indexOf(Math.max(...held));
  const each = held.map((value, i) => (i === best ? `${figure(value)} *` : figure(value)));
  const name = `minilm-l6-${objective.toLowerCase()}`;
  return row([objective, ...each, figure(mean(held)), figure(fp32.get(name)), figure(int8.get(name))]);
}

const loaded = readGrid(join(import.meta.dirname, 'six-objectives.yaml'));
const { done } = await collect(join(ROOT, 'runs/six-models/grid'), fullCells(loaded, new Map()));
const { seeds } = loaded.grid;
const values = { fp32: await onDl19(SUITES.fp32), int8: await onDl19(SUITES.int8) };
const titles = (what: string) => seeds.map((seed) => `${what}, seed ${seed}`);
const head = ['objective', ...titles('held-out'), 'held-out, mean', 'dl19, float32', 'dl19, int8 as shipped'];
const byObjective = Map.groupBy(done, ({ cell }) => cell.objective);
const table = [
  row(head),
  row(head.map((_, i) => (i === 0 ? '---' : '---:'))),
  ...[...byObjective].map(([objective, results]) =>
    line(
      objective,
      results.toSorted((a, b) => a.cell.seed - b.cell.seed),
      values,
    ),
  ),
].join('\n');
const text = readFileSync(PAGE, 'utf8');
const [begin, end] = ['<!-- measured:begin', '<!-- measured:end -->'];
const open = text.indexOf('-->', text.indexOf(begin)) + '-->'.length;
await writeFileAtomic(PAGE, `${text.slice(0, open)}\n\n${table}\n\n${text.slice(text.indexOf(end))}`);
process.stdout.write(`${table}\n`);
