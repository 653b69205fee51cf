import { badRow, type RowReading } from './raw-list.ts';

type Reading = Pick<RowReading, 'minRelevance' | 'labelScale'>;

/** Whether the recipe says how labels are read. */
export const hasReading = ({ minRelevance, labelScale }: Reading): boolean =>
  minRelevance !== undefined || labelScale !== undefined;

const BOTH =
  'labels that are targets from 0 to 1 or whole grades (a teacher’s logits belong in `scores`; `minRelevance` says which labels are relevant)';

function gradeOf(label: number, { minRelevance, labelScale }: Reading, where: string): number {
  if (minRelevance !== undefined) return label >= minRelevance ? Math.max(1, label) : 0;
  if (!labelScale) {
    if (label > 1 && !Number.isInteger(label)) throw badRow(where, BOTH, label);
    return label;
  }
  const [low, high] = labelScale;
  if (label < low || label > high) throw badRow(where, `labels of ${low} to ${high} (\`labelScale\`)`, label);
  return (label - low) / (high - low);
}

/** Returns the grades of labels. @throws WinnowError `invalid_input` for numbers that may be a teacher's. */
export function gradesOf(labels: readonly number[], reading: Reading, where: string): number[] {
  const negative = labels.find((label) => label < 0);
  if (negative !== undefined && !hasReading(reading))
    throw badRow(
      where,
      'labels of at least 0, which say what is relevant (a teacher’s logits belong in `scores`; `minRelevance` says which labels are relevant)',
      negative,
    );
  return labels.map((label) => gradeOf(label, reading, where));
}

/** Refuses settings on labels for a row that has none. */
export function refuseReading(reading: Reading, where: string, columns: readonly string[]): void {
  if (!hasReading(reading)) return;
  const name = reading.minRelevance === undefined ? 'labelScale' : 'minRelevance';
  throw badRow(where, `labels, which \`${name}\` is for`, `fields ${columns.join(', ')}`);
}
