import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Bm25Index } from '../../src/evaluation/first-stage/index/bm25-index.ts';
import { buildIndex } from '../../src/evaluation/first-stage/index/build-index.ts';
import { memoryPassages } from '../../src/evaluation/formats/passages.ts';
import { readQrels } from '../../src/evaluation/formats/qrels.ts';
import { type DataSource, dataSourceSchema } from '../../src/training/data/schema.ts';
import { openRaw } from '../../src/training/data/sources.ts';
import { type IdentifiedList, skipCount } from '../../src/training/data/types.ts';
import { findAsked, findDefined } from './asked.ts';

/** A query with passages to be scored by a teacher. */
export interface List {
  readonly set: 'trec-dl' | 'asked' | 'xquad' | 'wikiqa';
  readonly qid: string;
  readonly query: string;
  readonly passages: readonly string[];
  /** Grade of each passage where somebody judged it. */
  readonly grades: readonly (number | undefined)[];
  /** Score of the learned sparse first stage, for passages among its best. */
  readonly sparse: readonly (number | undefined)[];
}

/** Passages that BM25 finds for a question somebody asked inside a passage. */
const ASKED_DEPTH = 16;
const XQUAD_DEPTH = 12;

async function lists(folder: string, source: Partial<DataSource>): Promise<IdentifiedList[]> {
  const raw = await openRaw(dataSourceSchema.parse(source), folder);
  const found: IdentifiedList[] = [];
  for await (const list of raw.lists(skipCount())) found.push(list);
  await raw.close();
  return found;
}

/** Candidates of both first stages of one year, each query once. */
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
      ...({ set: 'trec-dl', qid, query, passages: [...texts.values()] } as const),
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

/** Questions out of the passages, against what BM25 finds for them; a question is cut out of the passage that asks it. */
function asked(pool: ReadonlyMap<string, string>, search: Search): List[] {
  return [...findAsked(pool), ...findDefined(pool)].map(({ question, docid, rest }, i) => {
    const others = search(question, ASKED_DEPTH).filter((id) => id !== docid && !pool.get(id)!.includes(question));
    const passages = [rest, ...others.map((id) => pool.get(id)!)];
    return {
      ...({ set: 'asked', qid: `asked-${i}`, query: question, passages } as const),
      ...{ grades: unknown(passages), sparse: unknown(passages) },
    };
  });
}

/** Questions against their paragraph and what BM25 finds among all others. */
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

/** Questions with a sentence that answers them. */
async function wikiqa(folder: string): Promise<List[]> {
  const raw = await lists(folder, { format: 'wikiqa', path: 'wikiqa', split: 'train' });
  return raw
    .filter(({ relevance }) => relevance.some((grade) => grade > 0))
    .map(({ qid, query, passages, relevance }) => ({
      ...({ set: 'wikiqa', qid: `wikiqa-${qid}`, query, passages } as const),
      ...{ grades: relevance, sparse: unknown(passages) },
    }));
}

/** All lists of the training data under a folder, in an order of their own. */
export async function readLists(folder: string): Promise<List[]> {
  const pool = new Map<string, string>();
  const dl = [...(await trecDl(folder, 'dl21', pool)), ...(await trecDl(folder, 'dl22', pool))];
  const own = await withSearch(pool, (search) => asked(pool, search));
  return [...dl, ...own, ...(await xquad(folder)), ...(await wikiqa(folder))];
}
