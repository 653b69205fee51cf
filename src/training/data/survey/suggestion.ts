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
  if (relevant === 0) return labeledLists > lists / 2 ? ['BCE', 'MSE'] : ['KLDivergence', 'MSE'];
  return labeledLists > lists / 2 ? ['BCE', 'InfoNCE', 'KLDivergence'] : ['InfoNCE', 'BCE', 'KLDivergence'];
};

/** Says what is missing where most lists are of no use. */
function curesOf(survey: DataSurvey, passages: number): string[] {
  if (survey.lists === 0) return ['there is no list to train on'];
  if (usedShare(survey, passages) > 0.5) return [];
  const reasons = new Set(survey.uses.flatMap(({ leftOut }) => Object.keys(leftOut)));
  const cures = {
    'no other passage':
      'lists without a negative: `npx winnow mine` finds negatives, `candidates` of a set names a run that has them, `randomNegatives` draws some, `inBatch` of the sampler takes those of other lists',
    'no relevant passage':
      'lists without a relevant passage: `qrels` names judgements, `addRelevant` adds relevant passages that are no candidates, a teacher (`npx winnow score`) needs none',
  };
  return Object.entries(cures).flatMap(([reason, cure]) => (reasons.has(reason) ? [cure] : []));
}

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
  notes.push(...curesOf(survey, passages));
  if (survey.taughtLists > 0 && survey.relevant > 0)
    notes.push('the lists have scores: MarginMSE, KLDivergence and other objectives can learn from them as a teacher');
  return { source, objective, share: usedShare(survey, passages), notes };
}
