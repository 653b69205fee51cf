import { fixed, pValue, share, signed } from '../../reports/format.ts';
import type { Cell, DifferencesSection, Mark, ReportModel, Section, TableSection } from '../../reports/report-model.ts';
import { largestChanges, type QueryChange, significanceMarks } from '../../reports/tables.ts';
import type { Comparison } from '../../statistics/comparison.ts';
import { LEAST_P } from '../../statistics/tukey.ts';
import { CORRECTION_NAMES, TEST_NAMES } from '../test-names.ts';
import type { MeasureComparison, RunsComparison } from './compare-runs.ts';

const cell = (text: string, marks: readonly Mark[] = []): Cell => ({ text, marks });
const numeric = (labels: readonly string[]) => labels.map((label) => ({ label, numeric: true }));

const interval = ([low, high]: readonly [number, number], format: (value: number) => string): string =>
  `${format(low)} … ${format(high)}`;

/** Counts the queries on which a system is better and worse than the baseline. */
function counts(values: Float64Array, baseline: Float64Array): string {
  const better = values.filter((value, i) => value > baseline[i]!).length;
  const worse = values.filter((value, i) => value < baseline[i]!).length;
  return `${better} / ${worse}`;
}

function differenceCells(comparison: Comparison | undefined): Cell[] {
  if (comparison === undefined) return Array.from({ length: 4 }, () => cell('–'));
  return [
    cell(signed(comparison.difference), significanceMarks(comparison)),
    cell(interval(comparison.interval, signed)),
    cell(pValue(comparison.p)),
    cell(pValue(comparison.adjustedP)),
  ];
}

function meansTable({ baseline, settings, qids }: RunsComparison, of: MeasureComparison): TableSection {
  const best = Math.max(...of.systems.map(({ mean }) => mean));
  const heads = ['mean', '95 % interval', 'difference', '95 % interval', 'p', 'p adjusted', 'better / worse'];
  return {
    kind: 'table',
    title: of.measure,
    columns: [{ label: 'system' }, ...numeric(heads)],
    rows: of.systems.map(({ system, mean, interval: bounds }) => [
      cell(system),
      cell(share(mean), mean === best ? ['best'] : []),
      cell(interval(bounds, share)),
      ...differenceCells(of.comparisons.find((comparison) => comparison.system === system)),
      cell(system === baseline ? '–' : counts(of.perQuery.get(system)!, of.perQuery.get(baseline)!)),
    ]),
    note: `${qids.length} queries. ${TEST_NAMES[settings.test]} against ${baseline}, ${CORRECTION_NAMES[settings.correction]}, α ${share(settings.alpha, 2)}. Intervals: bootstrap (BCa) over queries, not corrected.`,
  };
}

const MODELS = {
  'two-way': 'Studentized range; queries are blocks (additive two-way model)',
  'one-way': 'Studentized range; systems are independent samples (one-way model)',
  randomized: 'Randomized: values are swapped among systems within each query',
} as const;

function tukeyTable({ settings }: RunsComparison, { measure, tukey }: MeasureComparison): TableSection {
  const bounds = tukey.pairs.some((pair) => pair.interval !== undefined);
  const df = tukey.df === undefined ? '' : `, df = ${tukey.df}`;
  const level = share(100 * (1 - settings.alpha), 0);
  return {
    kind: 'table',
    title: `Tukey’s HSD of all pairs, ${measure}`,
    columns: [
      { label: 'system' },
      { label: 'against' },
      ...numeric(['difference', ...(bounds ? [`${level} % interval`] : []), 'p']),
      { label: 'significant' },
    ],
    rows: tukey.pairs.map((pair) => [
      cell(pair.first),
      cell(pair.second),
      cell(signed(pair.difference)),
      ...(pair.interval ? [cell(interval(pair.interval, signed))] : []),
      cell(pair.p <= LEAST_P ? '< 1e-8' : pValue(pair.p)),
      cell(pair.significant ? 'yes' : 'no'),
    ]),
    note: `${MODELS[tukey.model]}${df}. p and intervals hold for all pairs together; from ${fixed(tukey.honestDifference, 4)} on a difference is significant at α ${share(settings.alpha, 2)}.`,
  };
}

/** Queries shown at each end. */
const SHOWN = 5;

function queriesOf({ qids, baseline }: RunsComparison, { perQuery }: MeasureComparison, system: string): QueryChange[] {
  const [before, after] = [perQuery.get(baseline)!, perQuery.get(system)!];
  return qids.map((qid, i) => ({ qid, before: before[i]!, after: after[i]! }));
}

/** Lists the largest gains, then the largest losses. */
function extremesTable(comparison: RunsComparison, of: MeasureComparison, system: string): TableSection {
  const { baseline, texts } = comparison;
  const { changed, ends } = largestChanges(queriesOf(comparison, of, system), SHOWN);
  const withText = texts.size > 0;
  return {
    kind: 'table',
    title: `Largest gains and losses of ${system}, ${of.measure}`,
    columns: [
      { label: 'query' },
      ...(withText ? [{ label: 'text' }] : []),
      ...numeric([baseline, system, 'difference']),
    ],
    rows: ends.map(({ qid, before, after }) => [
      cell(qid),
      ...(withText ? [cell(texts.get(qid) ?? '–')] : []),
      cell(share(before)),
      cell(share(after)),
      cell(signed(after - before)),
    ]),
    note: `${ends.length} of ${changed.length} queries that differ.`,
  };
}

/** Draws the difference of every query. */
function picture(comparison: RunsComparison, of: MeasureComparison, system: string): DifferencesSection {
  return {
    kind: 'differences',
    title: `All queries, ${system} against ${comparison.baseline}`,
    measure: of.measure,
    baseline: comparison.baseline,
    system,
    all: queriesOf(comparison, of, system).map(({ before, after }) => after - before),
    queries: [],
  };
}

function queries(comparison: RunsComparison): Section[] {
  const [main] = comparison.measures;
  const others = comparison.runs.map(({ system }) => system).filter((system) => system !== comparison.baseline);
  return others.flatMap((system) => [picture(comparison, main!, system), extremesTable(comparison, main!, system)]);
}

/** Results for programs: every mean, test and value. */
function dataOf({ qrels, runs, baseline, settings, qids, measures, notes }: RunsComparison): unknown {
  return {
    qrels,
    runs,
    baseline,
    queries: qids.length,
    test: settings.test === 'randomisation' ? 'randomization' : settings.test,
    correction: settings.correction,
    alpha: settings.alpha,
    seed: settings.seed,
    notes,
    measures: measures.map(({ perQuery, ...rest }) => ({
      ...rest,
      perQuery: Object.fromEntries(
        Array.from(perQuery, ([system, values]) => [
          system,
          Object.fromEntries(qids.map((qid, i) => [qid, values[i]!])),
        ]),
      ),
    })),
  };
}

/** Builds the report of compared runs: means and paired tests, Tukey's test, and the queries that differ most in the first measure. */
export function comparisonReport(comparison: RunsComparison): ReportModel {
  const { runs, qrels, qids, measures, notes } = comparison;
  const left: Section[] = notes.length > 0 ? [{ kind: 'text', title: 'Queries', paragraphs: notes }] : [];
  return {
    title: runs.map(({ system }) => system).join(', '),
    summary: `${runs.length} runs on ${qids.length} queries of ${qrels}.`,
    sections: [
      ...measures.flatMap((of) => [meansTable(comparison, of), tukeyTable(comparison, of)]),
      ...queries(comparison),
      ...left,
    ],
    data: dataOf(comparison),
  };
}
