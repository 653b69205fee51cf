import { share } from '../../reports/format.ts';
import type { CurveSection, TableSection } from '../../reports/report-model.ts';
import { bootstrapInterval } from '../../statistics/bootstrap.ts';
import { mean } from '../../statistics/samples.ts';
import { type TukeyPair, tukeyHsd } from '../../statistics/tukey.ts';
import { createRandom } from '../../util/random.ts';
import type { CellResult } from './grid.ts';

/** The runs of a backbone with an objective. */
export interface Row {
  readonly backbone: string;
  readonly objective: string;
  /** For each benchmark, the values of the seeds. */
  readonly values: readonly (readonly number[])[];
  /** For each benchmark, the mean over seeds of each query; empty where they were not kept. */
  readonly queries: readonly (readonly number[])[];
  readonly runs: readonly CellResult[];
}

/** Returns the mean over runs of each query's value; nothing without runs, or where they measured different numbers of queries. */
export function meanQueries(runs: readonly (readonly number[])[]): number[] {
  const [first] = runs;
  if (!first || runs.some((run) => run.length !== first.length)) return [];
  return first.map((_, query) => mean(runs.map((run) => run[query]!)));
}

/** Builds the table of means with their intervals over queries; none where the values of queries were not kept. */
export function intervalTable(benchmarks: readonly string[], rows: readonly Row[]): TableSection[] {
  if (!rows.some((row) => row.queries.some((values) => values.length > 0))) return [];
  const cellOf = (values: readonly number[]): string => {
    if (values.length === 0) return '–';
    const [low, high] = bootstrapInterval(values);
    return `${share(mean(values))} (${share(low)}–${share(high)})`;
  };
  return [
    {
      kind: 'table',
      title: 'Over queries',
      columns: [
        { label: 'backbone' },
        { label: 'objective' },
        ...benchmarks.map((label) => ({ label, numeric: true })),
      ],
      rows: rows.map(({ backbone, objective, queries }) => [
        { text: backbone },
        { text: objective },
        ...queries.map((values) => ({ text: cellOf(values) })),
      ]),
      note: 'Mean over seeds, with the 95 % interval over queries (bootstrap, BCa).',
    },
  ];
}

/** Writes pairs as what is ahead of what: `InfoNCE, ADR-MSE > BCE, Hinge`. */
function aheadText(pairs: readonly TukeyPair[]): string {
  const ordered = pairs
    .filter(({ significant }) => significant)
    .map(({ first, second, difference }) => (difference > 0 ? [first, second] : [second, first]) as [string, string]);
  const behindOf = [...Map.groupBy(ordered, ([ahead]) => ahead)]
    .sort(([, a], [, b]) => b.length - a.length)
    .map(([ahead, all]) => [ahead, all.map(([, behind]) => behind).join(', ')] as const);
  const groups = [...Map.groupBy(behindOf, ([, behind]) => behind)];
  return groups.map(([behind, all]) => `${all.map(([ahead]) => ahead).join(', ')} > ${behind}`).join('; ') || 'none';
}

/** Builds the table of differences between objectives that hold over queries; none where no block has the same queries for two objectives. */
export function differencesTable(benchmarks: readonly string[], rows: readonly Row[]): TableSection[] {
  const blocks = [...Map.groupBy(rows, ({ backbone }) => backbone)].flatMap(([backbone, own]) =>
    benchmarks.flatMap((benchmark, i) => {
      const systems = new Map(own.map(({ objective, queries }) => [objective, queries[i]!]));
      const lengths = new Set([...systems.values()].map(({ length }) => length));
      return systems.size < 2 || lengths.size > 1 || lengths.has(0) || lengths.has(1)
        ? []
        : [{ backbone, benchmark, ...tukeyHsd(systems, { random: createRandom(0) }) }];
    }),
  );
  if (blocks.length === 0) return [];
  return [
    {
      kind: 'table',
      title: 'Differences over queries',
      columns: [
        { label: 'backbone' },
        { label: 'benchmark' },
        { label: 'least difference', numeric: true },
        { label: 'significantly ahead' },
      ],
      rows: blocks.map(({ backbone, benchmark, honestDifference, pairs }) =>
        [backbone, benchmark, share(honestDifference), aheadText(pairs)].map((text) => ({ text })),
      ),
      note: 'Tukey’s test of all pairs of objectives at α = .05, means over seeds, queries as blocks: the least difference that is significant, and what is ahead of what by more.',
    },
  ];
}

/** Returns the mean of several curves at the steps that all have. */
function meanCurve(curves: readonly (readonly (readonly [number, number])[])[]): { x: number; y: number }[] {
  const [first = [], ...others] = curves.map((curve) => new Map(curve));
  return [...first].flatMap(([step, value]) => {
    const rest = others.map((curve) => curve.get(step));
    const all = [value, ...rest.flatMap((found) => found ?? [])];
    return all.length === curves.length ? [{ x: step, y: mean(all) }] : [];
  });
}

/** Builds the validation curves of each backbone, a line per objective; none where runs were not validated. */
export function curveSections(backbones: readonly string[], rows: readonly Row[]): CurveSection[] {
  return backbones.flatMap((backbone) => {
    const lines = rows
      .filter((row) => row.backbone === backbone)
      .map(({ objective, runs }) => ({
        name: objective,
        points: meanCurve(runs.flatMap(({ curve }) => (curve ? [curve] : []))),
      }))
      .filter(({ points }) => points.length > 1);
    if (lines.length === 0) return [];
    return [
      {
        kind: 'curve',
        title: `Validation while training, ${backbone}`,
        x: { label: 'step' },
        y: { label: 'validation' },
        lines,
        note: 'Mean over seeds. The weights of the best step are those that are measured, with `validation.weights: last` those of the last.',
      },
    ];
  });
}
