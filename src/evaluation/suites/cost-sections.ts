import type { CurveSection, ScatterSection } from '../../reports/report-model.ts';
import { evaluate } from '../measures/evaluation.ts';
import { cascadeRun } from './cascade.ts';
import { unitMean, unitsOf } from './set-groups.ts';
import { cascadeMs, type SetResult, type SuiteResult, type SystemResult, systemsOf } from './suite-results.ts';
import { type CurveSpec, FIRST_STAGE } from './suite-schema.ts';

/** Returns the sets that no system has seen, or all sets if there is none. */
function unseenSets(sets: readonly SetResult[]): readonly SetResult[] {
  const clean = sets.filter(({ systems }) => systems.every(({ seen }) => seen === undefined));
  return clean.length > 0 ? clean : sets;
}

/** Plots every system's main measure against its time, over the sets that no system has seen. */
export function latencySection({ sets }: SuiteResult): ScatterSection {
  const counted = unseenSets(sets);
  const units = unitsOf(counted, ({ prepared }) => prepared.spec);
  const label = counted[0]!.measures[0]!.label;
  const complete = (system: string): boolean =>
    counted.every((set) => set.systems.some((s) => s.system === system && s.ms !== undefined));
  const points = systemsOf(counted)
    .filter(complete)
    .map((system) => {
      const resultOn = (set: SetResult): SystemResult => set.systems.find((s) => s.system === system)!;
      const x = system === FIRST_STAGE ? 0 : unitMean(units, (set) => resultOn(set).ms ?? Number.NaN);
      return {
        name: system,
        x: Number(x.toPrecision(3)),
        y: unitMean(units, (set) => [...resultOn(set).mean.values()][0]!),
      };
    });
  return {
    kind: 'scatter',
    title: 'Effectiveness against cost',
    x: { label: 'ms of re-ranking a query' },
    y: {
      label: counted.length === 1 ? `${label} on ${counted[0]!.name}` : `mean main measure of ${units.length} sets`,
    },
    points,
    note: `Time of a whole set divided by its queries, with as many queries in flight as keep the engine busy. Sets: ${counted.map(({ name }) => name).join(', ')}.`,
  };
}

function curvePoints(
  set: SetResult,
  { stages, keep, blend }: CurveSpec,
): CurveSection['lines'][number]['points'] | undefined {
  const [first, last] = stages.map((name) => set.tables.get(name));
  if (first === undefined || last === undefined) return undefined;
  const { label, measure } = set.measures[0]!;
  const deepest = Math.max(...[...set.prepared.candidates.run.values()].map(({ docids }) => docids.length));
  const kept = [...new Set(keep.map((k) => Math.min(k, deepest)))].sort((a, b) => a - b);
  const points = kept.map((k) => {
    const run = cascadeRun(set.prepared.candidates.run, [
      { run: first.run, keep: k },
      { run: last.run, blend },
    ]);
    const ms = cascadeMs(set.prepared, [{ table: first, keep: k }, { table: last }]);
    const y = evaluate(set.prepared.qrels, run, [measure]).mean.get(measure.name)!;
    return { x: k, y, label: `${Math.round(ms)} ms` };
  });
  return [
    { x: 0, y: first.mean.get(label)! },
    ...points.map((point, i) => (labeled(i, points.length) ? point : { x: point.x, y: point.y })),
  ];
}

/** Returns whether a point of a line shows its cost: the first, the middle and the last do; more labels would overlap. */
const labeled = (at: number, count: number): boolean => [0, count >> 1, count - 1].includes(at);

/** Plots a cascade curve for every set that the suite lists under `curves`. */
export function curveSections({ suite, sets }: SuiteResult): CurveSection[] {
  return sets.flatMap((set) => {
    const lines = suite.curves
      .filter(
        ({ sets: wanted = [set.name] }) =>
          wanted.includes(set.name) || wanted.includes(set.prepared.spec.partOf ?? set.name),
      )
      .flatMap((spec) => {
        const points = curvePoints(set, spec);
        return points === undefined
          ? []
          : [
              {
                name: spec.name ?? `${spec.stages.join(' → ')}${spec.blend === 0 ? '' : `, blend ${spec.blend}`}`,
                points,
              },
            ];
      });
    if (lines.length === 0) return [];
    const { label } = set.measures[0]!;
    return [
      {
        kind: 'curve' as const,
        title: `Cascade on ${set.name}`,
        x: { label: 'passages that the last stage sees' },
        y: { label },
        lines,
        note: 'Where the last stage sees nothing, the first alone ranks. Beside points: milliseconds of re-ranking a query. Every candidate was scored once; all points come from the same scores.',
      },
    ];
  });
}
