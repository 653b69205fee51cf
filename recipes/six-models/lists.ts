import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Bm25Index } from '../../src/evaluation/first-stage/index/bm25-index.ts';
import { buildIndex } from '../../src/evaluation/first-stage/index/build-index.ts';
import { memoryPassages } from '../../src/evaluation/formats/passages.ts';
import { readQrels } from '../../src/evaluation/formats/qrels.ts';
import { type DataSource, dataSourceSchema } from '../../src/training/data/data-schema.ts';
import { type IdentifiedList, skipCount } from '../../src/training/data/list-types.ts';
import { openRaw } from '../../src/training/data/sources.ts';
import { findDefinitions, findQuestions } from './asked.ts';

/** A query with passages for the teacher to score. */
export interface List {
  readonly set: 'trec-dl' | 'asked' | 'xquad' | 'wikiqa';
  readonly qid: string;
  readonly query: string;
  readonly passages: readonly string[];
  /** Grade of each passage; undefined where it was not judged. */
  readonly grades: readonly (number | undefined)[];
  /** Score of each passage by the learned sparse first stage; undefined where it is not among its best. */
  readonly sparse: readonly (number | undefined)[];
}

/** Passages from BM25 for a question found inside a passage. */
const ASKED_DEPTH = 16;
const XQUAD_DEPTH = 12;

async function lists(folder: string, source: Partial<DataSource>): Promise<IdentifiedList[]> {
  const raw = await openRaw(dataSourceSchema.parse(source), folder);
  const found: IdentifiedList[] = [];
  for await (const list of raw.lists(skipCount())) found.push(list);
  await raw.close();
  return found;
}

/** Returns the candidates of both first stages for the queries of one year. */
async function trecDl(folder: string, year: 'dl21' | 'dl22', pool: Map<string, string>): Promise<List[]> {
  const path = (system: string): string => `trec-dl/${system}.${year}.top100.json`;
  const sparse = await lists(folder, { format: 'rank_llm', path: path('SPLADE_P_P_ENSEMBLE_DISTIL') });
  const lexical = await lists(folder, { format: 'rank_llm', path: path('BM25') });
  const qrels = year === 'dl21' ? await readQrels(join(folder, 'trec-dl/qrels.dl21-passage.txt')) : undefined;
  const byQuery = new Map(lexical.map((list) => [list.qid, list]));
  return sparse.map(({ qid, query, docids, passages, teacher }) => {
    const texts = new Map(docids.map((docid, i) => [docid, passages[i]!]));
    const scores = new Map(docids.map((docid, i) => [docid, teacher?.[i]]));
    const other = byQuery.get(qid);
    other?.docids.forEach((docid, i) => {
      texts.set(docid, other.passages[i]!);
    });
    for (const [docid, text] of texts) pool.set(docid, text);
    const judged = qrels?.get(qid);
    const ids = [...texts.keys()];
    return {
      set: 'trec-dl' as const,
      qid,
      query,
      passages: [...texts.values()],
      grades: ids.map((docid) => judged?.get(docid)),
      sparse: ids.map((docid) => scores.get(docid)),
    };
  });
}

type Search = (query: string, depth: number) => readonly string[];

/** Runs `work` with a BM25 search over passages. */
async function withSearch<T>(passages: ReadonlyMap<string, string>, work: (search: Search) => T): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'winnow-six-models-'));
  try {
    await buildIndex(join(folder, 'index'), memoryPassages(passages, 'pool').entries());
    const index = new Bm25Index(join(folder, 'index'));
    try {
      return work((query, depth) => index.search(query, depth).docids);
    } finally {
      index.close();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const unknown = (texts: readonly unknown[]): undefined[] => texts.map(() => undefined);

/** Returns the questions found in passages, each with its own passage without the question and those from BM25. */
function passageQueries(pool: ReadonlyMap<string, string>, search: Search): List[] {
  return [...findQuestions(pool), ...findDefinitions(pool)].map(({ question, docid, rest }, i) => {
    const others = search(question, ASKED_DEPTH).filter((id) => id !== docid && !pool.get(id)!.includes(question));
    const passages = [rest, ...others.map((id) => pool.get(id)!)];
    return {
      set: 'asked' as const,
      qid: `asked-${i}`,
      query: question,
      passages,
      grades: unknown(passages),
      sparse: unknown(passages),
    };
  });
}

/** Returns the questions of XQuAD, each with its paragraph and those from BM25. */
async function xquad(folder: string): Promise<List[]> {
  const raw = await lists(folder, { format: 'squad', path: 'xquad-en/xquad.en.json' });
  const pool = new Map(raw.flatMap(({ docids, passages }) => docids.map((docid, i) => [docid, passages[i]!] as const)));
  return withSearch(pool, (search) =>
    raw.map(({ qid, query, docids, relevance }) => {
      const gold = docids[relevance.findIndex((grade) => grade > 0)]!;
      const ids = [gold, ...search(query, XQUAD_DEPTH).filter((id) => id !== gold)];
      const passages = ids.map((id) => pool.get(id)!);
      const grades = ids.map((_, i) => +(i === 0));
      return { set: 'xquad', qid: `xquad-${qid}`, query, passages, grades, sparse: unknown(passages) } as const;
    }),
  );
}

/** Returns the questions of WikiQA that have an answer. */
async function wikiqa(folder: string): Promise<List[]> {
  const raw = await lists(folder, { format: 'wikiqa', path: 'wikiqa', split: 'train' });
  return raw
    .filter(({ relevance }) => relevance.some((grade) => grade > 0))
    .map(({ qid, query, passages, relevance }) => ({
      set: 'wikiqa' as const,
      qid: `wikiqa-${qid}`,
      query,
      passages,
      grades: relevance,
      sparse: unknown(passages),
    }));
}

/** Reads all lists of the training data under a folder, always in the same order. */
export async function readLists(folder: string): Promise<List[]> {
  const pool = new Map<string, string>();
  const dl = [...(await trecDl(folder, 'dl21', pool)), ...(await trecDl(folder, 'dl22', pool))];
  const own = await withSearch(pool, (search) => passageQueries(pool, search));
  return [...dl, ...own, ...(await xquad(folder)), ...(await wikiqa(folder))];
}
