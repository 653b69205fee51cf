import { writeRun } from '../../evaluation/formats/run.ts';
import { writeLines } from '../../evaluation/formats/write-lines.ts';
import type { ScoredDocs } from '../../evaluation/measures/evaluation.ts';
import { readJobLog } from '../../util/job-log.ts';
import { isJson, isJsonLines } from '../../util/json-files.ts';
import type { IdentifiedList } from '../data/list-types.ts';
import { meanScores, type Normalization, type ScoredList } from './ensemble.ts';

/** Reads logs of the same lists in parallel and yields the mean of each list. */
export async function* meanOfLogs(paths: readonly string[], normalization: Normalization): AsyncGenerator<ScoredList> {
  const open = paths.map((path) => readJobLog<ScoredList>(path));
  for (;;) {
    const next = await Promise.all(open.map((log) => log.next()));
    const lists = next.flatMap(({ value }) => (value ? [value] : []));
    if (lists.length === 0) return;
    yield meanScores(lists, normalization);
  }
}

/** Lists and passages whose text some teacher left out in part. */
export interface CutTexts {
  readonly queries: number;
  readonly passages: number;
}

/** Counts in the logs what was cut: of several teachers, the most that one cut. */
export async function cutTexts(paths: readonly string[]): Promise<CutTexts> {
  let most: CutTexts = { queries: 0, passages: 0 };
  for (const path of paths) {
    let [queries, passages] = [0, 0];
    for await (const { cut = 0, queryCut } of readJobLog<ScoredList>(path)) {
      passages += cut;
      if (queryCut) queries++;
    }
    most = { queries: Math.max(most.queries, queries), passages: Math.max(most.passages, passages) };
  }
  return most;
}

/** Collects all scores of a query: several lists of one query (rows of triples) become one. */
async function byQuery(lists: AsyncIterable<ScoredList>): Promise<Map<string, Map<string, number>>> {
  const run = new Map<string, Map<string, number>>();
  for await (const { qid, docids, scores } of lists) {
    const known = run.get(qid) ?? new Map<string, number>();
    run.set(qid, known);
    docids.forEach((docid, i) => {
      known.set(docid, scores[i]!);
    });
  }
  return run;
}

const bestFirst = (scores: ReadonlyMap<string, number>): [string, number][] =>
  [...scores].sort(([, a], [, b]) => b - a);

/** Returns queries with their hits and texts in the format of rank_llm. */
async function rankLlmEntries(
  run: ReadonlyMap<string, ReadonlyMap<string, number>>,
  texts: AsyncIterable<IdentifiedList>,
): Promise<object[]> {
  const found = new Map<string, { query: string; texts: Map<string, string> }>();
  for await (const { qid, query, docids, passages } of texts) {
    const entry = found.get(qid) ?? { query, texts: new Map<string, string>() };
    found.set(qid, entry);
    docids.forEach((docid, i) => {
      entry.texts.set(docid, passages[i]!);
    });
  }
  return [...run].map(([qid, scores]) => ({
    query: found.get(qid)!.query,
    hits: bestFirst(scores).map(([docid, score], i) => ({
      qid,
      docid,
      rank: i + 1,
      score,
      content: found.get(qid)!.texts.get(docid)!,
    })),
  }));
}

/**
 * Writes teacher scores atomically: a TREC run, or rank_llm JSON with texts where the name ends in `.json` or `.jsonl`.
 * @param texts returns the lists again; called only where the file holds texts.
 */
export async function writeTeacherFile(
  path: string,
  scores: AsyncIterable<ScoredList>,
  texts: () => AsyncIterable<IdentifiedList>,
  tag: string,
): Promise<{ readonly queries: number; readonly passages: number }> {
  const run = await byQuery(scores);
  const passages = [...run.values()].reduce((sum, list) => sum + list.size, 0);
  if (isJson(path)) await writeLines(path, [JSON.stringify(await rankLlmEntries(run, texts()))]);
  else if (isJsonLines(path))
    await writeLines(
      path,
      (await rankLlmEntries(run, texts())).map((entry) => JSON.stringify(entry)),
    );
  else {
    const docs = [...run].map(([qid, list]): [string, ScoredDocs] => [
      qid,
      { docids: [...list.keys()], scores: [...list.values()] },
    ]);
    await writeRun(path, new Map(docs), tag);
  }
  return { queries: run.size, passages };
}
