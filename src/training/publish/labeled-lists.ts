import { basename } from 'node:path';
import { describe, WinnowError } from '../../errors.ts';
import { readQrels } from '../../evaluation/formats/qrels.ts';
import { sha256File } from '../../util/files.ts';
import type { DataSource } from '../data/data-schema.ts';
import { type IdentifiedList, pick, type Skips } from '../data/list-types.ts';
import { openRaw } from '../data/sources.ts';
import type { CardFile } from './card.ts';
import type { LabeledList } from './fit-calibration.ts';

interface Reading {
  readonly data: readonly DataSource[];
  /** Passages of a list, from rank 1. */
  readonly depth: number;
  /** Leave out passages without a judgement, which else count as not relevant. */
  readonly judgedOnly: boolean;
}

/** Lists whose grades say what is relevant, and the files that they come from. */
interface GradedLists {
  readonly lists: readonly IdentifiedList[];
  readonly files: readonly CardFile[];
}

const UNJUDGED = 'passage without a judgement';
const UNJUDGED_QUERY = 'query without judgements';

async function readSource(source: DataSource, { depth, judgedOnly }: Reading, counts: Skips): Promise<GradedLists> {
  if (judgedOnly && source.qrels === undefined)
    throw new WinnowError('invalid_input', { where: '--judged-only', expected: '--qrels', got: 'none' });
  const qrels = source.qrels === undefined ? undefined : await readQrels(source.qrels);
  const raw = await openRaw(source, process.cwd());
  try {
    const lists: IdentifiedList[] = [];
    for await (const list of raw.lists(counts)) {
      const judged = qrels?.get(list.qid);
      // Of such a list nothing is known: not one of its passages is judged not relevant.
      if (qrels && !judged) {
        counts.skip(UNJUDGED_QUERY, `${source.path}, query ${list.qid}`);
        continue;
      }
      const ranked = [...list.passages.keys()].slice(0, depth);
      const places = judgedOnly ? ranked.filter((i) => judged?.has(list.docids[i]!)) : ranked;
      counts.drop(UNJUDGED, ranked.length - places.length, source.path);
      if (places.length > 0) lists.push(pick(list, places));
    }
    const paths = [...new Set(raw.files)];
    const files = await Promise.all(
      paths.map(async (path) => ({ file: basename(path), sha256: await sha256File(path) })),
    );
    return { lists, files };
  } finally {
    await raw.close();
  }
}

/** Reads the lists of all sources. @param counts receives what is left out. @throws WinnowError `invalid_input`. */
export async function readGraded(reading: Reading, counts: Skips): Promise<GradedLists> {
  const found: GradedLists[] = [];
  for (const source of reading.data) found.push(await readSource(source, reading, counts));
  return { lists: found.flatMap(({ lists }) => lists), files: found.flatMap(({ files }) => files) };
}

/** Returns 1 for relevant and 0. @throws WinnowError `invalid_input` for a grade between them, which says neither. */
function labelOf(grade: number, qid: string): number {
  if (grade <= 0) return 0;
  if (grade >= 1) return 1;
  throw new WinnowError('invalid_input', {
    where: `query ${qid}`,
    expected: 'labels of 0, or of 1 and more (`--min-relevance` says which are relevant)',
    got: describe(grade),
  });
}

/** Returns a list with labels and the scores that a model gave it. */
export const labeled = ({ qid, relevance }: IdentifiedList, scores: ArrayLike<number>): LabeledList => ({
  qid,
  scores: Array.from(scores),
  labels: relevance.map((grade) => labelOf(grade, qid)),
});
