import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeLines } from '../../src/evaluation/formats/write-lines.ts';
import { temporaryFolder } from '../../src/util/files.ts';
import { createRandom, deriveSeed } from '../../src/util/random.ts';
import { unpackArtifact } from '../build/encoders.ts';
import { poolLists, rankLlmLine, readJudged, retrieveBy } from './lists.ts';
import { type PoolName, plain, readPools } from './pools.ts';
import { refusedQueries } from './prepare.ts';

/*
 * Queries that people gave to search engines. Their own passages are not at hand, so those are kept that come nearest to a passage of the pools; the teacher
 * says which of the candidates are better.
 */

/** Holds queries of many collections (Apache-2.0; the queries under their collections' terms). */
const ANSERINI = 'io.anserini:anserini:0.13.3';

/** Files of queries: the development parts of MS MARCO and Natural Questions, and TREC's Million Query track. */
const FILES: Readonly<Record<string, readonly string[]>> = {
  msmarco: ['msmarco-passage.dev-subset', 'msmarco-doc.dev', 'msmarco-passage-v2.dev', 'msmarco-passage-v2.dev2'],
  nq: ['nq.dev'],
  mq: ['mq.1-10000'],
};

/** Queries of a collection that are looked at, and how many of them are kept. */
const MOST = { looked: 20_000, kept: { web: 2400, wiki: 600 } } as const;

/** Reads the text of a line: `id<tab>text`, `id:text` or `text<tab>answers`. */
function queryOf(collection: string, line: string): string {
  if (collection === 'mq') return line.slice(line.indexOf(':') + 1).trim();
  const [first = '', second = ''] = line.split('\t');
  return (collection === 'nq' ? first : second).trim();
}

/**
 * Returns the queries of all collections by id, each text once.
 * @param folder where Anserini is unpacked. @param refused queries of test and held-out sets, in plain form.
 */
export async function readQueries(folder: string, refused: ReadonlySet<string>): Promise<ReadonlyMap<string, string>> {
  const seen = new Set(refused);
  const found = new Map<string, string>();
  for (const [collection, files] of Object.entries(FILES)) {
    const texts: string[] = [];
    for (const file of files) {
      const lines = (await readFile(join(folder, `topics-and-qrels/topics.${file}.txt`), 'utf8')).split('\n');
      texts.push(...lines.map((line) => queryOf(collection, line)).filter((text) => text !== ''));
    }
    let kept = 0;
    for (const text of createRandom(deriveSeed(1, 'searched', collection)).shuffle(texts)) {
      if (seen.has(plain(text)) || kept === MOST.looked) continue;
      seen.add(plain(text));
      found.set(`searched-${collection}-${kept++}`, text);
    }
  }
  return found;
}

/**
 * Makes the candidate lists of searched queries, a file, unless it exists. Needs Maven.
 * @param data folder of the collections. @param file where the lists go. @param encoders folders of the encoders that find candidates; the first
 * chooses the queries.
 */
export async function prepareSearched(
  data: string,
  file: string,
  encoders: readonly [string, ...string[]],
  vectors: string,
): Promise<void> {
  if (existsSync(file)) return;
  const { heldOut, keptBack } = await readJudged(data);
  const pools = await readPools(data, new Set([...heldOut, ...keptBack]));
  await using unpacked = await temporaryFolder('searched');
  unpackArtifact(ANSERINI, unpacked.path);
  const queries = await readQueries(unpacked.path, await refusedQueries(data));
  const taken = new Set<string>();
  const lines: string[] = [];
  for (const pool of Object.keys(MOST.kept) as PoolName[]) {
    const near = await retrieveBy(encoders[0], queries, pools[pool], { vectors, depth: 1 });
    const best = [...near]
      .filter(([qid]) => !taken.has(qid))
      .toSorted(([, a], [, b]) => b.scores[0]! - a.scores[0]!)
      .slice(0, MOST.kept[pool]);
    const kept = best.map(([qid]) => ({ qid, source: 'searched' as const, pool, query: queries.get(qid)! }));
    for (const { qid } of kept) taken.add(qid);
    lines.push(...(await poolLists(kept, pools[pool], { encoders, vectors })).map(rankLlmLine));
  }
  await writeLines(file, lines);
}
