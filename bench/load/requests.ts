import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createRandom } from '../../src/util/random.ts';
import { SHIPPED } from './shipped.ts';

/** A query with its candidate list. */
export interface Topic {
  readonly query: string;
  readonly passages: readonly string[];
}

/** One request of a load. */
export interface LoadRequest {
  readonly query: string;
  readonly passages: readonly string[];
  /** The server's default if absent. */
  readonly model?: string;
  /** Stages in place of one model. */
  readonly cascade?: readonly { readonly model: string; readonly keep?: number }[];
}

/** Candidate lists of TREC Deep Learning 2019 with their texts. */
const TREC_DL = join(import.meta.dirname, '../../../shared/data/trec-dl/BM25.dl19.top100.json');

const SUBJECTS = 'river copper harvest tariff glacier printer orchard senate enzyme harbour violin turbine'.split(' ');
const VERBS = 'carries lowers follows repairs divides measures replaces delays supports describes'.split(' ');
const REST =
  'in the north, after a long winter, by a third, with little noise, for the first time, since the flood'.split(', ');

/** Flags of benchmarks that encode real pairs. */
export const PAIR_FLAGS = {
  model: { type: 'string', default: SHIPPED, help: 'Model folder.' },
  data: { type: 'string', default: TREC_DL, help: 'Candidate lists with texts (rank_llm JSON).' },
} as const;

/** Generates passages with the length distribution of MS MARCO (about 20 to 260 tokens), for machines without the collection. */
function syntheticTopics(seed: number, topics = 40, passages = 100): Topic[] {
  const random = createRandom(seed);
  const pick = (words: readonly string[]) => words[random.below(words.length)]!;
  const sentence = () => `The ${pick(SUBJECTS)} ${pick(VERBS)} the ${pick(SUBJECTS)} ${pick(REST)}.`;
  // Log-normal, median 70 words.
  const words = () => Math.min(190, Math.max(12, Math.round(70 * Math.exp(0.45 * random.normal()))));
  const passage = () => Array.from({ length: Math.max(1, Math.round(words() / 11)) }, sentence).join(' ');
  return Array.from({ length: topics }, () => ({
    query: `how does the ${pick(SUBJECTS)} change the ${pick(SUBJECTS)}`,
    passages: Array.from({ length: passages }, passage),
  }));
}

/** Loads TREC Deep Learning 2019 queries with their BM25 passages if the collection exists, else generated ones. */
export function loadTopics(file = TREC_DL): { readonly source: string; readonly topics: readonly Topic[] } {
  if (!existsSync(file)) return { source: 'synthetic passages', topics: syntheticTopics(7) };
  const lists: { query: string; hits: { content: string }[] }[] = JSON.parse(readFileSync(file, 'utf8'));
  const topics = lists.map(({ query, hits }) => ({ query, passages: hits.map(({ content }) => content) }));
  return { source: 'TREC-DL 2019, BM25 top 100', topics };
}

/**
 * Yields an endless stream of requests of `passages` passages: every topic's list is cut in rank order, and the pieces come in a seeded
 * random order, reshuffled after each full pass.
 */
export function* requestStream(
  topics: readonly Topic[],
  passages: number,
  seed: number,
): Generator<LoadRequest, never> {
  const random = createRandom(seed);
  const pieces = topics.flatMap(({ query, passages: list }) =>
    Array.from({ length: Math.max(1, Math.floor(list.length / passages)) }, (_, i) => ({
      query,
      passages: list.slice(i * passages, (i + 1) * passages),
    })),
  );
  for (;;) yield* random.shuffle([...pieces]);
}

/** Builds a request of any number of passages from the lists of all topics. */
export function wideRequest(topics: readonly Topic[], passages: number): LoadRequest {
  const all = topics.flatMap((topic) => topic.passages);
  return { query: topics[0]!.query, passages: Array.from({ length: passages }, (_, i) => all[i % all.length]!) };
}
