import { describe, WinnowError } from '../errors.ts';
import {
  blockRanks,
  cliques,
  criticalDifference,
  type FriedmanResult,
  friedman,
  meanRanks,
} from '../statistics/friedman.ts';
import { mean } from '../statistics/samples.ts';
import { fixed, pValue, share } from './format.ts';
import type { GridData } from './grid-data.ts';
import type { Cell, HeatmapSection, RanksSection, ReportModel, Section, TableSection } from './report-model.ts';

const ALPHA = 0.05;

interface RankAnalysis extends FriedmanResult {
  readonly names: readonly string[];
  readonly criticalDifference: number;
  /** Groups whose mean ranks lie within the critical difference. */
  readonly cliques: readonly (readonly string[])[];
}

interface GridResults {
  readonly objectives: RankAnalysis;
  readonly backbones: RankAnalysis;
  /** Objective → means over backbones, in the order of the benchmarks. */
  readonly columnMeans: Readonly<Record<string, readonly number[]>>;
}

type Lookup = (backbone: string, objective: string, benchmark: number) => number;

function lookupOf(data: GridData): Lookup {
  const rows = new Map(data.rows.map((row) => [`${row.backbone}\u0000${row.objective}`, row.values]));
  return (backbone, objective, benchmark) => {
    const value = rows.get(`${backbone}\u0000${objective}`)?.[benchmark];
    if (typeof value === 'number' && Number.isFinite(value)) return value;
    throw new WinnowError('invalid_input', {
      where: `${backbone}, ${objective}, ${data.benchmarks[benchmark]}`,
      expected: 'a number in every cell of the grid',
      got: describe(value),
    });
  };
}

function analyze(names: readonly string[], blocks: readonly (readonly number[])[]): RankAnalysis {
  const result = friedman(blocks, { tieCorrection: false });
  const cd = criticalDifference(names.length, blocks.length, ALPHA);
  const groups = cliques(result.averageRanks, cd).map((group) => group.map((i) => names[i]!));
  return { ...result, names, criticalDifference: cd, cliques: groups };
}

/**
 * Compares the objectives and the backbones of a grid: objectives are ranked within each (backbone, benchmark) block, backbones within each
 * (objective, benchmark) block; Friedman's χ² without tie correction and Nemenyi's critical difference at α = .05 (Demšar 2006).
 */
export function analyzeGrid(data: GridData): GridResults {
  const value = lookupOf(data);
  const benchmarks = data.benchmarks.map((_, i) => i);
  const over = (outer: readonly string[], block: (outer: string, benchmark: number) => number[]): number[][] =>
    outer.flatMap((name) => benchmarks.map((i) => block(name, i)));
  return {
    objectives: analyze(
      data.objectives,
      over(data.backbones, (backbone, i) => data.objectives.map((objective) => value(backbone, objective, i))),
    ),
    backbones: analyze(
      data.backbones,
      over(data.objectives, (objective, i) => data.backbones.map((backbone) => value(backbone, objective, i))),
    ),
    columnMeans: Object.fromEntries(
      data.objectives.map((objective) => [
        objective,
        benchmarks.map((i) => mean(data.backbones.map((backbone) => value(backbone, objective, i)))),
      ]),
    ),
  };
}

const byRank = ({ names, averageRanks }: RankAnalysis): { name: string; rank: number }[] =>
  names.map((name, i) => ({ name, rank: averageRanks[i]! })).sort((a, b) => a.rank - b.rank);

function ranksSection(title: string, analysis: RankAnalysis, note: string): RanksSection {
  const { criticalDifference: cd, blocks, statistic, df, p } = analysis;
  return {
    kind: 'ranks',
    title,
    treatments: byRank(analysis),
    criticalDifference: cd,
    alpha: ALPHA,
    blocks,
    statistic,
    df,
    p,
    note,
  };
}

const cell = (text: string): Cell => ({ text });

function summaryTable({ objectives, backbones }: GridResults): TableSection {
  const row = (name: string, a: RankAnalysis): Cell[] =>
    [name, `${a.names.length}`, `${a.blocks}`, fixed(a.statistic, 1), pValue(a.p), fixed(a.criticalDifference, 3)].map(
      cell,
    );
  return {
    kind: 'table',
    title: 'Do they differ at all?',
    columns: [
      { label: 'treatments' },
      ...['number', 'blocks', 'χ²', 'p', 'CD'].map((label) => ({ label, numeric: true })),
    ],
    rows: [row('objectives', objectives), row('backbones', backbones)],
    note: 'χ²: Friedman’s test without tie correction. CD: Nemenyi’s critical difference of mean ranks at α = .05.',
  };
}

/** Builds rows of values with the best of each column marked. */
function markBest(rows: readonly { head: readonly string[]; values: readonly number[] }[]): Cell[][] {
  const columns = rows[0]?.values.length ?? 0;
  const best = Array.from({ length: columns }, (_, i) => Math.max(...rows.map((row) => row.values[i]!)));
  return rows.map(({ head, values }) => [
    ...head.map(cell),
    ...values.map((value, i): Cell => ({ text: share(value), marks: value === best[i] ? ['best'] : [] })),
  ]);
}

function meansTable(data: GridData, results: GridResults): TableSection {
  const order = byRank(results.objectives).map(({ name }) => name);
  return {
    kind: 'table',
    title: 'Means over backbones',
    columns: [{ label: 'objective' }, ...data.benchmarks.map((label) => ({ label, numeric: true }))],
    rows: markBest(order.map((name) => ({ head: [name], values: results.columnMeans[name]! }))),
    note: `Mean ${data.measure} over the ${data.backbones.length} backbones.`,
  };
}

/** Makes the cells of a row of ranks, with the lowest marked. */
function rankCells(ranks: ArrayLike<number>, text: (rank: number) => string): Cell[] {
  const best = Math.min(...Array.from(ranks));
  return Array.from(ranks, (rank) => ({ text: text(rank), marks: rank === best ? ['rowBest'] : [] }));
}

/** Builds the table of ranks in each block: what the diagram of mean ranks is the mean of. */
function blockRanksTable(data: GridData, order: readonly string[]): TableSection {
  const value = lookupOf(data);
  const keys = data.backbones.flatMap((backbone) => data.benchmarks.map((_, benchmark) => ({ backbone, benchmark })));
  const ranks = blockRanks(
    keys.map(({ backbone, benchmark }) => order.map((name) => value(backbone, name, benchmark))),
  );
  return {
    kind: 'table',
    title: 'Ranks in each block',
    columns: [{ label: 'backbone' }, { label: 'benchmark' }, ...order.map((label) => ({ label, numeric: true }))],
    rows: keys.map(({ backbone, benchmark }, block) => [
      cell(backbone),
      cell(data.benchmarkNames[data.benchmarks[benchmark]!] ?? data.benchmarks[benchmark]!),
      ...rankCells(ranks[block]!, String),
    ]),
    note: 'Rank of each objective among all, 1 the best; equal values share the mean of their ranks.',
  };
}

/** Builds the table of mean ranks on each backbone, which shows whether all of them order the objectives alike. */
function backboneRanksTable(data: GridData, order: readonly string[]): TableSection {
  const value = lookupOf(data);
  return {
    kind: 'table',
    title: 'Mean ranks on each backbone',
    columns: [{ label: 'backbone' }, ...order.map((label) => ({ label, numeric: true }))],
    rows: data.backbones.map((backbone) => {
      const ranks = meanRanks(data.benchmarks.map((_, i) => order.map((name) => value(backbone, name, i))));
      return [cell(backbone), ...rankCells(ranks, (rank) => fixed(rank, 2))];
    }),
    note: `Mean over the ${data.benchmarks.length} benchmarks, 1 the best.`,
  };
}

function allRows(data: GridData): TableSection {
  return {
    kind: 'table',
    title: `All ${data.rows.length} rows`,
    columns: [
      { label: 'backbone' },
      { label: 'objective' },
      ...data.benchmarks.map((label) => ({ label, numeric: true })),
    ],
    rows: markBest(data.rows.map(({ backbone, objective, values }) => ({ head: [backbone, objective], values }))),
    note: `${data.measure}, mean of ${data.seeds} seeds.`,
  };
}

function heatmap(data: GridData): HeatmapSection {
  const value = lookupOf(data);
  const panel = (of: (backbone: string, objective: string) => number): number[][] =>
    data.backbones.map((backbone) => data.objectives.map((objective) => of(backbone, objective)));
  const over = data.benchmarks.map((_, i) => i);
  return {
    kind: 'heatmap',
    title: 'Objective × backbone',
    rows: data.backbones,
    columns: data.objectives,
    digits: 3,
    panels: [
      { title: 'mean of all benchmarks', values: panel((b, o) => mean(over.map((i) => value(b, o, i)))) },
      ...data.benchmarks.map((id, i) => ({
        title: data.benchmarkNames[id] ?? id,
        values: panel((b, o) => value(b, o, i)),
      })),
    ],
    note: 'Each panel has its own color range: compare within a panel.',
  };
}

function cliquesNote(analysis: RankAnalysis): string {
  const groups = analysis.cliques.map((group) => group.join(' – '));
  return groups.length === 0
    ? 'All pairs differ significantly.'
    : `A bar joins those that do not differ significantly: ${groups.join('; ')}. The best stands left.`;
}

/** Builds the report of a grid: tests, critical-difference diagrams, means, heat maps and every row. */
export function gridComparison(data: GridData): ReportModel {
  const results = analyzeGrid(data);
  const order = byRank(results.objectives).map(({ name }) => name);
  const sections: Section[] = [
    summaryTable(results),
    ranksSection('Objectives by mean rank', results.objectives, cliquesNote(results.objectives)),
    ranksSection('Backbones by mean rank', results.backbones, cliquesNote(results.backbones)),
    meansTable(data, results),
    {
      kind: 'bars',
      title: 'Objectives on each benchmark',
      measure: data.measure,
      digits: 3,
      groups: data.benchmarks.map((id) => data.benchmarkNames[id] ?? id),
      series: order.map((name) => ({ name, values: results.columnMeans[name]! })),
      note: `Mean ${data.measure} over the ${data.backbones.length} backbones.`,
    },
    heatmap(data),
    backboneRanksTable(data, order),
    blockRanksTable(data, order),
    allRows(data),
    { kind: 'text', title: 'Notes', paragraphs: data.notes },
  ];
  return {
    title: `${data.backbones.length} backbones × ${data.objectives.length} objectives`,
    summary: `${data.measure} on ${data.benchmarks.length} benchmarks, recomputed from the ${data.rows.length} rows of ${data.paper}. Source: ${data.source}.`,
    sections,
    data: { ...results, grid: data },
  };
}
