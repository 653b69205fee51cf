import { resolve } from 'node:path';
import { WinnowError } from '../../errors.ts';
import { loadDataset, openCollection } from '../../evaluation/formats/load-dataset.ts';
import type { PassageStore } from '../../evaluation/formats/passage-store.ts';
import { memoryPassages } from '../../evaluation/formats/passages.ts';
import { readQrels, splitEmpty } from '../../evaluation/formats/qrels.ts';
import { readRankLlm } from '../../evaluation/formats/read-rank-llm.ts';
import { readRun } from '../../evaluation/formats/run.ts';
import { type Queries, readQueries } from '../../evaluation/formats/topics.ts';
import type { Run } from '../../evaluation/measures/evaluation.ts';
import type { Qrels } from '../../evaluation/measures/ranked.ts';
import { createRandom, deriveSeed, type Random } from '../../util/random.ts';
import type { DataFormat, DataSource } from './data-schema.ts';
import { type Candidates, type Grading, grade, leastGrade, relevantOf } from './grading.ts';
import { knownTexts } from './known-texts.ts';
import { type IdentifiedList, type RawSource, type SkipCount, UNKNOWN_PASSAGE, withOrigin } from './list-types.ts';
import type { RowFormat } from './row-formats.ts';
import { readRunGroups } from './run-groups.ts';
import { reservoir, shuffled } from './shuffle.ts';
import { readTeacher } from './teacher.ts';

type IdFormat = Exclude<DataFormat, RowFormat>;

/** An open source whose lists are ids of judgements, teacher and collection. */
interface OpenSource {
  readonly passages: PassageStore;
  readonly qrels: Qrels | undefined;
  /** Yields candidate lists in file order, with a seed shuffled. */
  candidates(counts: SkipCount, seed: number | undefined): AsyncIterable<Candidates>;
  readonly files: readonly string[];
}

/** Resolves a path of the recipe. */
type At = (path: string) => string;
type Open = (source: DataSource, at: At) => Promise<OpenSource>;

/** Lists in the shuffle buffer, each up to some hundred ids long. */
const SHUFFLE_LISTS = 2000;
/** Most ids in the pool of random negatives. */
const RANDOM_POOL = 100_000;

const optional = <T>(path: string | undefined, at: At, read: (path: string) => Promise<T>): Promise<T | undefined> =>
  path === undefined ? Promise.resolve(undefined) : read(at(path));

const readJudged = async (path: string): Promise<Qrels> => splitEmpty(await readQrels(path)).qrels;

const pathsOf = (at: At, ...paths: readonly (string | undefined)[]): string[] =>
  paths.flatMap((path) => (path === undefined ? [] : [at(path)]));

/** Where a query of a source stands, for messages. */
const queryPlace = (path: string, qid: string): string => `${path}, query ${qid}`;

/** Counts the judged queries that a source has no list for. */
function skipJudged(
  qrels: Qrels | undefined,
  isThere: (qid: string) => boolean,
  counts: SkipCount,
  path: string,
): void {
  for (const qid of qrels?.keys() ?? [])
    if (!isThere(qid)) counts.skip('judged query without a list', queryPlace(path, qid));
}

/** Yields candidates of queries in memory. @param path of the source, for messages. @param list returns the ids of a query, with scores where they are the teacher's. */
function fromQueries(
  queries: Queries,
  qrels: Qrels | undefined,
  path: string,
  list: (qid: string) => Pick<Candidates, 'docids' | 'own'> | undefined,
) {
  return async function* (counts: SkipCount, seed: number | undefined): AsyncGenerator<Candidates> {
    skipJudged(qrels, (qid) => queries.has(qid), counts, path);
    const qids = [...queries.keys()];
    for (const qid of seed === undefined ? qids : createRandom(deriveSeed(seed, 'shuffle')).shuffle(qids)) {
      const found = list(qid);
      if (found && found.docids.length > 0) yield { qid, query: queries.get(qid)!, ...found };
      else counts.skip(qrels && !qrels.has(qid) ? 'query without judgements' : 'no candidates', queryPlace(path, qid));
    }
  };
}

function listOf(
  run: Run | undefined,
  qid: string,
  withScores: boolean,
): Pick<Candidates, 'docids' | 'own'> | undefined {
  const docs = run?.get(qid);
  return docs && { docids: docs.docids, ...(withScores && { own: Array.from(docs.scores) }) };
}

const rankLlm: Open = async (source, at) => {
  const path = at(source.path);
  const { queries, run, texts } = await readRankLlm(path);
  const qrels = await optional(source.qrels, at, readJudged);
  return {
    passages: memoryPassages(texts, path),
    qrels,
    candidates: fromQueries(queries, qrels, source.path, (qid) => {
      const list = listOf(run, qid, true);
      const byRank = source.teacher === undefined && source.teacherValue === 'rank';
      return list && byRank ? { ...list, own: list.docids.map((_, i) => -(i + 1)) } : list;
    }),
    files: pathsOf(at, source.path, source.qrels),
  };
};

/** A run with queries and collection, such as Rank-DistiLLM's; it is streamed, so that it may hold every training query. */
const trecRun: Open = async (source, at) => {
  const { queries, collection } = source;
  if (queries === undefined || collection === undefined)
    throw new WinnowError('invalid_input', {
      where: source.path,
      expected: '`queries` and `collection` in addition to a run, which holds ids only',
      got: queries === undefined ? 'no `queries`' : 'no `collection`',
    });
  const texts = await readQueries(at(queries));
  // With another teacher, the run's scores only order the candidates.
  const value = source.teacher === undefined ? source.teacherValue : 'score';
  const qrels = await optional(source.qrels, at, readJudged);
  return {
    passages: await openCollection(at(collection)),
    qrels,
    async *candidates(counts, seed) {
      const seen = new Set<string>();
      const groups = readRunGroups(at(source.path), value);
      for await (const { qid, docids, values } of seed === undefined ? groups : shuffled(groups, seed, SHUFFLE_LISTS)) {
        const query = texts.get(qid);
        if (qrels?.has(qid)) seen.add(qid);
        if (query === undefined) counts.skip('unknown query', queryPlace(source.path, qid));
        else yield { qid, query, docids, own: values };
      }
      skipJudged(qrels, (qid) => seen.has(qid), counts, source.path);
    },
    files: pathsOf(at, source.path, queries, collection, source.qrels),
  };
};

/** Data sets without teacher scores: candidates from a run, from the set itself, or the relevant passages alone. */
const dataset =
  (
    format: 'beir' | 'wikiqa' | 'squad',
    others: (qid: string, qrels: Qrels, ids: ReadonlySet<string>) => string[],
  ): Open =>
  async (source, at) => {
    const { queries, qrels, passages, candidates, files } = await loadDataset({
      path: at(source.path),
      format,
      split: source.split ?? 'train',
      ...(source.qrels !== undefined && { qrels: at(source.qrels) }),
      ...(source.queries !== undefined && { queries: at(source.queries) }),
      ...(source.collection !== undefined && { corpus: at(source.collection) }),
    });
    const run = source.candidates === undefined ? candidates : await readRun(at(source.candidates));
    const ids = new Set<string>();
    if (format === 'squad') for await (const { id } of passages.entries()) ids.add(id);
    return {
      passages,
      qrels,
      candidates: fromQueries(queries, qrels, source.path, (qid) => {
        if (run) return listOf(run, qid, source.candidates !== undefined);
        const relevant = relevantOf(qrels, qid, leastGrade(source));
        return { docids: [...relevant, ...others(qid, qrels, ids).filter((id) => !relevant.includes(id))] };
      }),
      files: [...files, ...pathsOf(at, source.candidates)],
    };
  };

/** Returns all paragraphs of a question's article; ids are `article-paragraph`. */
function sameArticle(qid: string, qrels: Qrels, ids: ReadonlySet<string>): string[] {
  const [own] = [...(qrels.get(qid)?.keys() ?? [])];
  const article = own?.split('-')[0];
  const found: string[] = [];
  for (let p = 0; ids.has(`${article}-${p}`); p++) found.push(`${article}-${p}`);
  return found;
}

const OPEN: Readonly<Record<IdFormat, Open>> = {
  rank_llm: rankLlm,
  trec: trecRun,
  beir: dataset('beir', () => []),
  wikiqa: dataset('wikiqa', () => []),
  squad: dataset('squad', sameArticle),
};

/** Draws up to `count` different items, at a cost that does not depend on the size of the pool. */
function drawDistinct(pool: readonly string[], count: number, random: Random): string[] {
  const places = new Set<number>();
  while (places.size < Math.min(count, pool.length)) places.add(random.below(pool.length));
  return [...places].map((place) => pool[place]!);
}

async function* idsOf(passages: PassageStore): AsyncGenerator<string> {
  for await (const { id } of passages.entries()) yield id;
}

/** Grades candidates and finds their texts. Passages that the collection lacks leave the list; undefined where none is left. */
async function listWith(
  passages: PassageStore,
  candidates: Candidates,
  grading: Grading,
  negatives: readonly string[],
  counts: SkipCount,
): Promise<IdentifiedList | undefined> {
  const { qid, query } = candidates;
  const all = grade(candidates, grading, negatives);
  const known = await knownTexts(passages, all.docids);
  const missing = new Set(all.docids.filter((docid) => !known.has(docid)));
  if (missing.size === all.docids.length) return undefined;
  counts.drop(UNKNOWN_PASSAGE, missing.size, queryPlace(grading.source.path, qid));
  // Graded again: a missing relevant passage must not leave the list without the teacher's scores.
  const graded = missing.size === 0 ? all : grade(candidates, { ...grading, missing }, negatives);
  return { qid, query, passages: graded.docids.map((docid) => known.get(docid)!), ...graded };
}

/**
 * Opens a source of ids: rank_llm JSON, TREC runs with queries and collection, BEIR folders, WikiQA, SQuAD and XQuAD.
 * @throws WinnowError `invalid_input` with file and line.
 */
export async function openIdSource(
  source: DataSource & { readonly format: IdFormat },
  folder: string,
): Promise<RawSource> {
  const at: At = (path) => resolve(folder, path);
  const opened = await OPEN[source.format](source, at);
  const teacher = await optional(source.teacher, at, (path) => readTeacher(path, source.teacherValue));
  const heldOut = await optional(source.excludeJudged, at, readQrels);
  const grading: Grading = { source, qrels: opened.qrels, teacher };
  const pool = source.randomNegatives > 0 ? await reservoir(idsOf(opened.passages), RANDOM_POOL, 0) : [];
  const negatives = (qid: string, seed: number): string[] =>
    drawDistinct(pool, source.randomNegatives, createRandom(deriveSeed(seed, 'random negatives', qid)));
  async function* lists(counts: SkipCount, seed?: number): AsyncGenerator<IdentifiedList> {
    for await (const candidates of opened.candidates(counts, seed)) {
      const { qid } = candidates;
      const where = queryPlace(source.path, qid);
      if (heldOut?.has(qid)) {
        counts.skip('held out', where);
        continue;
      }
      const list = await listWith(opened.passages, candidates, grading, negatives(qid, seed ?? 0), counts);
      if (list) yield withOrigin(list, { where, rows: 1 });
      else counts.skip('unknown passage', where);
    }
  }
  return {
    files: [...opened.files, ...pathsOf(at, source.teacher, source.excludeJudged)],
    lists,
    relevantIds: (qid) => (opened.qrels ? relevantOf(opened.qrels, qid, leastGrade(source)) : []),
    close: () => opened.passages.close(),
  };
}
