import { WinnowError } from '../../errors.ts';
import { percent, pValue, share, signed } from '../../reports/format.ts';
import type { Cell, ReportModel, Section, TableSection } from '../../reports/report-model.ts';
import {
  differencesSection,
  effectivenessTable,
  movedPassages,
  type SystemRow,
  significanceMarks,
} from '../../reports/tables.ts';
import type { PassageStore } from '../formats/passage-store.ts';
import { CORRECTION_NAMES, TEST_NAMES } from '../test-names.ts';
import { curveSections, latencySection } from './cost-sections.ts';
import { groupsOf, type Unit, unitMean } from './set-groups.ts';
import { foldMean, labelsOf, type SetResult, type SuiteResult, type SystemResult, systemsOf } from './suite-results.ts';
import type { SetSpec } from './suite-schema.ts';

type Entry = SystemRow['values'][number];

function entryOf(set: SetResult, system: string, label: string): Entry {
  const result = set.systems.find((s) => s.system === system);
  const comparison = set.comparisons.get(label)?.find((c) => c.system === system);
  return { value: result?.mean.get(label), comparison, seen: result?.seen !== undefined };
}

const specOf = ({ prepared }: SetResult): SetSpec => prepared.spec;

/** Averages over a group's units; no value if the system is missing on one of their sets. */
function groupEntry(units: readonly Unit<SetResult>[], system: string, label: string): Entry {
  const entries = new Map(units.flat().map((set) => [set, entryOf(set, system, label)]));
  if ([...entries.values()].some(({ value }) => value === undefined)) return {};
  return {
    value: unitMean(units, (set) => entries.get(set)!.value!),
    seen: [...entries.values()].some(({ seen }) => seen === true),
  };
}

function measureTable({ suite, sets }: SuiteResult, label: string): TableSection {
  const measured = sets.filter(({ measures }) => measures.some((m) => m.label === label));
  const groups = [...groupsOf(measured, specOf)];
  const renamed = measured.flatMap((set) => {
    const name = set.measures.find((m) => m.label === label)!.measure.name;
    return name === label ? [] : [`${set.name}: ${name}.`];
  });
  const family = suite.family === 'set' ? 'the systems of a set' : 'all systems and sets';
  const against = `${TEST_NAMES[suite.test]} against ${suite.baseline}, ${CORRECTION_NAMES[suite.correction]} over ${family}, α ${share(suite.alpha, 2)}.`;
  return effectivenessTable({
    title: label,
    columns: [...measured.map(({ name }) => name), ...groups.map(([group, of]) => `${group} (mean of ${of.length})`)],
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
      return [
        { text: set.name, marks: seen ? ['seen'] : [] },
        text(c.system),
        { text: signed(c.difference), marks: significanceMarks(c) },
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
    rows: sets.map(({ name, prepared: { candidates, queries, depth } }) => [
      text(name),
      text(candidates.name),
      text(String(queries.size)),
      text(String(depth)),
      text(String([...candidates.run.values()].reduce((sum, { docids }) => sum + docids.length, 0))),
    ]),
  };
}

/** Says for each pruned system what it saved and what it cost against the same model on whole lists. */
function pruningTables({ sets }: SuiteResult): TableSection[] {
  const rows = sets.flatMap((set) => {
    const { label } = set.measures[0]!;
    return set.systems.flatMap(({ system, pruning, mean }): Cell[][] => {
      if (!pruning) return [];
      const value = mean.get(label)!;
      const whole = set.systems.find((other) => other.system === pruning.whole)?.mean.get(label);
      const numbers = [
        String(pruning.topN),
        share(pruning.recall, 2),
        percent(pruning.left),
        `${pruning.fewer.toFixed(2)}x`,
      ];
      const values = [share(value), whole === undefined ? '–' : signed(value - whole)];
      return [[set.name, system, ...numbers, ...values].map(text)];
    });
  });
  if (rows.length === 0) return [];
  const heads = ['top n', 'recall', 'passages left out', 'fewer tokens', 'main measure', 'to whole lists'];
  return [
    {
      kind: 'table',
      title: 'Early pruning',
      columns: [{ label: 'set' }, { label: 'system' }, ...heads.map((label) => ({ label, numeric: true }))],
      rows,
      note: 'A token of an early score counts as the part of the model that it runs through. Passages that were left out are not in the run.',
    },
  ];
}

/** Returns the system with the best main measure apart from the baseline. */
function bestOf(set: SetResult, baseline: string): SystemResult | undefined {
  const { label } = set.measures[0]!;
  return set.systems
    .filter(({ system }) => system !== baseline)
    .toSorted((a, b) => b.mean.get(label)! - a.mean.get(label)!)[0];
}

const EXCERPT = 320;

const excerpt = (passage: string): string => (passage.length > EXCERPT ? `${passage.slice(0, EXCERPT)}…` : passage);

/** Returns a text, or a remark: a run file of another system may have passages that the collection does not. */
async function textOf(passages: PassageStore, docid: string): Promise<string> {
  try {
    const [text = ''] = await passages.texts([docid]);
    return text;
  } catch (error) {
    if (error instanceof WinnowError && error.code === 'invalid_input') return '(not in the collection)';
    throw error;
  }
}

async function differences(set: SetResult, baseline: string): Promise<Section[]> {
  const before = set.systems.find(({ system }) => system === baseline);
  const after = bestOf(set, baseline);
  if (before === undefined || after === undefined) return [];
  const { label } = set.measures[0]!;
  const { data, queries, qrels } = set.prepared;
  const section = await differencesSection({
    title: `Queries that differ on ${set.name}`,
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
      const texts = await Promise.all(moved.map(({ docid }) => textOf(data.passages, docid)));
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
        title: `${set.name} by fold, ${label}`,
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
  const reasons = new Map<string, string[]>();
  for (const set of sets)
    for (const { system, seen: reason } of set.systems)
      if (reason !== undefined) {
        const about = `${set.name}: ${reason}`;
        reasons.set(about, [...(reasons.get(about) ?? []), system]);
      }
  const seen = Array.from(reasons, ([about, systems]) => `${about} (${systems.join(', ')}).`);
  const queries = sets.flatMap(({ name, notes }) => notes.map((note) => `${name}: ${note}.`));
  const left = leftOut.map(({ what, reason }) => `${what}: ${reason}.`);
  return [
    ...(seen.length > 0 ? [{ kind: 'text' as const, title: 'Seen in training', paragraphs: seen }] : []),
    ...(queries.length > 0 ? [{ kind: 'text' as const, title: 'Queries', paragraphs: queries }] : []),
    ...(left.length > 0 ? [{ kind: 'text' as const, title: 'Left out', paragraphs: left }] : []),
  ];
}

/** Means of every group by measure and system. */
function groupData({ sets }: SuiteResult): object[] {
  return Array.from(groupsOf(sets, specOf), ([group, units]) => ({
    group,
    sets: units.flat().map(({ name }) => name),
    mean: Object.fromEntries(
      labelsOf(units.flat()).map((label) => [
        label,
        Object.fromEntries(
          systemsOf(units.flat()).map((system) => [system, groupEntry(units, system, label).value ?? null]),
        ),
      ]),
    ),
  }));
}

/** Results for programs: every mean, comparison and cost. */
function dataOf(result: SuiteResult): unknown {
  const { suite, sets, leftOut } = result;
  return {
    suite: suite.name,
    leftOut,
    groups: groupData(result),
    sets: sets.map((set) => ({
      name: set.name,
      firstStage: set.prepared.candidates.name,
      depth: set.prepared.depth,
      queries: set.qids.length,
      notes: set.notes,
      systems: set.systems.map(({ system, mean, ms, seen, facts, file, pruning }) => ({
        system,
        pruning,
        run: file,
        mean: Object.fromEntries(mean),
        msPerQuery: ms,
        seen: seen ?? null,
        model: facts?.label,
        sha256: facts?.sha256,
        variant: facts?.variant,
        pairs: facts?.pairs,
      })),
      comparisons: Object.fromEntries(set.comparisons),
    })),
  };
}

/** Builds the report of a suite: tables with significance, costs, cascade curves, and the queries that differ most. */
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
      ...pruningTables(result),
      ...remarks(result),
      ...(cost.points.length > 1 ? [cost] : []),
      ...curveSections(result),
      ...foldTables(result),
      ...shown,
    ],
    data: dataOf(result),
  };
}
