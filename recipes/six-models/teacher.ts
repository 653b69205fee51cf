import { dot } from '../../src/training/teachers/bi-encoder.ts';
import type { List } from './lists.ts';

/** A line of training data: FlagEmbedding's form, with a teacher's score a passage. */
export interface Row {
  readonly query: string;
  readonly pos: readonly string[];
  readonly neg: readonly string[];
  readonly pos_scores: readonly number[];
  readonly neg_scores: readonly number[];
}

/** Cosines of related and other passages lie some .1 apart, logits 1. */
const COSINE = 10;
/** SPLADE++ quantizes its scores: 100,000 lie between passages that judges tell apart. */
const SPARSE_UNIT = 1e5;
const SPARSE = 1;
/** What a grade of a judge is worth, from 0 to 3. */
const GRADE = 1;
/** What a label is worth where there are no grades: the passage that answers, among others about the same. */
const LABEL = 2;
/** From this grade on a passage is relevant (TREC Deep Learning). */
const RELEVANT = 2;
/** Passages the teacher ranks first count as relevant where nobody judged. */
const BEST = { 'trec-dl': 3, asked: 1, xquad: 1, wikiqa: 1 } as const;

/** A passage the sparse stage did not return stands below its last one. */
function sparseParts({ sparse }: List): number[] {
  const known = sparse.flatMap((score) => score ?? []);
  if (known.length === 0) return sparse.map(() => 0);
  const last = Math.min(...known);
  const spread = Math.max(...known) - last;
  return sparse.map((score) => (SPARSE * ((score ?? last - spread * 0.15) - last)) / SPARSE_UNIT);
}

const judgedPart = ({ set, grades }: List, i: number): number => (set === 'trec-dl' ? GRADE : LABEL) * (grades[i] ?? 0);

/** Scores of a list: cosine of a sentence encoder, what a learned sparse model thinks, what people judged; in logits. */
export function teach(list: List, vectors: ReadonlyMap<string, Float32Array>): number[] {
  const query = vectors.get(list.query)!;
  const sparse = sparseParts(list);
  return list.passages.map((text, i) => COSINE * dot(query, vectors.get(text)!) + sparse[i]! + judgedPart(list, i));
}

/** Places of the relevant passages: by the judges, else the teacher's best. */
function relevant({ set, grades }: List, scores: readonly number[]): Set<number> {
  const least = set === 'trec-dl' ? RELEVANT : 1;
  const judged = grades.flatMap((grade, i) => (grade !== undefined && grade >= least ? [i] : []));
  if (judged.length > 0) return new Set(judged);
  return new Set([...scores.keys()].sort((a, b) => scores[b]! - scores[a]!).slice(0, BEST[set]));
}

const rounded = (x: number): number => Number(x.toFixed(4));

/** The training line of a list; none where every passage is relevant. */
export function rowOf(list: List, vectors: ReadonlyMap<string, Float32Array>): Row | undefined {
  const scores = teach(list, vectors);
  const positive = relevant(list, scores);
  const part = (wanted: boolean) => [...list.passages.keys()].filter((i) => positive.has(i) === wanted);
  const [pos, neg] = [part(true), part(false)];
  // Texts that occur twice would be both.
  const texts = new Set(pos.map((i) => list.passages[i]!));
  const others = neg.filter((i) => !texts.has(list.passages[i]!));
  if (others.length === 0) return undefined;
  return {
    query: list.query,
    pos: pos.map((i) => list.passages[i]!),
    neg: others.map((i) => list.passages[i]!),
    pos_scores: pos.map((i) => rounded(scores[i]!)),
    neg_scores: others.map((i) => rounded(scores[i]!)),
  };
}
