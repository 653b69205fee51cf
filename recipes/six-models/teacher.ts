import { dot } from '../../src/util/vectors.ts';
import type { List } from './lists.ts';

/** A line of training data in the format of FlagEmbedding, with one teacher score per passage. */
export interface Row {
  readonly query: string;
  readonly pos: readonly string[];
  readonly neg: readonly string[];
  readonly pos_scores: readonly number[];
  readonly neg_scores: readonly number[];
}

/** Factor on the cosine: cosines of related and other passages are some 0.1 apart, logits 1. */
const COSINE = 10;
/** Difference of SPLADE++ scores between passages of different grades; they are integers. */
const SPARSE_UNIT = 1e5;
const SPARSE = 1;
/** Logits per grade (0 to 3). */
const GRADE = 1;
/** Logits of a label in sets without grades: the passage that answers, among others on the same topic. */
const LABEL = 2;
/** From this grade on a passage is relevant (TREC Deep Learning). */
const RELEVANT = 2;
/** Number of the teacher's best passages that count as relevant in lists without judgements. */
const BEST = { 'trec-dl': 3, asked: 1, xquad: 1, wikiqa: 1 } as const;

/** Returns the part of the sparse first stage; passages it did not return get less than its last one. */
function sparseParts({ sparse }: List): number[] {
  const known = sparse.flatMap((score) => score ?? []);
  if (known.length === 0) return sparse.map(() => 0);
  const last = Math.min(...known);
  const spread = Math.max(...known) - last;
  return sparse.map((score) => (SPARSE * ((score ?? last - spread * 0.15) - last)) / SPARSE_UNIT);
}

const judgedPart = ({ set, grades }: List, i: number): number => (set === 'trec-dl' ? GRADE : LABEL) * (grades[i] ?? 0);

/** Returns the scores of a list, in logits: cosine of a sentence encoder plus learned sparse score plus judgement. */
export function teach(list: List, vectors: ReadonlyMap<string, Float32Array>): number[] {
  const query = vectors.get(list.query)!;
  const sparse = sparseParts(list);
  return list.passages.map((text, i) => COSINE * dot(query, vectors.get(text)!) + sparse[i]! + judgedPart(list, i));
}

/** Returns the places of the relevant passages: by judgements, else the teacher's best. */
function relevant({ set, grades }: List, scores: readonly number[]): Set<number> {
  const least = set === 'trec-dl' ? RELEVANT : 1;
  const judged = grades.flatMap((grade, i) => (grade !== undefined && grade >= least ? [i] : []));
  if (judged.length > 0) return new Set(judged);
  return new Set([...scores.keys()].sort((a, b) => scores[b]! - scores[a]!).slice(0, BEST[set]));
}

const rounded = (x: number): number => Number(x.toFixed(4));

/** Returns the training line of a list; undefined where every passage is relevant. */
export function rowOf(list: List, vectors: ReadonlyMap<string, Float32Array>): Row | undefined {
  const scores = teach(list, vectors);
  const positive = relevant(list, scores);
  const part = (wanted: boolean) => [...list.passages.keys()].filter((i) => positive.has(i) === wanted);
  const [pos, neg] = [part(true), part(false)];
  // A text that occurs twice could be positive and negative.
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
