/*
 * Makes what the grids of this folder read, in runs/paper-mini:
 *
 *   node recipes/paper-mini/prepare.ts
 *
 * Training lists: judged queries and queries made of web passages (MS MARCO), as those of ensemble-models are, so that no text of a test set is
 * trained on. Teachers: an ensemble of three sentence encoders and SPLADE++, and e5-small-v2 alone. Test sets with their candidates. The encoders and
 * their vectors are kept in runs/ensemble-models, where that recipe finds them. Every step is skipped once its file exists.
 */
import { join } from 'node:path';
import { Bm25Index } from '../../src/evaluation/first-stage/index/bm25-index.ts';
import { buildIndex } from '../../src/evaluation/first-stage/index/build-index.ts';
import { bm25Stage } from '../../src/evaluation/first-stage/stages.ts';
import type { DatasetSpec } from '../../src/evaluation/formats/dataset.ts';
import { loadDataset } from '../../src/evaluation/formats/load-dataset.ts';
import { readRun, writeRun } from '../../src/evaluation/formats/run.ts';
import { writeLines } from '../../src/evaluation/formats/write-lines.ts';
import { normalized } from '../../src/training/teachers/ensemble.ts';
import { temporaryFolder } from '../../src/util/files.ts';
import { DATA, ROOT, runSteps, type Step } from '../build/steps.ts';
import { judgedLists, poolLists, rankLlmLine, readJudged } from '../ensemble-models/lists.ts';
import { listFile, readPools } from '../ensemble-models/pools.ts';
import { refusedQueries, writeSparse } from '../ensemble-models/prepare.ts';
import { makeQueries } from '../ensemble-models/queries.ts';
import {
  encoderSteps,
  ensembleSteps,
  FETCHED_FOLDERS,
  fetchSteps,
  scoreFile,
  TEACHERS,
  VECTORS,
} from '../ensemble-models/steps.ts';

const OUT = join(ROOT, 'runs/paper-mini');

const fileOf = (name: string): string => join(OUT, name);
const SPLADE = fileOf('splade.run');

/** Lists that teachers score: those to train on, and BM25's of dl21, by whose held-out queries the ensemble's weights are chosen. */
const TRAINED = { judged: fileOf('judged.jsonl'), web: fileOf('web.jsonl') } as const;
const SCORED: Readonly<Record<string, string>> = { dl21: listFile(DATA, 'BM25', 'dl21'), ...TRAINED };
const SOURCES = Object.keys(SCORED);

/** Makes the lists to train on, and judgements of the queries that are kept from training. */
async function writeLists(): Promise<void> {
  const judged = await readJudged(DATA);
  const without = new Set([...judged.heldOut, ...judged.keptBack]);
  await writeSparse(DATA, SPLADE);
  await writeLines(fileOf('held-out.qrels'), judged.lines(judged.heldOut));
  await writeLines(fileOf('validation.qrels'), judged.lines(without));
  await writeLines(TRAINED.judged, (await judgedLists(DATA, without)).map(rankLlmLine));
  const { web } = await readPools(DATA, without);
  const queries = await makeQueries(DATA, 'web', web, await refusedQueries(DATA));
  const lists = await poolLists(queries, web, { encoders: FETCHED_FOLDERS, vectors: VECTORS });
  await writeLines(TRAINED.web, lists.map(rankLlmLine));
}

/** Writes a teacher's scores of all training lists as one run, with a mean of 0 and a deviation of 1 in each list. */
async function writeTeacher(teacher: string, path: string): Promise<void> {
  const runs = await Promise.all(Object.keys(TRAINED).map((source) => readRun(scoreFile(teacher, source, OUT))));
  const scaled = runs.flatMap((run) =>
    [...run].map(
      ([qid, { docids, scores }]) => [qid, { docids, scores: normalized(Array.from(scores), 'z') }] as const,
    ),
  );
  await writeRun(path, new Map(scaled), teacher);
}

/** Writes a test set with BM25's candidates as lists of rank_llm, and its judgements. */
async function writeTestSet(name: string, spec: DatasetSpec, depth: number, most: number): Promise<void> {
  const { queries, qrels, passages } = await loadDataset(spec);
  const asked = new Map([...queries].filter(([qid]) => qrels.has(qid)).slice(0, most));
  await using folder = await temporaryFolder('paper-mini');
  await buildIndex(join(folder.path, 'index'), passages.entries());
  const index = new Bm25Index(join(folder.path, 'index'));
  const run = await bm25Stage(index).retrieve(asked, depth);
  index.close();
  const lists: string[] = [];
  for (const [qid, query] of asked) {
    const { docids } = run.get(qid)!;
    const texts = await passages.texts(docids);
    lists.push(rankLlmLine({ qid, query, passages: docids.map((docid, i) => ({ docid, text: texts[i]! })) }));
  }
  await writeLines(fileOf(`${name}.jsonl`), lists);
  const judged = [...qrels].filter(([qid]) => asked.has(qid));
  await writeLines(
    fileOf(`${name}.qrels`),
    judged.flatMap(([qid, grades]) => [...grades].map(([docid, grade]) => `${qid} 0 ${docid} ${grade}`)),
  );
}

const place = {
  folder: OUT,
  heldOut: fileOf('held-out.qrels'),
  listFlags: (source: string) => ['--format', 'rank-llm', '--data', SCORED[source]!],
};
const teacherStep = (teacher: string, path: string): Step => ({
  name: `teacher ${teacher}`,
  output: path,
  run: () => writeTeacher(teacher, path),
});

const steps: readonly Step[] = [
  ...fetchSteps(),
  { name: 'candidate lists', output: TRAINED.web, run: writeLists },
  ...encoderSteps(SOURCES, place),
  ...ensembleSteps(
    'ensemble',
    SOURCES,
    (source) => [...TEACHERS.map((teacher) => scoreFile(teacher, source, OUT)), SPLADE],
    place,
  ),
  teacherStep('ensemble', fileOf('ensemble.run')),
  teacherStep('e5-small-v2', fileOf('e5.run')),
  {
    name: 'Cranfield',
    output: fileOf('cranfield.qrels'),
    run: () => writeTestSet('cranfield', { path: join(DATA, 'cranfield') }, 20, Number.POSITIVE_INFINITY),
  },
  {
    name: 'XQuAD',
    output: fileOf('xquad.qrels'),
    run: () => writeTestSet('xquad', { path: join(DATA, 'xquad-en/xquad.en.json') }, 10, 150),
  },
];

await runSteps(steps, fileOf('times.jsonl'));
