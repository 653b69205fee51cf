import { join } from 'node:path';
import { analyze, termOf, tokenize } from '../../src/evaluation/first-stage/analyzer.ts';
import { isObject, readJsonFile } from '../../src/util/json-files.ts';
import { createRandom, deriveSeed } from '../../src/util/random.ts';
import { findDefinitions, findQuestions } from '../six-models/asked.ts';
import { type Pool, type PoolName, plain } from './pools.ts';

/** Sources whose queries are made of the passages of a pool, or asked of it. */
export const MADE = ['asked', 'questions', 'definitions', 'titles', 'sentences', 'keywords'] as const;
type MadeSource = (typeof MADE)[number];

/** Where queries come from. A table of the ablation has a row for each. */
export const SOURCES = ['judged', ...MADE, 'searched'] as const;
export type Source = (typeof SOURCES)[number];

/** A query over the passages of a pool. */
export interface PoolQuery {
  readonly qid: string;
  readonly source: Source;
  readonly pool: PoolName;
  readonly query: string;
  /** The passage that the query was made of, and its text without the query. */
  readonly own?: { readonly docid: string; readonly text: string };
}

/** Most queries of a source and pool; more of one kind add little. */
const MOST: Readonly<Record<MadeSource, number>> = {
  asked: 400,
  questions: 1500,
  definitions: 1000,
  titles: 600,
  sentences: 1000,
  keywords: 1000,
};
/** Words of a sentence that may be a query, and of what is left of its passage. */
const SENTENCE_WORDS = [4, 18] as const;
const LEAST_REST = 15;
const TITLE_WORDS = [2, 8] as const;
/** Terms of a keyword query. */
const KEYWORDS = [2, 5] as const;
/** Terms of a passage with the highest weights, among which they are drawn. */
const KEYWORD_POOL = 8;

const wordsIn = (text: string): number => text.split(/\s+/).filter(Boolean).length;
const within = (count: number, [least, most]: readonly [number, number]): boolean => count >= least && count <= most;

/** A query of a passage before it has an id. */
type Made = Pick<PoolQuery, 'query' | 'own'>;

/** Makes a query of a passage's first sentence; the passage loses it. */
function ofSentence(docid: string, text: string): Made[] {
  const [first = '', ...others] = text.trim().split(/(?<=[.!?])\s+(?=[A-Z])/);
  const rest = others.join(' ');
  const query = first.replace(/[.!?:\s]+$/, '');
  if (!within(wordsIn(query), SENTENCE_WORDS) || wordsIn(rest) < LEAST_REST) return [];
  return [{ query, own: { docid, text: rest } }];
}

function ofTitle(docid: string, { text, title }: { readonly text: string; readonly title?: string }): Made[] {
  const query = (title ?? '').replace(/\s*\([^)]*\)$/, '');
  return within(wordsIn(query), TITLE_WORDS) ? [{ query, own: { docid, text } }] : [];
}

/** Counts the passages that have each term. */
function passagesOf(pool: Pool): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const { text } of pool.values())
    for (const term of new Set(analyze(text))) counts.set(term, (counts.get(term) ?? 0) + 1);
  return counts;
}

/** Draws words of a passage by their weight in BM25 (frequency, saturated, times idf), and returns them in the order of the text. */
function keywordsOf(text: string, counts: ReadonlyMap<string, number>, passages: number, seed: number): string {
  const random = createRandom(seed);
  const first = new Map<string, { word: string; place: number; count: number }>();
  tokenize(text).forEach((word, place) => {
    const term = termOf(word);
    if (term === undefined || /^\d{1,3}$/.test(word)) return;
    const known = first.get(term);
    if (known) known.count++;
    else first.set(term, { word, place, count: 1 });
  });
  const weighted = [...first].map(([term, { word, place, count }]) => {
    const df = counts.get(term) ?? 1;
    return { word, place, weight: (count / (count + 0.9)) * Math.log(1 + (passages - df + 0.5) / (df + 0.5)) };
  });
  const left = weighted.sort((a, b) => b.weight - a.weight).slice(0, KEYWORD_POOL);
  const wanted = KEYWORDS[0] + random.below(KEYWORDS[1] - KEYWORDS[0] + 1);
  const drawn: typeof left = [];
  while (drawn.length < wanted && left.length > 0) {
    let at = random.next() * left.reduce((sum, { weight }) => sum + weight, 0);
    const chosen = left.findIndex(({ weight }) => {
      at -= weight;
      return at < 0;
    });
    drawn.push(...left.splice(chosen < 0 ? left.length - 1 : chosen, 1));
  }
  return drawn.length < KEYWORDS[0]
    ? ''
    : drawn
        .sort((a, b) => a.place - b.place)
        .map(({ word }) => word)
        .join(' ')
        .toLowerCase();
}

/** Returns the questions of HotpotQA and MuSiQue; XQuAD's are a test set. */
async function askedQueries(data: string): Promise<Made[]> {
  const lists = await Promise.all(
    ['hotpotqa_train', 'musique_train'].map((name) => readJsonFile(join(data, `multihop-samples/${name}.json`))),
  );
  return lists.flatMap((list) =>
    (Array.isArray(list) ? list : []).flatMap((entry: unknown) =>
      isObject(entry) && typeof entry.question === 'string' ? [{ query: entry.question }] : [],
    ),
  );
}

function madeOf(source: Exclude<MadeSource, 'asked'>, pool: Pool): Made[] {
  const texts = new Map([...pool].map(([docid, { text }]) => [docid, text]));
  const entries = [...pool];
  switch (source) {
    case 'questions':
      return findQuestions(texts).map(({ question, docid, rest }) => ({ query: question, own: { docid, text: rest } }));
    case 'definitions':
      return findDefinitions(texts).map(({ question, docid, rest }) => ({
        query: question,
        own: { docid, text: rest },
      }));
    case 'titles':
      return entries.flatMap(([docid, passage]) => ofTitle(docid, passage));
    case 'sentences':
      return entries.flatMap(([docid, { text }]) => ofSentence(docid, text));
    case 'keywords': {
      const counts = passagesOf(pool);
      return entries.flatMap(([docid, { text }]) => {
        const query = keywordsOf(text, counts, pool.size, deriveSeed(1, 'keywords', docid));
        return query === '' ? [] : [{ query, own: { docid, text } }];
      });
    }
  }
}

/**
 * Makes queries of the passages of a pool: at most `MOST` of each source, drawn by a fixed seed, each text once.
 * @param refused queries of test and held-out sets, in plain form.
 */
export async function makeQueries(
  data: string,
  name: PoolName,
  pool: Pool,
  refused: ReadonlySet<string>,
): Promise<PoolQuery[]> {
  const seen = new Set(refused);
  const found: PoolQuery[] = [];
  for (const source of MADE) {
    if (source === 'asked' && name !== 'wiki') continue;
    const made = source === 'asked' ? await askedQueries(data) : madeOf(source, pool);
    let kept = 0;
    for (const one of createRandom(deriveSeed(1, source, name)).shuffle(made)) {
      const key = plain(one.query);
      if (seen.has(key) || kept === MOST[source]) continue;
      seen.add(key);
      found.push({ ...one, qid: `${source}-${name}-${kept++}`, source, pool: name });
    }
  }
  return found;
}
