/*
 * Makes what the grids of this folder read, in runs/paper-mini:
 *
 *   node recipes/paper-mini/prepare.ts
 *
 * Training lists: those of the shipped models that hold web passages only (MS MARCO), so that no text of a test set is trained on. Teachers: the ensemble
 * of the shipped models, and e5-small-v2 alone. Test sets with their candidates. Steps of `npm run train:models` that are not done are run first.
 */
import { existsSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Bm25Index } from '../../src/evaluation/first-stage/index/bm25-index.ts';
import { buildIndex } from '../../src/evaluation/first-stage/index/build-index.ts';
import { bm25Stage } from '../../src/evaluation/first-stage/stages.ts';
import type { DatasetSpec } from '../../src/evaluation/formats/dataset.ts';
import { loadDataset } from '../../src/evaluation/formats/load-dataset.ts';
import { readRun, writeRun } from '../../src/evaluation/formats/run.ts';
import { writeLines } from '../../src/evaluation/formats/write-lines.ts';
import type { Run } from '../../src/evaluation/measures/evaluation.ts';
import { normalized } from '../../src/training/teachers/ensemble.ts';
import { temporaryFolder, writeFileAtomic } from '../../src/util/files.ts';
import { rankLlmLine } from '../shipped-models/lists.ts';
import { allSteps, DATA, ROOT, runSteps, WORK as SHIPPED } from '../shipped-models/steps.ts';

const OUT = join(ROOT, 'runs/paper-mini');

/** Sources whose queries are made of web passages; the ids of others do not begin like this. */
const WEB = ['questions', 'definitions', 'sentences', 'keywords'] as const;
const isWeb = (source: string, qid: string): boolean => qid.startsWith(`${source}-web-`);

/** Returns a source's scores by a teacher. */
const scoresOf = (teacher: string, source: string): Promise<Run> =>
  readRun(join(SHIPPED, 'scores', `${teacher}.${source}.run`));

/** Writes a teacher's scores of all training lists as one run, with a mean of 0 and a deviation of 1 in each list. */
async function writeTeacher(teacher: string, path: string): Promise<void> {
  const all = [...(await scoresOf(teacher, 'judged'))];
  for (const source of WEB) all.push(...[...(await scoresOf(teacher, source))].filter(([qid]) => isWeb(source, qid)));
  const scaled = all.map(
    ([qid, { docids, scores }]) => [qid, { docids, scores: normalized(Array.from(scores), 'z') }] as const,
  );
  await writeRun(path, new Map(scaled), teacher);
}

async function webLists(): Promise<string[]> {
  const lines: string[] = [];
  for (const source of WEB) {
    const text = await readFile(join(SHIPPED, 'data/lists', `${source}.jsonl`), 'utf8');
    lines.push(...text.split('\n').filter((line) => line.includes(`"qid":"${source}-web-`)));
  }
  return lines;
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
  await writeLines(join(OUT, `${name}.jsonl`), lists);
  const judged = [...qrels].filter(([qid]) => asked.has(qid));
  await writeLines(
    join(OUT, `${name}.qrels`),
    judged.flatMap(([qid, grades]) => [...grades].map(([docid, grade]) => `${qid} 0 ${docid} ${grade}`)),
  );
}

const DONE = join(OUT, 'prepared.json');

if (existsSync(DONE)) process.stdout.write(`${OUT} is prepared\n`);
else {
  await runSteps(allSteps(), `ensemble of ${WEB.at(-1)}`);
  await mkdir(OUT, { recursive: true });
  const web = await webLists();
  await writeLines(join(OUT, 'web.jsonl'), web);
  await writeTeacher('ensemble', join(OUT, 'ensemble.run'));
  await writeTeacher('e5-small-v2', join(OUT, 'e5.run'));
  const judgements = ['held-out', 'kept-back'].map((name) => readFile(join(SHIPPED, 'data', `${name}.qrels`), 'utf8'));
  await writeFileAtomic(join(OUT, 'validation.qrels'), (await Promise.all(judgements)).join(''));
  await writeTestSet('cranfield', { path: join(DATA, 'cranfield') }, 20, Number.POSITIVE_INFINITY);
  await writeTestSet('xquad', { path: join(DATA, 'xquad-en/xquad.en.json') }, 10, 150);
  await writeFileAtomic(DONE, `${JSON.stringify({ webLists: web.length }, null, 2)}\n`);
}
