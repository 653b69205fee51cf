import { readRankLlm } from '../../evaluation/formats/read-rank-llm.ts';
import { isJson, isJsonLines } from '../../util/json-files.ts';
import { type RunGroup, type RunValue, readRunGroups } from './run-groups.ts';

/** Scores by query and passage; higher is better. */
export type TeacherScores = ReadonlyMap<string, ReadonlyMap<string, number>>;

async function* rankLlmGroups(path: string, value: RunValue): AsyncGenerator<RunGroup> {
  for (const [qid, { docids, scores }] of (await readRankLlm(path)).run)
    yield { qid, docids, values: docids.map((_, i) => (value === 'rank' ? -(i + 1) : scores[i]!)) };
}

/** Reads what `winnow score` and `winnow teach` write, and any other run: TREC, MS MARCO or rank_llm JSON. */
export async function readTeacher(path: string, value: RunValue): Promise<TeacherScores> {
  const scores = new Map<string, Map<string, number>>();
  const groups = isJson(path) || isJsonLines(path) ? rankLlmGroups(path, value) : readRunGroups(path, value);
  for await (const { qid, docids, values } of groups)
    scores.set(qid, new Map(docids.map((docid, i) => [docid, values[i]!])));
  return scores;
}

/** Distance of unknown passages below the teacher's worst one, as a share of the range of its scores. */
const STEP_BELOW = 0.05;

/** Returns one score per passage: the teacher's, or one below its worst for passages it does not know. */
export function scoresOf(docids: readonly string[], known: ReadonlyMap<string, number>): number[] {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const score of known.values()) [low, high] = [Math.min(low, score), Math.max(high, score)];
  const bottom = low - STEP_BELOW * Math.max(1e-6, high - low);
  return docids.map((docid) => known.get(docid) ?? bottom);
}
