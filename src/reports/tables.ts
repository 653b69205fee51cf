import type { Comparison } from '../statistics/comparison.ts';
import { share } from './format.ts';
import type { Cell, DifferencesSection, Mark, MovedPassage, TableSection } from './report-model.ts';

/** One system's row: one value per data set. */
export interface SystemRow {
  readonly system: string;
  readonly values: readonly {
    /** Absent if the system was not run on this set. */
    readonly value?: number | undefined;
    /** Comparison with the baseline on this set; absent for the baseline itself. */
    readonly comparison?: Pick<Comparison, 'difference' | 'significant'> | undefined;
    /** The system was trained on texts of this set. */
    readonly seen?: boolean | undefined;
  }[];
}

interface EffectivenessTable {
  readonly title: string;
  /** Labels of the columns: data sets, or data set and measure. */
  readonly columns: readonly string[];
  readonly rows: readonly SystemRow[];
  readonly digits?: number;
  readonly note?: string;
}

interface TextTable {
  readonly title: string;
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
  readonly note?: string | undefined;
}

/** What a column of numbers holds: signs, digits, decimal points, gaps and nothing at all. */
const NUMERIC = /^([+−<\d–.]|$)/;

/** Builds a table section from plain text. Every column but the first is numeric if all of its cells are. */
export function textTable({ title, head, rows, note }: TextTable): TableSection {
  return {
    kind: 'table',
    title,
    note,
    columns: head.map((label, i) => ({ label, numeric: i > 0 && rows.every((row) => NUMERIC.test(row[i] ?? '')) })),
    rows: rows.map((row) => row.map((text) => ({ text }))),
  };
}

type Entry = SystemRow['values'][number];

/** Marks a significant difference to the baseline. */
export const significanceMarks = ({
  significant,
  difference,
}: Pick<Comparison, 'difference' | 'significant'>): Mark[] =>
  significant ? [difference > 0 ? 'better' : 'worse'] : [];

function marksOf(entry: Entry, best: number): Mark[] {
  const marks: Mark[] = [];
  if (entry.value === best) marks.push('best');
  if (entry.comparison) marks.push(...significanceMarks(entry.comparison));
  if (entry.seen === true) marks.push('seen');
  return marks;
}

/**
 * Builds a table of systems (rows) by data sets (columns). It marks the best value of each column, significant differences to the baseline,
 * and sets a model has seen in training. A seen value is never the best.
 */
export function effectivenessTable({ title, columns, rows, digits = 3, note }: EffectivenessTable): TableSection {
  const best = columns.map((_, i) =>
    Math.max(
      ...(rows
        .map((row) => (row.values[i]?.seen === true ? Number.NaN : row.values[i]?.value))
        .filter((v) => v !== undefined && !Number.isNaN(v)) as number[]),
    ),
  );
  const cell = (entry: Entry | undefined, i: number): Cell =>
    entry?.value === undefined
      ? { text: '–' }
      : { text: share(entry.value, digits), marks: marksOf(entry, entry.seen === true ? Number.NaN : best[i]!) };
  return {
    kind: 'table',
    title,
    note,
    columns: [{ label: 'system' }, ...columns.map((label) => ({ label, numeric: true }))],
    rows: rows.map((row) => [{ text: row.system }, ...columns.map((_, i) => cell(row.values[i], i))]),
  };
}

/** Values of one query under the baseline and under a system. */
export interface QueryChange {
  readonly qid: string;
  readonly before: number;
  readonly after: number;
}

/** Returns the queries that differ, largest gain first, and of these the `shown` at each end. */
export function largestChanges<Q extends QueryChange>(
  queries: readonly Q[],
  shown: number,
): { changed: Q[]; ends: Q[] } {
  const changed = queries
    .filter(({ before, after }) => before !== after)
    .sort((a, b) => b.after - b.before - (a.after - a.before));
  return {
    changed,
    ends: changed.length <= 2 * shown ? changed : [...changed.slice(0, shown), ...changed.slice(-shown)],
  };
}

interface DifferencesInput {
  readonly title: string;
  readonly measure: string;
  readonly baseline: string;
  readonly system: string;
  readonly queries: readonly (QueryChange & { readonly text: string })[];
  /** Queries shown in full at each end. */
  readonly shown?: number;
  /** Returns the passages to show for a query, those that explain its difference first. */
  readonly passages: (qid: string) => Promise<readonly MovedPassage[]>;
}

/** Builds a section of the queries that gain and lose most, with the passages that moved, under an overview of all queries. */
export async function differencesSection(input: DifferencesInput): Promise<DifferencesSection> {
  const { queries, shown = 5 } = input;
  const { ends } = largestChanges(queries, shown);
  const full: DifferencesSection['queries'][number][] = [];
  for (const query of ends) full.push({ ...query, passages: await input.passages(query.qid) });
  return {
    kind: 'differences',
    title: input.title,
    measure: input.measure,
    baseline: input.baseline,
    system: input.system,
    all: queries.map(({ before, after }) => after - before),
    queries: full,
  };
}

/**
 * Returns the passages whose discounted gain differs most between two rankings, weighted by their grade.
 *
 * @param limit passages to return.
 */
export function movedPassages(
  before: readonly string[],
  after: readonly string[],
  grades: ReadonlyMap<string, number>,
  limit = 4,
): Omit<MovedPassage, 'text'>[] {
  const rankBefore = new Map(before.map((docid, i) => [docid, i + 1]));
  const rankAfter = new Map(after.map((docid, i) => [docid, i + 1]));
  const gain = (rank: number | undefined): number => (rank === undefined ? 0 : 1 / Math.log2(rank + 1));
  const weight = (docid: string): number =>
    Math.abs(gain(rankAfter.get(docid)) - gain(rankBefore.get(docid))) * (1 + Math.max(0, grades.get(docid) ?? 0));
  return [...new Set([...before, ...after])]
    .filter((docid) => rankBefore.get(docid) !== rankAfter.get(docid))
    .sort((a, b) => weight(b) - weight(a))
    .slice(0, limit)
    .map((docid) => ({
      docid,
      grade: grades.get(docid),
      before: rankBefore.get(docid),
      after: rankAfter.get(docid),
    }));
}
