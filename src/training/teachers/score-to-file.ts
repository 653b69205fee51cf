import { rm } from 'node:fs/promises';
import type { Progress } from '../../util/progress.ts';
import type { Normalization } from './ensemble.ts';
import { jobLists, type ListScorer, runScoreJob, type ScoreJob } from './score-job.ts';
import { meanOfLogs, writeTeacherFile } from './teacher-file.ts';

export interface TeacherOutput {
  readonly path: string;
  readonly normalization: Normalization;
  /** Last column of a TREC run. */
  readonly tag: string;
  /** File that keeps the scores of the teacher at a place until all teachers are done. */
  readonly logOf: (place: number) => string;
  /** Starts the display of one teacher's progress over `total` lists. */
  readonly progress: (scorer: string, total: number) => Progress;
}

async function countLists(job: ScoreJob): Promise<number> {
  let lists = 0;
  for await (const _ of jobLists(job)) lists++;
  return lists;
}

/**
 * Scores the lists of a job with each scorer in turn and writes the mean of their scores. A job that was stopped continues after the last
 * scored list.
 */
export async function scoreToFile(
  job: ScoreJob,
  scorers: AsyncIterable<ListScorer>,
  output: TeacherOutput,
): Promise<{ readonly queries: number; readonly passages: number }> {
  const total = await countLists(job);
  const logs: string[] = [];
  for await (const scorer of scorers) {
    const log = output.logOf(logs.length);
    logs.push(log);
    const progress = output.progress(scorer.name, total);
    await runScoreJob(job, scorer, log, (done) => progress.update(done, 'lists')).finally(() => progress.stop());
  }
  const scores = meanOfLogs(logs, output.normalization);
  const written = await writeTeacherFile(output.path, scores, () => jobLists(job), output.tag);
  for (const log of logs) await rm(log);
  return written;
}
