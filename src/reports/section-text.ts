import { fixed, pStatement, share } from './format.ts';
import type { Cell, DifferencesSection, Mark, MovedPassage, RanksSection, TableSection } from './report-model.ts';

const MARKS: Readonly<Record<Mark, { readonly symbol: string; readonly meaning: string }>> = {
  best: { symbol: '', meaning: 'best of its column' },
  rowBest: { symbol: '', meaning: 'best of its row' },
  better: { symbol: '▲', meaning: 'significantly better than the baseline' },
  worse: { symbol: '▼', meaning: 'significantly worse than the baseline' },
  seen: { symbol: '‡', meaning: 'the model was trained on texts of this set' },
};

/** Returns the symbols of a cell's marks. */
export const symbolsOf = (cell: Cell): string => (cell.marks ?? []).map((mark) => MARKS[mark].symbol).join('');

/** Whether a cell is set in bold. */
export const isBold = ({ marks = [] }: Cell): boolean => marks.includes('best') || marks.includes('rowBest');

/** Explains the marks that occur in a table. */
function legendOf(table: TableSection): string {
  const used = new Set(table.rows.flat().flatMap((cell) => cell.marks ?? []));
  const entries = (Object.keys(MARKS) as Mark[]).filter((mark) => used.has(mark));
  return entries.map((mark) => `${MARKS[mark].symbol || 'Bold:'} ${MARKS[mark].meaning}.`).join(' ');
}

/** Returns note and legend of a table as one line. */
export const captionOf = (table: TableSection): string =>
  [table.note, legendOf(table)].filter((text) => text).join(' ');

/** States the result of Friedman's test and the critical difference. */
export const ranksFacts = ({ statistic, df, p, blocks, alpha, criticalDifference }: RanksSection): string =>
  `Friedman χ² = ${fixed(statistic, 1)}, df = ${df}, ${pStatement(p)}; ${blocks} blocks; critical difference at α = ${share(alpha, 2)}: ${fixed(criticalDifference, 3)}.`;

/** States on how many queries a system is better and worse than the baseline. */
export function differencesFacts({ all, measure, system, baseline }: DifferencesSection): string {
  const better = all.filter((difference) => difference > 0).length;
  const worse = all.filter((difference) => difference < 0).length;
  return `${measure} of ${system} against ${baseline}: better on ${better}, worse on ${worse} of ${all.length} queries.`;
}

/** Formats the ranks of a passage that moved: `14 → 1`; `–` if a list lacks it. */
export const moveOf = ({ before, after }: MovedPassage): string => `${before ?? '–'} → ${after ?? '–'}`;

/** Formats the grade of a passage. */
export const gradeOf = ({ grade }: MovedPassage): string => (grade === undefined ? 'unjudged' : `grade ${grade}`);
