import { rm } from 'node:fs/promises';
import { lockOutput } from '../../util/lock-file.ts';
import type { Progress, StartProgress } from '../../util/progress.ts';
import { nothingLeft, skipCount } from '../data/list-types.ts';
import type { Normalization } from './ensemble.ts';
import { jobLists, type ListScorer, runScoreJob, type ScoreJob } from './score-job.ts';
import { type CutTexts, cutTexts, meanOfLogs, writeTeacherFile } from './teacher-file.ts';

export interface TeacherOutput {
  readonly path: string;
  readonly normalization: Normalization;
  /** Last column of a TREC run. */
  readonly tag: string;
  /** File that keeps the scores of the teacher at a place until all teachers are done. */
  readonly logOf: (place: number) => string;
  /** Starts the display of one teacher's progress over `total` lists. */
  readonly progress: StartProgress;
}

type LeftOut = Readonly<Record<string, number>>;

/** Counts the lists of a job, and the queries and rows that are left out by reason. @throws WinnowError `invalid_input` for none at all. */
async function countLists(job: ScoreJob): Promise<{ readonly total: number; readonly leftOut: LeftOut }> {
  const counts = skipCount();
  let total = 0;
  for await (const _ of jobLists(job, counts)) total++;
  const leftOut = counts.skipped();
  if (total > 0 || job.shard.of > 1) return { total, leftOut };
  throw nothingLeft(job.source.files[0] ?? 'lists', 'at least 1 list', leftOut);
}

/**
 * Scores the lists of a job with each scorer in turn and writes the mean of their scores. A job that was stopped continues after the last
 * scored list.
 * @throws WinnowError `in_use` where another process writes the same file.
 */
export const scoreToFile = (
  job: ScoreJob,
  scorers: AsyncIterable<ListScorer>,
  output: TeacherOutput,
): Promise<Scored> => lockOutput(output.path, () => scoreAlone(job, scorers, output));

interface Scored {
  readonly queries: number;
  readonly passages: number;
  readonly leftOut: LeftOut;
  readonly cut: CutTexts;
}

async function scoreAlone(job: ScoreJob, scorers: AsyncIterable<ListScorer>, output: TeacherOutput): Promise<Scored> {
  const { total, leftOut } = await countLists(job);
  const logs: string[] = [];
  for await (const scorer of scorers) {
    const log = output.logOf(logs.length);
    logs.push(log);
    let progress: Progress | undefined;
    await runScoreJob(job, scorer, log, (done) => {
      progress ??= output.progress(scorer.name, total, done);
      progress.update(done, 'lists');
    }).finally(() => progress?.stop());
  }
  const scores = meanOfLogs(logs, output.normalization);
  const written = await writeTeacherFile(output.path, scores, () => jobLists(job), output.tag);
  const cut = await cutTexts(logs);
  for (const log of logs) await rm(log);
  return { ...written, leftOut, cut };
}
