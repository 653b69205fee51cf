import { spawnSync } from 'node:child_process';

interface RunOptions {
  readonly input?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Default: 2 minutes. */
  readonly timeoutMs?: number;
}

export interface Ran {
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program. @throws Error with the command and the end of its errors. */
export function run(program: string, args: readonly string[], options: RunOptions = {}): Ran {
  const { timeoutMs = 120_000, input = '', env } = options;
  const done = spawnSync(program, args, {
    encoding: 'utf8',
    maxBuffer: 64e6,
    timeout: timeoutMs,
    input,
    env: env ?? process.env,
  });
  if (done.status !== 0)
    throw new Error(
      `${program} ${args.join(' ')}: expected exit code 0, got ${done.error?.message ?? done.status}\n${done.stderr?.slice(-2000) ?? ''}`,
    );
  return { stdout: done.stdout, stderr: done.stderr };
}

/** Whether a program is on this machine. */
export const isThere = (program: string): boolean => spawnSync(program, ['--help']).error === undefined;

/** One statement, and what was seen. `passed` is undefined where it could not be checked. */
export interface Result {
  readonly claim: string;
  readonly seen: string;
  readonly passed: boolean | undefined;
}

/** The first line of a failure. */
export const firstLine = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).trim().replaceAll('\n', ' ').slice(0, 600);
