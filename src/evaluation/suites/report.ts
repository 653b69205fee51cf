import { evaluate } from '../measures/evaluation.ts';
import { pValue, share, signed } from '../reports/format.ts';
import type { Cell, CurveSection, ReportModel, ScatterSection, Section, TableSection } from '../reports/model.ts';
import { differencesSection, effectivenessTable, movedPassages, type SystemRow } from '../reports/tables.ts';
import { cascadeRun } from './cascade.ts';
import { cascadeMs, foldMean, type SetResult, type SystemResult } from './results.ts';
import { type CurveSpec, FIRST_STAGE, type Suite } from './schema.ts';
import type { LeftOut } from './set.ts';

export interface SuiteResult {
  readonly suite: Suite;
  readonly sets: readonly SetResult[];
  readonly leftOut: readonly LeftOut[];
}

const TESTS: Readonly<Record<Suite['test'], string>> = {
  t: 'paired t-test',
  randomisation: 'Fisher’s randomisation test',
  wilcoxon: 'Wilcoxon’s signed-rank test',
};
const CORRECTIONS: Readonly<Record<Suite['correction'], string>> = {
  holm: 'Holm',
  bonferroni: 'Bonferroni',
  'benjamini-hochberg': 'Benjamini–Hochberg',
  none: 'no correction',
};

const average = (values: readonly number[]): number => values.reduce((sum, v) => sum + v, 0) / values.length;

const nameOf = ({ planned }: SetResult): string => planned.set.spec.name;

const labelsOf = (sets: readonly SetResult[]): string[] => [
  ...new Set(sets.flatMap(({ measures }) => measures.map(({ label }) => label))),
];

/** Rows in the order of the suite; a system that a set lacks has a gap there. */
const systemsOf = (sets: readonly SetResult[]): string[] => [
  ...new Set(sets.flatMap(({ systems }) => systems.map(({ system }) => system))),
];

type Entry = SystemRow['values'][number];

function entryOf(set: SetResult, system: string, label: string): Entry {
  const result = set.systems.find((s) => s.system === system);
  const comparison = set.comparisons.get(label)?.find((c) => c.system === system);
  return { value: result?.mean.get(label), comparison, seen: result?.seen !== undefined };
}

/** Mean over a group's sets; absent where a set of it lacks the system. */
function groupEntry(sets: readonly SetResult[], system: string, label: string): Entry {
  const entries = sets.map((set) => entryOf(set, system, label));
  const values = entries.map(({ value }) => value);
  if (values.some((value) => value === undefined)) return {};
  return { value: average(values as number[]), seen: entries.some(({ seen }) => seen === true) };
}

function groupsOf(sets: readonly SetResult[]): Map<string, SetResult[]> {
  const groups = new Map<string, SetResult[]>();
  for (const set of sets) {
    const { group } = set.planned.set.spec;
    if (group !== undefined) groups.set(group, [...(groups.get(group) ?? []), set]);
  }
  return groups;
}

function measureTable({ suite, sets }: SuiteResult, label: string): TableSection {
  const measured = sets.filter(({ measures }) => measures.some((m) => m.label === label));
  const groups = [...groupsOf(measured)];
  const renamed = measured.flatMap((set) => {
    const name = set.measures.find((m) => m.label === label)!.measure.name;
    return name === label ? [] : [`${nameOf(set)}: ${name}.`];
  });
  const family = suite.family === 'set' ? 'the systems of a set' : 'all systems and sets';
  const against = `${TESTS[suite.test]} against ${suite.baseline}, ${CORRECTIONS[suite.correction]} over ${family}, α ${share(suite.alpha, 2)}.`;
  return effectivenessTable({
    title: label,
    columns: [...measured.map(nameOf), ...groups.map(([group, of]) => `${group} (mean of ${of.length})`)],
    rows: systemsOf(measured).map((system) => ({
      system,
      values: [
        ...measured.map((set) => entryOf(set, system, label)),
        ...groups.map(([, of]) => groupEntry(of, system, label)),
      ],
    })),
    note: [against, ...renamed].join(' '),
  });
}

const text = (value: string): Cell => ({ text: value });

function comparisonTable({ sets, suite }: SuiteResult, label: string): TableSection {
  const rows = sets.flatMap((set) =>
    (set.comparisons.get(label) ?? []).map((c): Cell[] => {
      const seen = entryOf(set, c.system, label).seen === true;
      const [low, high] = c.interval;
      const mark = c.significant ? (c.difference > 0 ? (['better'] as const) : (['worse'] as const)) : [];
      return [
        { text: nameOf(set), marks: seen ? ['seen'] : [] },
        text(c.system),
        { text: signed(c.difference), marks: mark },
        text(`${signed(low)} … ${signed(high)}`),
        text(pValue(c.p)),
        text(pValue(c.adjustedP)),
      ];
    }),
  );
  const numeric = ['difference', '95 % interval', 'p', 'p adjusted'].map((head) => ({ label: head, numeric: true }));
  return {
    kind: 'table',
    title: `Differences to ${suite.baseline}, ${label}`,
    columns: [{ label: 'set' }, { label: 'system' }, ...numeric],
    rows,
    note: 'Interval: bootstrap (BCa) of the mean difference over queries, not corrected.',
  };
}

function conditionsTable({ sets }: SuiteResult): TableSection {
  const heads = ['queries', 'depth', 'pairs'].map((label) => ({ label, numeric: true }));
  return {
    kind: 'table',
    title: 'Sets',
    columns: [{ label: 'set' }, { label: 'first stage' }, ...heads],
    rows: sets.map(({ planned: { set, candidates } }) => [
      text(set.spec.name),
      text(candidates.name),
      text(String(set.queries.size)),
      text(String(set.depth)),
      text(String([...candidates.run.values()].reduce((sum, { docids }) => sum + docids.length, 0))),
    ]),
  };
}

/** Sets that no system has seen; all where there are none. */
function unseen(sets: readonly SetResult[]): readonly SetResult[] {
  const clean = sets.filter(({ systems }) => systems.every(({ seen }) => seen === undefined));
  return clean.length > 0 ? clean : sets;
}

function latencySection({ sets }: SuiteResult): ScatterSection {
  const counted = unseen(sets);
  const label = counted[0]!.measures[0]!.label;
  const complete = (system: string): boolean => counted.every((set) => set.systems.some((s) => s.system === system));
  const points = systemsOf(counted)
    .filter(complete)
    .map((system) => {
      const results = counted.map((set) => set.systems.find((s) => s.system === system)!);
      const x = system === FIRST_STAGE ? 0 : average(results.map(({ ms }) => ms));
      return {
        name: system,
        x: Number(x.toPrecision(3)),
        y: average(results.map(({ mean }) => [...mean.values()][0]!)),
      };
    });
  return {
    kind: 'scatter',
    title: 'Effectiveness against cost',
    x: { label: 'ms of re-ranking a query' },
    y: {
      label:
        counted.length === 1 ? `${label} on ${nameOf(counted[0]!)}` : `mean main measure of ${counted.length} sets`,
    },
    points,
    note: `Time of a whole set divided by its queries, with as many queries in flight as keep the engine busy. Sets: ${counted.map(nameOf).join(', ')}.`,
  };
}

function curvePoints(set: SetResult, { stages, keep }: CurveSpec): CurveSection['lines'][number]['points'] | undefined {
  const [first, last] = stages.map((name) => set.tables.get(name));
  if (first === undefined || last === undefined) return undefined;
  const { label, measure } = set.measures[0]!;
  const deepest = Math.max(...[...set.planned.candidates.run.values()].map(({ docids }) => docids.length));
  const kept = [...new Set(keep.map((k) => Math.min(k, deepest)))].sort((a, b) => a - b);
  const alone = { x: 0, y: first.mean.get(label)!, label: first.system };
  return [
    alone,
    ...kept.map((k) => {
      const run = cascadeRun(set.planned.candidates.run, [{ run: first.run, keep: k }, { run: last.run }]);
      const ms = cascadeMs(set.planned, [{ table: first, keep: k }, { table: last }]);
      return {
        x: k,
        y: evaluate(set.planned.set.qrels, run, [measure]).mean.get(measure.name)!,
        label: `${Math.round(ms)} ms`,
      };
    }),
  ];
}

function curveSections({ suite, sets }: SuiteResult): CurveSection[] {
  return sets.flatMap((set) => {
    const lines = suite.curves
      .filter(({ sets: wanted }) => wanted === undefined || wanted.includes(nameOf(set)))
      .flatMap((spec) => {
        const points = curvePoints(set, spec);
        return points === undefined ? [] : [{ name: spec.name ?? spec.stages.join(' → '), points }];
      });
    if (lines.length === 0) return [];
    const { label } = set.measures[0]!;
    return [
      {
        kind: 'curve' as const,
        title: `Cascade on ${nameOf(set)}`,
        x: { label: 'passages that the last stage sees' },
        y: { label },
        lines,
        note: 'Beside each point: milliseconds of re-ranking a query. Every candidate was scored once; all points come from the same scores.',
      },
    ];
  });
}

/** The best system that is not the baseline, by the main measure. */
function bestOf(set: SetResult, baseline: string): SystemResult | undefined {
  const { label } = set.measures[0]!;
  return set.systems
    .filter(({ system }) => system !== baseline)
    .toSorted((a, b) => b.mean.get(label)! - a.mean.get(label)!)[0];
}

const EXCERPT = 320;

const excerpt = (passage: string): string => (passage.length > EXCERPT ? `${passage.slice(0, EXCERPT)}…` : passage);

async function differences(set: SetResult, baseline: string): Promise<Section[]> {
  const before = set.systems.find(({ system }) => system === baseline);
  const after = bestOf(set, baseline);
  if (before === undefined || after === undefined) return [];
  const { label } = set.measures[0]!;
  const { data, queries, qrels } = set.planned.set;
  const section = await differencesSection({
    title: `Queries that differ on ${nameOf(set)}`,
    measure: label,
    baseline,
    system: after.system,
    shown: 3,
    queries: set.qids.map((qid, i) => ({
      qid,
      text: queries.get(qid)!,
      before: before.perQuery.get(label)![i]!,
      after: after.perQuery.get(label)![i]!,
    })),
    async passages(qid) {
      const list = (of: SystemResult): readonly string[] => of.run.get(qid)?.docids ?? [];
      const moved = movedPassages(list(before), list(after), qrels.get(qid)!);
      const texts = await data.passages.texts(moved.map(({ docid }) => docid));
      return moved.map((passage, i) => ({ ...passage, text: excerpt(texts[i]!) }));
    },
  });
  return [section];
}

function foldTables({ sets }: SuiteResult): TableSection[] {
  return sets
    .filter(({ folds }) => folds.length > 0)
    .map((set) => {
      const { label } = set.measures[0]!;
      return effectivenessTable({
        title: `${nameOf(set)} by fold, ${label}`,
        columns: set.folds.map(({ name }) => name),
        rows: set.systems.map((system) => ({
          system: system.system,
          values: set.folds.map((fold) => {
            const value = foldMean(set, system, label, fold);
            return { value: Number.isNaN(value) ? undefined : value, seen: system.seen !== undefined };
          }),
        })),
        note: 'Means over the test queries of each fold.',
      });
    });
}

function remarks({ sets, leftOut }: SuiteResult): Section[] {
  const seen = sets.flatMap((set) =>
    set.systems.flatMap(({ system, seen: reason }) =>
      reason === undefined ? [] : [`${system} on ${nameOf(set)}: ${reason}.`],
    ),
  );
  const left = leftOut.map(({ what, reason }) => `${what}: ${reason}.`);
  return [
    ...(seen.length > 0 ? [{ kind: 'text' as const, title: 'Seen in training', paragraphs: seen }] : []),
    ...(left.length > 0 ? [{ kind: 'text' as const, title: 'Left out', paragraphs: left }] : []),
  ];
}

/** What programs read: every mean, comparison and cost. */
function dataOf({ suite, sets, leftOut }: SuiteResult): unknown {
  return {
    suite: suite.name,
    leftOut,
    sets: sets.map((set) => ({
      name: nameOf(set),
      firstStage: set.planned.candidates.name,
      depth: set.planned.set.depth,
      queries: set.qids.length,
      systems: set.systems.map(({ system, mean, ms, seen, facts }) => ({
        ...{ system, mean: Object.fromEntries(mean), msPerQuery: ms, seen: seen ?? null },
        ...{ model: facts?.label, sha256: facts?.sha256, variant: facts?.variant, pairs: facts?.pairs },
      })),
      comparisons: Object.fromEntries(set.comparisons),
    })),
  };
}

/** The report of a suite: tables with significance, costs, cascade curves, and the queries behind the differences. */
export async function suiteReport(result: SuiteResult): Promise<ReportModel> {
  const { suite, sets } = result;
  const labels = labelsOf(sets);
  const shown = (await Promise.all(sets.map((set) => differences(set, suite.baseline)))).flat();
  const cost = latencySection(result);
  return {
    title: suite.name,
    summary: suite.description,
    sections: [
      ...labels.map((label) => measureTable(result, label)),
      ...labels.slice(0, 1).map((label) => comparisonTable(result, label)),
      conditionsTable(result),
      ...remarks(result),
      ...(cost.points.length > 1 ? [cost] : []),
      ...curveSections(result),
      ...foldTables(result),
      ...shown,
    ],
    data: dataOf(result),
  };
}
