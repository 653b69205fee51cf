import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { readRankLlm } from '../../src/evaluation/formats/read-rank-llm.ts';
import { writeRun } from '../../src/evaluation/formats/run.ts';
import { writeLines } from '../../src/evaluation/formats/write-lines.ts';
import type { ScoredDocs } from '../../src/evaluation/measures/evaluation.ts';
import { sha256File, writeFileAtomic } from '../../src/util/files.ts';
import { judgedLists, type List, poolLists, rankLlmLine, readJudged } from './lists.ts';
import { listFile, POOL_NAMES, plain, readPools, SYSTEMS, testTexts, YEARS } from './pools.ts';
import { MADE, makeQueries } from './queries.ts';

/** Returns the queries of all years and of test sets that nothing is made of, in plain form. */
export async function refusedQueries(data: string): Promise<Set<string>> {
  const refused = new Set((await testTexts(data)).queries);
  for (const year of YEARS)
    for (const query of (await readRankLlm(listFile(data, 'BM25', year))).queries.values()) refused.add(plain(query));
  return refused;
}

/** Writes the learned sparse scores of both years as one run: a teacher of the judged lists. */
export async function writeSparse(data: string, path: string): Promise<void> {
  const run = new Map<string, ScoredDocs>();
  for (const year of YEARS)
    for (const [qid, docs] of (await readRankLlm(listFile(data, SYSTEMS[1], year))).run) run.set(qid, docs);
  await writeRun(path, run, 'splade');
}

/**
 * Makes the candidate lists of judged queries and of those made of passages, a file a source, unless they exist; and the judgements of held-out and kept-back queries of dl21, whose lists
 * are in none of the files.
 * @param data folder of the collections. @param out folder the files go to. @param encoders folders of the encoders that find candidates.
 */
export async function prepare(data: string, out: string, encoders: readonly string[], vectors: string): Promise<void> {
  const done = join(out, 'prepared.json');
  if (existsSync(done)) return;
  await mkdir(join(out, 'lists'), { recursive: true });
  const judged = await readJudged(data);
  const { heldOut, keptBack } = judged;
  await writeLines(join(out, 'held-out.qrels'), judged.lines(heldOut));
  await writeLines(join(out, 'kept-back.qrels'), judged.lines(keptBack));
  await writeSparse(data, join(out, 'splade.run'));
  const refused = await refusedQueries(data);
  const without = new Set([...heldOut, ...keptBack]);
  const lists: List[] = await judgedLists(data, without);
  const pools = await readPools(data, without);
  for (const name of POOL_NAMES) {
    const queries = await makeQueries(data, name, pools[name], refused);
    lists.push(...(await poolLists(queries, pools[name], { encoders, vectors })));
  }
  const facts: Record<string, unknown> = { heldOut: [...heldOut].toSorted(), keptBack: [...keptBack].toSorted() };
  for (const source of ['judged', ...MADE]) {
    const own = lists.filter((list) => list.source === source);
    const file = join(out, 'lists', `${source}.jsonl`);
    await writeLines(file, own.map(rankLlmLine));
    const passages = own.reduce((sum, list) => sum + list.passages.length, 0);
    facts[source] = { lists: own.length, passages, sha256: await sha256File(file) };
  }
  await writeFileAtomic(done, `${JSON.stringify(facts, null, 2)}\n`);
}
