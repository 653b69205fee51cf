import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

/*
 * How a contestant's process is spoken to: a file with its job, then lines of JSON. It writes {"ready": versions} when it is warm. For each
 * line {"run": "speed"} it scores the batches of that name and answers {"seconds", "scores"}; the scores follow the batches and are left out
 * after `speed`. It ends with its input. test/clients/peers/side.py is the same in Python.
 */

/** Which batches are scored: those of a timed round, all pairs, pairs alone, or pairs among others of any length. */
export type RunName = 'speed' | 'all' | 'alone' | 'mixed';

/** Numbers in batches are places in `rows` or `pairs`. */
export interface SideJob extends Readonly<Record<RunName, readonly (readonly number[])[]>> {
  /** Model file or folder. */
  readonly file: string;
  readonly precision: string;
  readonly threads: number;
  readonly maxLength: number;
  /** Token ids and the place where the passage begins, for engines. */
  readonly rows: readonly (readonly [ids: readonly number[], secondSegment: number])[];
  /** Query and passage, for programs that tokenize. */
  readonly pairs: readonly (readonly [string, string])[];
  /** Batches that are scored before the process is ready. */
  readonly warm: readonly (readonly number[])[];
}

/** Returns the job that this process was started with. */
export const readJob = (): SideJob => JSON.parse(readFileSync(process.argv[2]!, 'utf8'));

const say = (value: object) => process.stdout.write(`${JSON.stringify(value)}\n`);

/** Serves runs until the input ends. @param score returns the scores of a batch. */
export async function serveRuns(
  version: string,
  job: SideJob,
  score: (batch: readonly number[]) => Promise<ArrayLike<number>>,
): Promise<void> {
  for (const batch of job.warm) await score(batch);
  say({ ready: version });
  for await (const line of createInterface({ input: process.stdin })) {
    const { run } = JSON.parse(line) as { run: RunName };
    const begin = performance.now();
    const scores: number[] = [];
    for (const batch of job[run]) scores.push(...Array.from(await score(batch)));
    const seconds = (performance.now() - begin) / 1000;
    say(run === 'speed' ? { seconds } : { seconds, scores });
  }
}
