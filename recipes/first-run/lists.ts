import { join } from 'node:path';
import { Bm25Index } from '../../src/evaluation/first-stage/index/bm25-index.ts';
import { buildIndex } from '../../src/evaluation/first-stage/index/build-index.ts';
import { memoryPassages } from '../../src/evaluation/formats/passages.ts';
import { type BiEncoder, openBiEncoder } from '../../src/training/teachers/bi-encoder.ts';
import { createRandom, type Random } from '../../src/util/random.ts';
import { dot } from '../../src/util/vectors.ts';

/* Lists to teach the small backbone with: parts of the passages as queries, scored by a sentence encoder and BM25. */

/** Queries from each passage. */
const PER_PASSAGE = 16;
/** Candidates of a query: best by BM25, and drawn from all. */
const BEST = 14;
const DRAWN = 5;
/** Cosines of related and other passages lie about .1 apart, logits 1. */
const COSINE = 10;
const BM25 = 0.3;
const MAX_LENGTH = 128;
/** Words of a sentence that may become a query. */
const LEAST_WORDS = 4;
const STOP_WORDS = new Set(
  'a an and are as at be but by for if in into is it no not of on or such that the their then there these they this to was will with'.split(
    ' ',
  ),
);

/** A query from a passage. */
interface Query {
  readonly text: string;
  /** What stands for the passage among the candidates: the passage, or what is left of it without the query's sentence. */
  readonly own: string;
}

const wordsOf = (text: string): string[] => text.toLowerCase().match(/[a-z0-9'-]+/g) ?? [];

/** Sentences and clauses long enough to be a query. */
const sentencesOf = (passage: string): string[] =>
  (passage.match(/[^.!?;:]+[.!?;:]?/g) ?? []).filter((sentence) => wordsOf(sentence).length >= LEAST_WORDS);

/** Returns `count` neighboring items from a drawn place. */
function neighbors<T>(items: readonly T[], count: number, random: Random): T[] {
  const from = random.below(Math.max(1, items.length - count + 1));
  return items.slice(from, from + count);
}

/**
 * Draws a query from a passage: a sentence, which is cut out of the passage; two to four words that carry meaning; or four to eight words as
 * they stand, cut out or not.
 */
function drawQuery(place: number, passage: string, random: Random): Query {
  const sentences = sentencesOf(passage);
  const sentence = random.below(sentences.length);
  const words = wordsOf(sentences[sentence]!);
  const [whole, cut] = [`${place}`, restId(place, sentence)];
  const kind = random.below(3);
  if (kind === 0) return { text: sentences[sentence]!.trim(), own: cut };
  if (kind === 1) {
    const content = words.filter((word) => !STOP_WORDS.has(word));
    return { text: neighbors(content, 2 + random.below(3), random).join(' '), own: whole };
  }
  return { text: neighbors(words, 4 + random.below(5), random).join(' '), own: random.below(2) === 0 ? cut : whole };
}

const restId = (place: number, sentence: number): string => `${place}-${sentence}`;

/** Returns texts by id: all passages, and each passage without each of its sentences. */
function textsOf(passages: readonly string[]): Map<string, string> {
  const rests = passages.flatMap((passage, place) =>
    sentencesOf(passage).map((sentence, i) => [restId(place, i), passage.replace(sentence, ' ').trim()] as const),
  );
  return new Map([...passages.map((text, place) => [`${place}`, text] as const), ...rests]);
}

/** A line of training data with the teacher's scores. */
interface Row {
  readonly query: string;
  readonly pos: readonly string[];
  readonly neg: readonly string[];
  readonly pos_scores: readonly number[];
  readonly neg_scores: readonly number[];
}

/** Returns the line of a query, its best passage as the positive. */
function rowOf(query: string, scored: readonly { readonly text: string; readonly score: number }[]): Row {
  const [best, ...others] = scored.toSorted((a, b) => b.score - a.score);
  return {
    query,
    pos: [best!.text],
    neg: others.map(({ text }) => text),
    pos_scores: [best!.score],
    neg_scores: others.map(({ score }) => score),
  };
}

async function embedAll(encoder: BiEncoder, texts: ReadonlyMap<string, string>): Promise<Map<string, Float32Array>> {
  const vectors = await encoder.embed([...texts.values()]);
  return new Map([...texts.keys()].map((id, i) => [id, vectors[i]!]));
}

/**
 * Makes lists from the passages alone.
 * @param encoderFolder sentence encoder. @param work folder for an index.
 */
export async function makeLists(passages: readonly string[], encoderFolder: string, work: string): Promise<Row[]> {
  const random = createRandom(7);
  const texts = textsOf(passages);
  await buildIndex(join(work, 'index'), memoryPassages(texts, 'passages').entries());
  const index = new Bm25Index(join(work, 'index'));
  const encoder = await openBiEncoder(encoderFolder, { maxLength: MAX_LENGTH });
  const vectors = await embedAll(encoder, texts);
  const rows: Row[] = [];
  for (const [place, passage] of passages.entries()) {
    const queries = Array.from({ length: PER_PASSAGE }, () => drawQuery(place, passage, random));
    const embedded = await encoder.embed(queries.map(({ text }) => text));
    for (const [i, { text, own }] of queries.entries()) {
      const { docids, scores } = index.search(text, texts.size);
      const lexical = new Map(docids.map((id, rank) => [id, scores[rank]!]));
      const others = docids.filter((id) => !id.includes('-') && id !== `${place}`).slice(0, BEST);
      const drawn = Array.from({ length: DRAWN }, () => `${random.below(passages.length)}`);
      const candidates = [...new Set([own, ...others, ...drawn.filter((id) => id !== `${place}`)])];
      const score = (id: string): number =>
        COSINE * dot(embedded[i]!, vectors.get(id)!) + BM25 * (lexical.get(id) ?? 0);
      rows.push(
        rowOf(
          text,
          candidates.map((id) => ({ text: texts.get(id)!, score: score(id) })),
        ),
      );
    }
  }
  index.close();
  await encoder.close();
  return random.shuffle(rows);
}
