import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { hostEnvironment } from './host-environment.ts';

interface ChildJobOptions {
  readonly limitMs: number;
  /** Where the errors of the process go: to this process's, or nowhere. */
  readonly stderr: 'inherit' | 'ignore';
}

/** Why a child process gave no answer. */
export class NoAnswer extends Error {
  /** How it ended; undefined where its time was over. */
  readonly end: string | undefined;

  constructor(end?: string) {
    super(end === undefined ? 'the time of the child process was over' : `the child process ended with ${end}`);
    this.end = end;
  }
}

/**
 * Starts a process from a module, sends it one job and resolves to its answer. The process ends itself after its answer and with its parent's
 * channel; after `limitMs` it is killed. Of the environment it gets what a host gets.
 * @throws NoAnswer, and Error where the process does not start.
 */
export function runChildJob(module: URL, job: object, { limitMs, stderr }: ChildJobOptions): Promise<unknown> {
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  const child = fork(fileURLToPath(module), [], {
    stdio: ['ignore', 'ignore', stderr, 'ipc'],
    serialization: 'advanced',
    env: hostEnvironment(process.env, {}),
    execArgv: [],
  });
  const timer = setTimeout(() => {
    reject(new NoAnswer());
    child.kill('SIGKILL');
  }, limitMs);
  child.once('message', resolve);
  child.on('error', reject);
  child.once('exit', (code, signal) => reject(new NoAnswer(signal ?? `code ${code}`)));
  child.send(job, (error) => {
    if (error) reject(error);
  });
  return promise.finally(() => clearTimeout(timer));
}
