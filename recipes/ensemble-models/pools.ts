import { join } from 'node:path';
import { readRankLlm } from '../../src/evaluation/formats/read-rank-llm.ts';
import { dataSourceSchema } from '../../src/training/data/data-schema.ts';
import { skipCount } from '../../src/training/data/list-types.ts';
import { openRaw } from '../../src/training/data/sources.ts';
import { isObject, readJsonFile } from '../../src/util/json-files.ts';

/** A passage that queries are made of. */
export interface PoolPassage {
  readonly text: string;
  /** Title of its page or article, where the collection has one. */
  readonly title?: string;
}

/** Passages that are searched together, by id. */
export type Pool = ReadonlyMap<string, PoolPassage>;

export const POOL_NAMES = ['web', 'wiki'] as const;
export type PoolName = (typeof POOL_NAMES)[number];

export const YEARS = ['dl21', 'dl22'] as const;
export const SYSTEMS = ['BM25', 'SPLADE_P_P_ENSEMBLE_DISTIL'] as const;

export const listFile = (data: string, system: string, year: string): string =>
  join(data, `trec-dl/${system}.${year}.top100.json`);

/** Returns a text in the form in which copies are found. */
export const plain = (text: string): string => text.toLowerCase().replace(/\s+/g, ' ').trim();

/** Returns queries and texts of the test collections, in plain form: nothing is made of them. Cranfield is not read at all. */
export async function testTexts(
  data: string,
): Promise<{ readonly queries: Set<string>; readonly passages: Set<string> }> {
  const { queries, texts } = await readRankLlm(listFile(data, 'BM25', 'dl19'));
  return { queries: new Set([...queries.values()].map(plain)), passages: new Set([...texts.values()].map(plain)) };
}

/** Returns the passages that both first stages found for the queries of two years (MS MARCO v2), but for those of `without`. */
async function webPassages(data: string, tests: ReadonlySet<string>, without: ReadonlySet<string>): Promise<Pool> {
  const pool = new Map<string, PoolPassage>();
  for (const year of YEARS)
    for (const system of SYSTEMS) {
      const { run, texts } = await readRankLlm(listFile(data, system, year));
      for (const [qid, { docids }] of run)
        for (const id of without.has(qid) ? [] : docids) {
          const text = texts.get(id)!;
          if (!tests.has(plain(text))) pool.set(id, { text });
        }
    }
  return pool;
}

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');

/** Returns the paragraphs of Wikipedia in XQuAD, HotpotQA and MuSiQue; copies of one text once. */
async function wikiPassages(data: string): Promise<Pool> {
  const found = new Map<string, PoolPassage>();
  const seen = new Set<string>();
  const add = (id: string, text: string, title: string): void => {
    if (text.trim() === '' || seen.has(plain(text))) return;
    seen.add(plain(text));
    found.set(id, title === '' ? { text } : { text, title });
  };
  const squad = await openRaw(dataSourceSchema.parse({ format: 'squad', path: 'xquad-en/xquad.en.json' }), data);
  for await (const { docids, passages } of squad.lists(skipCount()))
    passages.forEach((text, i) => {
      add(`xquad-${docids[i]!}`, text, '');
    });
  await squad.close();
  const hotpot = await readJsonFile(join(data, 'multihop-samples/hotpotqa_train_corpus.json'));
  for (const [title, sentences] of Object.entries(isObject(hotpot) ? hotpot : {}))
    add(
      `hotpot-${title}`.replaceAll(/\s+/g, '_'),
      Array.isArray(sentences) ? sentences.join('') : textOf(sentences),
      title,
    );
  const musique = await readJsonFile(join(data, 'multihop-samples/musique_train_corpus.json'));
  (Array.isArray(musique) ? musique : []).forEach((entry: unknown, i) => {
    if (isObject(entry)) add(`musique-${i}`, textOf(entry.text), textOf(entry.title));
  });
  return found;
}

/**
 * Reads the passages that queries are made of and searched in.
 * @param without ids of held-out queries, whose lists are left out.
 */
export async function readPools(data: string, without: ReadonlySet<string>): Promise<Readonly<Record<PoolName, Pool>>> {
  const { passages } = await testTexts(data);
  return { web: await webPassages(data, passages, without), wiki: await wikiPassages(data) };
}
