import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { FirstStage } from '../../src/evaluation/first-stage/first-stage.ts';
import { Bm25Index } from '../../src/evaluation/first-stage/index/bm25-index.ts';
import { buildIndex } from '../../src/evaluation/first-stage/index/build-index.ts';
import { bm25Stage } from '../../src/evaluation/first-stage/stages.ts';
import { memoryPassages } from '../../src/evaluation/formats/passages.ts';
import { readRankLlm } from '../../src/evaluation/formats/read-rank-llm.ts';
import { openBiEncoder } from '../../src/training/teachers/bi-encoder.ts';
import { encoderStage } from '../../src/training/teachers/encoder-stage.ts';
import { temporaryFolder } from '../../src/util/files.ts';
import { startProgress } from '../../src/util/progress.ts';
import { createRandom, deriveSeed } from '../../src/util/random.ts';
import { listFile, type Pool, SYSTEMS, YEARS } from './pools.ts';
import type { PoolQuery, Source } from './queries.ts';

/** A query with its candidates, in the form of rank_llm. */
export interface List {
  readonly source: Source;
  readonly qid: string;
  readonly query: string;
  readonly passages: readonly { readonly docid: string; readonly text: string }[];
}

/** Candidates of a query: BM25's best, the best of each encoder, and some drawn from the whole pool. */
const BY_BM25 = 10;
const BY_ENCODER = 6;
const DRAWN = 3;

/** Judged queries of dl21 that choose weights and checkpoints, and further ones that nothing is chosen or trained on. */
const HELD_OUT = 14;
const KEPT_BACK = 12;

interface Judged {
  readonly heldOut: ReadonlySet<string>;
  readonly keptBack: ReadonlySet<string>;
  /** Lines of the judgements of a set of queries. */
  lines(qids: ReadonlySet<string>): readonly string[];
}

/** Divides the judged queries of dl21. The held-out ones are those of the six models before. */
export async function readJudged(data: string): Promise<Judged> {
  const all = (await readFile(join(data, 'trec-dl/qrels.dl21-passage.txt'), 'utf8')).trim().split('\n');
  const qidOf = (line: string): string => line.split(/\s+/)[0]!;
  const drawn = createRandom(1).shuffle([...new Set(all.map(qidOf))].toSorted());
  return {
    heldOut: new Set(drawn.slice(0, HELD_OUT)),
    keptBack: new Set(drawn.slice(HELD_OUT, HELD_OUT + KEPT_BACK)),
    lines: (qids) => all.filter((line) => qids.has(qidOf(line))),
  };
}

/** Returns the lists of both first stages for queries of both years, without the queries of `without`. */
export async function judgedLists(data: string, without: ReadonlySet<string>): Promise<List[]> {
  const lists = new Map<string, { query: string; passages: Map<string, string> }>();
  for (const year of YEARS)
    for (const system of SYSTEMS) {
      const { queries, run, texts } = await readRankLlm(listFile(data, system, year));
      for (const [qid, query] of queries) {
        if (without.has(qid)) continue;
        const list = lists.get(qid) ?? { query, passages: new Map<string, string>() };
        lists.set(qid, list);
        for (const docid of run.get(qid)?.docids ?? []) list.passages.set(docid, texts.get(docid)!);
      }
    }
  return [...lists].map(([qid, { query, passages }]) => ({
    source: 'judged',
    qid,
    query,
    passages: [...passages].map(([docid, text]) => ({ docid, text })),
  }));
}

/** How the first stages of a pool are opened. */
interface StageOptions {
  readonly encoders: readonly string[];
  /** Folder of kept vectors. */
  readonly vectors: string;
}

/** Returns the passages that an encoder finds nearest to each query, with their cosines. */
export async function retrieveBy(
  name: string,
  queries: ReadonlyMap<string, string>,
  pool: Pool,
  { vectors, depth }: { readonly vectors: string; readonly depth: number },
): ReturnType<FirstStage['retrieve']> {
  const encoder = await openBiEncoder(name, { vectors, threads: 1 });
  const progress = startProgress(`nearest by ${name}`, pool.size + queries.size);
  try {
    const passages = memoryPassages(textsOf(pool), 'pool').entries();
    const stage = await encoderStage(encoder, passages, (n) => progress.update(n));
    return await stage.retrieve(queries, depth, (n) => progress.update(pool.size + n));
  } finally {
    progress.stop();
    await encoder.close();
  }
}

const textsOf = (pool: Pool): Map<string, string> => new Map([...pool].map(([docid, { text }]) => [docid, text]));

async function retrieveAll(
  queries: readonly PoolQuery[],
  pool: Pool,
  { encoders, vectors }: StageOptions,
): Promise<
  { readonly stage: string; readonly depth: number; readonly run: Awaited<ReturnType<FirstStage['retrieve']>> }[]
> {
  const asked = new Map(queries.map(({ qid, query }) => [qid, query]));
  await using folder = await temporaryFolder('lists');
  await buildIndex(join(folder.path, 'index'), memoryPassages(textsOf(pool), 'pool').entries());
  const index = new Bm25Index(join(folder.path, 'index'));
  const runs = [{ stage: 'bm25', depth: BY_BM25, run: await bm25Stage(index).retrieve(asked, BY_BM25) }];
  index.close();
  for (const name of encoders) {
    const run = await retrieveBy(name, asked, pool, { vectors, depth: BY_ENCODER });
    runs.push({ stage: name, depth: BY_ENCODER, run });
  }
  return runs;
}

/** Returns the id of a passage whose text lacks the query that was made of it: several queries can be made of one passage. */
const ownId = (docid: string, qid: string): string => `${docid}~${qid}`;

/**
 * Returns a list for each query: its own passage first, then what BM25 and the encoders find, best first in turns, then passages drawn at
 * random, which are easy negatives. Passages that hold the query word for word are left out, but for its own.
 */
export async function poolLists(queries: readonly PoolQuery[], pool: Pool, options: StageOptions): Promise<List[]> {
  const runs = await retrieveAll(queries, pool, options);
  const ids = [...pool.keys()];
  return queries.map(({ source, qid, query, own }) => {
    const random = createRandom(deriveSeed(1, 'drawn', qid));
    const found = runs.flatMap(({ run }) => run.get(qid)?.docids ?? []);
    const drawn = Array.from({ length: DRAWN }, () => ids[random.below(ids.length)]!);
    const others = [...new Set([...found, ...drawn])].filter(
      (docid) => docid !== own?.docid && !(own && pool.get(docid)!.text.includes(query)),
    );
    const first = own ? [{ docid: ownId(own.docid, qid), text: own.text }] : [];
    return {
      source,
      qid,
      query,
      passages: [...first, ...others.map((docid) => ({ docid, text: pool.get(docid)!.text }))],
    };
  });
}

/** Returns a list as a line of rank_llm's format. Scores only state the order. */
export const rankLlmLine = ({ qid, query, passages }: Omit<List, 'source'>): string =>
  JSON.stringify({
    query: { text: query, qid },
    candidates: passages.map(({ docid, text }, i) => ({ docid, score: passages.length - i, doc: { text } })),
  });
