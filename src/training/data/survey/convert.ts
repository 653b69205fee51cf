import { writeLines } from '../../../evaluation/formats/write-lines.ts';
import type { DataSource } from '../data-schema.ts';
import { type CandidateList, hasOneWeight, hasOnlyLabels, skipCount } from '../list-types.ts';
import { openRaw } from '../sources.ts';

const NOTHING_TO_LEARN = 'list without labels, a relevant passage or scores';

const at = <T>(items: readonly T[] | undefined, places: readonly number[]): T[] => places.map((p) => items![p]!);

/** Returns a list as a row of JSON lines that reads as the same list; undefined where it states nothing about its passages. */
export function rowOf(list: CandidateList): Readonly<Record<string, unknown>> | undefined {
  const { query, passages: docs, relevance, teacher, labeled } = list;
  const weight = (places: readonly number[]) =>
    list.weights && { weight: hasOneWeight(list) ? list.weights[0] : at(list.weights, places) };
  const graded = relevance.some((grade) => grade > 0);
  const taught = teacher && !hasOnlyLabels(list);
  const places = [...docs.keys()];
  if (labeled || relevance.some((grade) => grade !== 0 && grade !== 1))
    return { query, docs, labels: relevance, ...(taught && { scores: teacher }), ...weight(places) };
  if (!graded) return teacher && { query, docs, scores: teacher, ...weight(places) };
  const positives = places.filter((p) => relevance[p]! > 0);
  const negatives = places.filter((p) => relevance[p] === 0);
  return {
    query,
    pos: at(docs, positives),
    neg: at(docs, negatives),
    ...(teacher && { pos_scores: at(teacher, positives), neg_scores: at(teacher, negatives) }),
    ...weight([...positives, ...negatives]),
  };
}

/** What a conversion wrote and left out. */
export interface Converted {
  readonly lists: number;
  readonly leftOut: Readonly<Record<string, number>>;
}

/** Writes the lists of a source as JSON lines with texts, the whole file or none of it. @throws WinnowError as the source's reader does. */
export async function convertData(source: DataSource, folder: string, out: string): Promise<Converted> {
  const raw = await openRaw(source, folder);
  const counts = skipCount();
  let lists = 0;
  async function* lines(): AsyncGenerator<string> {
    for await (const list of raw.lists(counts)) {
      const row = rowOf(list);
      if (row === undefined) counts.skip(NOTHING_TO_LEARN);
      else {
        lists++;
        yield JSON.stringify(row);
      }
    }
  }
  try {
    await writeLines(out, lines());
  } finally {
    await raw.close();
  }
  return { lists, leftOut: counts.skipped() };
}
