import { resolve } from 'node:path';
import { WinnowError } from '../../errors.ts';
import type { Dataset } from '../../evaluation/formats/dataset.ts';
import { loadDataset } from '../../evaluation/formats/load.ts';
import { readQrels } from '../../evaluation/formats/qrels.ts';
import { readRun } from '../../evaluation/formats/run.ts';
import type { Run } from '../../evaluation/measures/evaluation.ts';
import { sha256File } from '../../files.ts';
import { createRandom } from '../../random.ts';
import { sample } from './sampler.ts';
import type { DataSource, Sampler } from './schema.ts';
import type { CandidateList, DataFile, ListSource } from './types.ts';

/** docid → score of one query. */
function scoresOf(run: Run | undefined, qid: string): ReadonlyMap<string, number> | undefined {
  const docs = run?.get(qid);
  return docs && new Map(docs.docids.map((docid, i) => [docid, docs.scores[i]!]));
}

/** Candidates the teacher ranks; those it does not know are placed a step below its last one. */
function teacherScores(
  docids: readonly string[],
  scores: ReadonlyMap<string, number> | undefined,
): number[] | undefined {
  if (!scores) return undefined;
  const known = [...scores.values()];
  const bottom = Math.min(...known) - 0.05 * Math.max(1e-6, Math.max(...known) - Math.min(...known));
  return docids.map((docid) => scores.get(docid) ?? bottom);
}

async function readTeacher(source: DataSource, folder: string): Promise<Run | undefined> {
  if (source.teacher === undefined) return undefined;
  const path = resolve(folder, source.teacher);
  return path.endsWith('.json') ? (await loadDataset({ path })).candidates : readRun(path);
}

/** Grades of the judgements; of queries nobody judged, the teacher's best count as relevant if the recipe says so. */
function gradesOf(
  docids: readonly string[],
  judged: ReadonlyMap<string, number> | undefined,
  scores: readonly number[] | undefined,
  { minRelevance, teacherPositives }: DataSource,
): number[] {
  if (!judged && scores && teacherPositives > 0) {
    const best = [...docids.keys()].sort((a, b) => scores[b]! - scores[a]!).slice(0, teacherPositives);
    return docids.map((_, i) => +best.includes(i));
  }
  return docids.map((docid) => {
    const grade = judged?.get(docid) ?? 0;
    return grade >= minRelevance ? grade : 0;
  });
}

/** Queries that have candidates, with grades from the judgements and scores from the teacher. */
async function readLists(
  dataset: Dataset,
  teacher: Run | undefined,
  source: DataSource,
  heldOut: { has(qid: string): boolean },
): Promise<{ lists: CandidateList[]; skipped: Record<string, number> }> {
  const lists: CandidateList[] = [];
  const skipped: Record<string, number> = {};
  for (const [qid, query] of dataset.queries) {
    if (heldOut.has(qid)) {
      skipped['held out'] = (skipped['held out'] ?? 0) + 1;
      continue;
    }
    const docs = dataset.candidates?.get(qid);
    if (!docs || docs.docids.length === 0) {
      skipped['no candidates'] = (skipped['no candidates'] ?? 0) + 1;
      continue;
    }
    const scores = teacherScores(docs.docids, scoresOf(teacher ?? dataset.candidates, qid));
    const relevance = gradesOf(docs.docids, dataset.qrels.get(qid), scores, source);
    lists.push({
      qid,
      query,
      passages: await dataset.passages.texts(docs.docids),
      relevance,
      ...(scores && { teacher: scores.map((s) => s * source.teacherScale) }),
    });
  }
  return { lists, skipped };
}

/** Opens any data set the evaluation can read as a source of training lists. Fits what fits in memory: thousands of queries. */
export async function datasetSource(source: DataSource, sampler: Sampler, folder: string): Promise<ListSource> {
  const at = (path: string) => resolve(folder, path);
  const dataset = await loadDataset({
    path: at(source.path),
    ...(source.qrels !== undefined && { qrels: at(source.qrels) }),
    ...(source.queries !== undefined && { queries: at(source.queries) }),
    ...(source.collection !== undefined && { corpus: at(source.collection) }),
    ...(source.split !== undefined && { split: source.split }),
  });
  const heldOut = source.excludeJudged === undefined ? new Map() : await readQrels(at(source.excludeJudged));
  const { lists, skipped } = await readLists(dataset, await readTeacher(source, folder), source, heldOut);
  if (lists.length === 0)
    throw new WinnowError('invalid_input', {
      where: source.path,
      expected: 'queries with candidate lists',
      got: `${dataset.queries.size} queries without`,
    });
  const paths = [...new Set([...dataset.files, ...(source.teacher ? [at(source.teacher)] : [])])];
  const files: DataFile[] = await Promise.all(paths.map(async (path) => ({ path, sha256: await sha256File(path) })));
  return {
    files,
    skipped: () => skipped,
    async *lists(seed) {
      for (const list of createRandom(seed).shuffle([...lists])) {
        const sampled = sample(list, sampler, seed);
        if (typeof sampled === 'string') skipped[sampled] = (skipped[sampled] ?? 0) + 1;
        else yield sampled;
      }
    },
  };
}
