import type { DataSource } from '../data-schema.ts';
import type { DataSurvey } from './survey.ts';

/** What a recipe could say about a source. */
export interface Suggestion {
  readonly source: Partial<DataSource>;
  readonly objective: string;
  /** Share of the passages of the file that are trained on then. */
  readonly share: number;
  readonly notes: readonly string[];
}

const sum = (counts: Readonly<Record<string, number>>): number => Object.values(counts).reduce((a, b) => a + b, 0);

/** Returns the share of the passages that an objective trains on. Rows and passages that the reader leaves out count as one passage each. */
export function usedShare(survey: DataSurvey, passages: number): number {
  const all = survey.passages + sum(survey.rowsLeftOut) + sum(survey.passagesLeftOut);
  return all === 0 ? 0 : passages / all;
}

/** Objectives in the order in which they are proposed where they can use equally much. */
const preferred = ({ labeledLists, lists, relevant }: DataSurvey): readonly string[] => {
  if (relevant === 0) return ['KLDivergence', 'InfoNCE'];
  return labeledLists > lists / 2 ? ['BCE', 'InfoNCE', 'KLDivergence'] : ['InfoNCE', 'BCE', 'KLDivergence'];
};

/** Proposes the lines of a recipe for a source: its objective, and the reading of its labels where they do not lie between 0 and 1. */
export function suggest(source: Partial<DataSource>, survey: DataSurvey): Suggestion {
  const { labels, labeledLists, uses } = survey;
  const notes: string[] = [];
  if (labels && labels.max > 1 && labeledLists > 0 && source.minRelevance === undefined && !source.labelScale) {
    const middle = Math.ceil((labels.min + labels.max) / 2);
    notes.push(
      `labels are ${labels.min} to ${labels.max}: \`labelScale\` makes targets between 0 and 1 of them; \`minRelevance: ${middle}\` in its place makes those from ${middle} on relevant and the others not`,
    );
    const scaled = { ...source, labelScale: [labels.min, labels.max] as [number, number] };
    return { source: scaled, objective: 'BCE', share: usedShare(survey, survey.passages), notes };
  }
  const used = (name: string): number => uses.find(({ objectives }) => objectives.includes(name))?.passages ?? 0;
  const [objective, passages] = preferred(survey)
    .map((name) => [name, used(name)] as const)
    .reduce((best, each) => (each[1] > best[1] ? each : best));
  if (survey.taughtLists > 0 && survey.relevant > 0)
    notes.push('the lists have scores: MarginMSE, KLDivergence and other objectives can learn from them as a teacher');
  return { source, objective, share: usedShare(survey, passages), notes };
}
