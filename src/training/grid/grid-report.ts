import { gridComparison } from '../../reports/grid-comparison.ts';
import type { GridData } from '../../reports/grid-data.ts';
import { rankAgreement, referenceTable } from '../../reports/reference-ranks.ts';
import type { ReportModel, Section, TableSection } from '../../reports/report-model.ts';
import { effectivenessTable } from '../../reports/tables.ts';
import { mean, variance } from '../../statistics/samples.ts';
import { createObjective } from '../objectives/catalog.ts';
import type { CellResult, Frozen } from './grid.ts';
import type { Grid } from './grid-schema.ts';
import { curveSections, differencesTable, intervalTable, meanQueries, type Row } from './grid-sections.ts';

/** Writes mean, deviation and number of a cell's seeds; one seed has no deviation. */
function seedsText(seeds: readonly number[]): string {
  if (seeds.length === 0) return '–';
  const deviation = seeds.length > 1 ? ` ± ${Math.sqrt(variance(seeds)).toFixed(4)}` : '';
  return `${mean(seeds).toFixed(4)}${deviation} (${seeds.length})`;
}

const benchmarksOf = (grid: Grid): string[] =>
  Object.keys(grid.benchmarks).length > 0 ? Object.keys(grid.benchmarks) : ['validation'];

function measureOf(grid: Grid, benchmark: string): string {
  const validation = grid.recipe.validation as { measure?: string } | undefined;
  return grid.benchmarks[benchmark]?.measure ?? validation?.measure ?? 'nDCG@10';
}

/** Returns one row per backbone and objective, without the seeds that failed. */
function rowsOf(grid: Grid, results: readonly CellResult[]): Row[] {
  const objectives = grid.objectives.map((spec) => createObjective(spec).name);
  return grid.backbones.flatMap(({ name: backbone }) =>
    objectives.map((objective) => {
      const runs = results.filter(({ cell }) => cell.backbone === backbone && cell.objective === objective);
      return {
        backbone,
        objective,
        values: benchmarksOf(grid).map((id) => runs.flatMap((run) => run.benchmarks[id] ?? [])),
        queries: benchmarksOf(grid).map((id) =>
          meanQueries(runs.flatMap((run) => (run.perQuery?.[id] ? [run.perQuery[id]] : []))),
        ),
        runs,
      };
    }),
  );
}

/** Returns a line for each backbone and objective that lacks seeds: a mean over fewer of them is not like the others. */
function missingNotes({ seeds }: Grid, rows: readonly Row[]): string[] {
  return rows.flatMap(({ backbone, objective, runs }) => {
    const missing = seeds.filter((seed) => !runs.some(({ cell }) => cell.seed === seed));
    return missing.length === 0 ? [] : [`${backbone}, ${objective}: no result yet of seed ${missing.join(', ')}`];
  });
}

/** Returns the means over seeds in the format that `winnow report --data` reads. */
export function gridData(grid: Grid, results: readonly CellResult[]): GridData {
  const benchmarks = benchmarksOf(grid);
  const rows = rowsOf(grid, results);
  const measures = [...new Set(benchmarks.map((id) => measureOf(grid, id)))];
  return {
    paper: `grid ${grid.name}`,
    source: 'runs of this trainer',
    measure: measures.join(', '),
    benchmarks,
    benchmarkNames: {},
    seeds: grid.seeds.length,
    notes: [
      `Seeds ${grid.seeds.join(', ')}; values are means over the seeds that finished.`,
      ...results.flatMap(({ cell, failed }) =>
        failed ? [`${cell.backbone}, ${cell.objective}, seed ${cell.seed}: ${failed}`] : [],
      ),
      ...missingNotes(grid, rows),
    ],
    backbones: grid.backbones.map((backbone) => backbone.name),
    objectives: grid.objectives.map((spec) => createObjective(spec).name),
    rows: rows.map(({ backbone, objective, values }) => ({
      backbone,
      objective,
      values: values.map(mean),
    })),
  };
}

function seedsTable(grid: Grid, rows: readonly Row[]): TableSection {
  return {
    kind: 'table',
    title: 'Over seeds',
    columns: [
      { label: 'backbone' },
      { label: 'objective' },
      ...benchmarksOf(grid).map((label) => ({ label, numeric: true })),
    ],
    rows: rows.map(({ backbone, objective, values }) => [
      { text: backbone },
      { text: objective },
      ...values.map((seeds) => ({ text: seedsText(seeds) })),
    ]),
    note: 'Mean ± standard deviation (seeds).',
  };
}

function frozenTable(frozen: Frozen): TableSection {
  const fields = [...new Set([...frozen.values()].flatMap((parameters) => Object.keys(parameters)))];
  return {
    kind: 'table',
    title: 'Hyper-parameters found',
    columns: [{ label: 'group' }, ...fields.map((label) => ({ label, numeric: true }))],
    rows: [...frozen].map(([group, parameters]) => [
      { text: group },
      ...fields.map((field) => ({ text: JSON.stringify(parameters[field]) ?? '–' })),
    ]),
    note: 'Best mean validation of the search; frozen for the full grid.',
  };
}

/** Compares the order of the objectives with that of a reference, block by block. */
function besideReference(data: GridData, rows: readonly Row[], reference: GridData): Section {
  const blocks = data.backbones.flatMap((backbone) =>
    data.benchmarks.map((_, benchmark) =>
      rows.filter((row) => row.backbone === backbone).map((row) => row.values[benchmark]!),
    ),
  );
  return referenceTable(rankAgreement(data.objectives, blocks, reference), reference);
}

/**
 * Makes the report of a finished grid: the tests and charts of `winnow report` where there are at least two backbones, two objectives and a
 * value in every cell, the values of all cells with intervals, and the validation curves.
 * @param reference Results whose mean ranks stand beside those of the grid.
 * @throws WinnowError `invalid_input` where grid and reference share fewer than three objectives.
 */
export function trainedGridReport(
  grid: Grid,
  frozen: Frozen,
  results: readonly CellResult[],
  reference?: GridData,
): ReportModel {
  const data = gridData(grid, results);
  const rows = rowsOf(grid, results);
  const own: Section[] = [
    seedsTable(grid, rows),
    ...intervalTable(data.benchmarks, rows),
    ...differencesTable(data.benchmarks, rows),
    ...curveSections(data.backbones, rows),
    ...(grid.search ? [frozenTable(frozen)] : []),
  ];
  const whole = data.rows.every((row) => row.values.every(Number.isFinite));
  if (whole && data.backbones.length > 1 && data.objectives.length > 1) {
    const report = gridComparison(data);
    const beside = reference ? [besideReference(data, rows, reference)] : [];
    return {
      ...report,
      title: `Grid ${grid.name}: ${report.title}`,
      sections: [...report.sections, ...beside, ...own],
    };
  }
  const table = effectivenessTable({
    title: data.measure,
    columns: data.benchmarks,
    rows: data.rows.map(({ backbone, objective, values }) => ({
      system: `${backbone}, ${objective}`,
      values: values.map((value) => (Number.isFinite(value) ? { value } : {})),
    })),
  });
  const notes: Section = { kind: 'text', title: 'Notes', paragraphs: data.notes };
  return {
    title: `Grid ${grid.name}`,
    summary: `${data.measure} on ${data.benchmarks.join(', ')}.`,
    sections: [table, ...own, notes],
    data: { grid: data },
  };
}
