import { createRandom, deriveSeed, type Random } from '../../util/random.ts';
import { textId } from './ids.ts';
import { type CandidateList, hasOnlyLabels } from './list-types.ts';
import type { PairSet } from './pair-set.ts';
import { comparable } from './survey/text-hash.ts';

/*
 * In-batch negatives of a cross-encoder: passages of the other lists of a step are appended to a list and scored with its query. The loss of a
 * list reads the scores of that list alone, so that the gradient of a step is a sum over lists, in whatever micro-batches they are computed.
 */

/** How lists are lengthened by passages of the other lists of their step. */
export interface InBatch {
  /** Most passages that a list is given. */
  readonly count: number;
  /** Micro-batches of a step. */
  readonly accumulate: number;
  /** Pairs that are no negatives. */
  readonly known: PairSet;
}

interface Offered {
  readonly text: string;
  /** The text as it is compared. */
  readonly key: string;
  readonly docid: string | undefined;
  readonly relevant: boolean;
  /** Query of the list that it stands in, as it is compared. */
  readonly query: string;
}

function offersOf({ query, passages, relevance, docids }: CandidateList): Offered[] {
  const own = comparable(query);
  return passages.map((text, p) => ({
    text,
    key: comparable(text),
    docid: docids?.[p],
    relevant: relevance[p]! > 0,
    query: own,
  }));
}

function choose(
  list: CandidateList,
  offered: readonly Offered[],
  { count, known }: Pick<InBatch, 'count' | 'known'>,
  random: Random,
): Offered[] {
  const own = comparable(list.query);
  const others = offered.filter(({ query }) => query !== own);
  const inOrder = [
    ...random.shuffle(others.filter(({ relevant }) => relevant)),
    ...random.shuffle(others.filter(({ relevant }) => !relevant)),
  ];
  const texts = new Set(list.passages.map(comparable));
  const ids = new Set<string | undefined>(list.docids);
  const chosen: Offered[] = [];
  for (const passage of inOrder) {
    if (chosen.length === count) break;
    const { text, key, docid } = passage;
    if (texts.has(key) || (docid !== undefined && ids.has(docid)) || known.has(list.query, text, docid)) continue;
    chosen.push(passage);
    texts.add(key);
    ids.add(docid);
  }
  return chosen;
}

const meanOf = (values: readonly number[]): number => values.reduce((sum, x) => sum + x, 0) / values.length;

function append(list: CandidateList, chosen: readonly Offered[]): CandidateList {
  if (chosen.length === 0) return list;
  const { teacher, weights, ...others } = list;
  const zeros = chosen.map(() => 0);
  return {
    ...others,
    ...(list.docids && { docids: [...list.docids, ...chosen.map(({ docid, text }) => docid ?? textId(text))] }),
    passages: [...list.passages, ...chosen.map(({ text }) => text)],
    relevance: [...list.relevance, ...zeros],
    // A teacher's scores, which the objective does not read, end here: it has none for the new passages.
    ...(teacher && hasOnlyLabels(list) && { teacher: [...teacher, ...zeros] }),
    // The new passages weigh what the list's own do on average.
    ...(weights && { weights: [...weights, ...chosen.map(() => meanOf(weights))] }),
  };
}

/**
 * Appends to every list of a step up to `count` passages of the others with label 0: their relevant passages first, then the rest, each in an
 * order that seed and step decide. Left out are lists of the same query, texts and ids that the list has, and pairs that are known not to be
 * negatives.
 * @param step from 0.
 */
export function withInBatch(
  lists: readonly CandidateList[],
  options: Pick<InBatch, 'count' | 'known'>,
  seed: number,
  step: number,
): CandidateList[] {
  const offered = lists.flatMap(offersOf);
  return lists.map((list, place) =>
    append(list, choose(list, offered, options, createRandom(deriveSeed(seed, 'in batch', step, place)))),
  );
}
