import { join } from 'node:path';
import { writeLines } from '../../evaluation/formats/write-lines.ts';
import { pairsWithin } from '../../registry/pair-limits.ts';
import type { EncodedRow } from '../../tokenization/tokenization-types.ts';
import { createRandom, deriveSeed, type Random } from '../../util/random.ts';
import { type CandidateList, pick } from '../data/list-types.ts';
import { openSources } from '../data/sources.ts';
import type { LoadedRecipe } from '../recipe/recipe.ts';
import type { TrainingOutcome } from '../run/trainer.ts';
import { withOutcome } from './outcome-scorer.ts';

/*
 * A negative that the trained model puts above the positive, although it was trained to do the opposite, is a relevant passage as often as not:
 * most queries have one judged passage among several relevant ones (RocketQA, arXiv 2010.08191).
 */

/** Lists that are read for the sample. */
const READ = 200_000;
/** Fewest pairs of a list that are scored: a positive and seven negatives. */
const LEAST = 8;
/** Passages of a list that are held until it is known how many can be scored. */
const HELD = 64;

/** A training negative above the positive of its list. */
interface FalseNegative {
  readonly qid: string;
  readonly docid?: string;
  readonly query: string;
  readonly passage: string;
  readonly positive: string;
  readonly score: number;
  readonly positiveScore: number;
}

/** What was found, and in how much of the data. */
export interface FalseNegativeReport {
  readonly found: number;
  readonly negatives: number;
  readonly lists: number;
  /** Lists with a relevant and another passage. */
  readonly ofLists: number;
  /** Whether more lists than were read may follow. */
  readonly partial: boolean;
  /** Absent where none was found. */
  readonly file?: string;
}

const placesOf = ({ relevance }: CandidateList, relevant: boolean): number[] =>
  [...relevance.keys()].filter((p) => relevance[p]! > 0 === relevant);

/** Returns at most `size` passages of a list, positives first: half of them at most are positives. */
function part(list: CandidateList, size: number, random: Random): CandidateList {
  const positives = random.shuffle(placesOf(list, true)).slice(0, Math.max(1, Math.floor(size / 2)));
  const negatives = random.shuffle(placesOf(list, false)).slice(0, size - positives.length);
  return pick(list, [...positives, ...negatives]);
}

interface Sample {
  readonly lists: readonly CandidateList[];
  readonly ofLists: number;
  readonly partial: boolean;
}

/** Draws lists with both kinds of passages evenly from the training data, so that their passages are at most `pairs`. */
async function drawLists(
  { recipe, folder }: LoadedRecipe,
  pairs: number,
  signal: AbortSignal | undefined,
): Promise<Sample> {
  const random = createRandom(deriveSeed(recipe.seed, 'false negatives'));
  const most = Math.max(1, Math.floor(pairs / LEAST));
  const held: CandidateList[] = [];
  let seen = 0;
  let read = 0;
  const source = await openSources(recipe.data, folder);
  try {
    for await (const list of source.whole()) {
      if (++read > READ || signal?.aborted) break;
      if (placesOf(list, true).length === 0 || placesOf(list, false).length === 0) continue;
      seen++;
      const place = held.length < most ? held.length : random.below(seen);
      if (place < most) held[place] = part(list, HELD, random);
    }
  } finally {
    await source.close?.();
  }
  const size = Math.max(2, Math.floor(pairs / Math.max(1, held.length)));
  return { lists: held.map((list) => part(list, size, random)), ofLists: seen, partial: read > READ };
}

/** Returns the negatives of a list with a score above that of its best positive. */
function aboveIn(list: CandidateList, scores: ArrayLike<number>): FalseNegative[] {
  const positives = placesOf(list, true);
  const best = positives.reduce((a, b) => (scores[b]! > scores[a]! ? b : a));
  return placesOf(list, false)
    .filter((p) => scores[p]! > scores[best]!)
    .map((p) => ({
      qid: list.qid,
      ...(list.docids && { docid: list.docids[p]! }),
      query: list.query,
      passage: list.passages[p]!,
      positive: list.passages[best]!,
      score: scores[p]!,
      positiveScore: scores[best]!,
    }));
}

/** Lists that are scored between two looks at the signal. */
const AT_ONCE = 64;

/** Scores the lists with the weights that are published, until the signal aborts. */
async function findAbove(
  loaded: LoadedRecipe,
  outcome: TrainingOutcome,
  lists: readonly CandidateList[],
  signal: AbortSignal | undefined,
): Promise<FalseNegative[]> {
  return withOutcome(loaded, outcome, async (tokenizer, scorer) => {
    const found: FalseNegative[] = [];
    for (let from = 0; from < lists.length && !signal?.aborted; from += AT_ONCE) {
      const some = lists.slice(from, from + AT_ONCE);
      const rows: EncodedRow[] = [];
      for (const { query, passages } of some)
        rows.push(...(await tokenizer.encode(query, passages, pairsWithin(loaded.recipe))).rows);
      const scores = await scorer.score(rows);
      let place = 0;
      for (const list of some) {
        found.push(...aboveIn(list, scores.subarray(place, place + list.passages.length)));
        place += list.passages.length;
      }
    }
    return found;
  });
}

/** Returns each pair once, the most confident first. */
function ordered(found: readonly FalseNegative[]): FalseNegative[] {
  const once = new Map(found.map((each) => [`${each.query}\0${each.passage}`, each]));
  return [...once.values()].sort((a, b) => b.score - b.positiveScore - (a.score - a.positiveScore));
}

/**
 * Looks for training negatives that the trained model puts above the positive of their list, in at most `falseNegatives` pairs of the recipe,
 * and writes them as JSON lines, the most confident first. `drop` of a source reads the file.
 * @param signal ends the search without a result.
 * @returns undefined where the recipe looks at none.
 */
export async function reportFalseNegatives(
  loaded: LoadedRecipe,
  outcome: TrainingOutcome,
  signal?: AbortSignal,
): Promise<FalseNegativeReport | undefined> {
  const pairs = loaded.recipe.falseNegatives;
  if (pairs === 0) return undefined;
  const { lists, ofLists, partial } = await drawLists(loaded, pairs, signal);
  if (lists.length === 0) return undefined;
  const found = ordered(await findAbove(loaded, outcome, lists, signal));
  if (signal?.aborted) return undefined;
  const file = join(outcome.runFolder, 'false-negatives.jsonl');
  await writeLines(
    file,
    found.map((each) => JSON.stringify(each)),
  );
  const negatives = lists.reduce((sum, list) => sum + placesOf(list, false).length, 0);
  return { found: found.length, negatives, lists: lists.length, ofLists, partial, ...(found.length > 0 && { file }) };
}
