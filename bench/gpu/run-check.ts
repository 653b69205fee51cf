import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Check } from './checks/check.ts';
import type { Context } from './context.ts';
import { type Finding, findingsIn, shortened } from './findings.ts';

export interface CheckResult {
  readonly findings: readonly Finding[];
  readonly seconds: number;
}

export interface Child {
  /** Program with its arguments; the check's name and the context follow. */
  readonly command: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Milliseconds after which the process and its children are ended. */
  readonly deadlineMs: number;
}

const LAST_LINES = 6;

/** Ends a process with all it has started: it leads a group of its own. */
function endGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}

/**
 * Runs a check in a process of its own. It resolves whatever happens there: a crash or a passed deadline is a finding behind those that were made
 * until then.
 */
export function runCheck(check: Check, context: Context, { command, env, deadlineMs }: Child): Promise<CheckResult> {
  const begin = performance.now();
  const limit = context.small && check.dryRunKilobytes;
  const limited = limit ? ['bash', '-c', `ulimit -v ${limit}; exec "$0" "$@"`, ...command] : command;
  const [program, ...args] = limited as Child['command'];
  const child = spawn(program, [...args, '--check', check.name, '--context', JSON.stringify(context)], {
    env: { ...env, ...check.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const printed: string[] = [];
  const errors: string[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => printed.push(line));
  createInterface({ input: child.stderr }).on('line', (line) => errors.push(line));
  return new Promise((resolve) => {
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      endGroup(child.pid!);
    }, deadlineMs);
    const done = (fault: readonly Finding[]) => {
      clearTimeout(timer);
      if (child.pid !== undefined) endGroup(child.pid);
      const findings = [...findingsIn(printed), ...(check.lines?.(printed) ?? []), ...fault];
      resolve({ findings, seconds: (performance.now() - begin) / 1000 });
    };
    child.on('error', (error) => done([{ what: check.name, status: 'fault', detail: error.message }]));
    child.on('close', (code, signal) => {
      const ended = isLate
        ? `ended at its deadline of ${Math.round(deadlineMs / 1000)} s`
        : `ended by ${signal ?? code}`;
      const detail = shortened(`${ended}. ${errors.slice(-LAST_LINES).join(' ')}`);
      done(code === 0 ? [] : [{ what: check.name, status: 'fault', detail }]);
    });
  });
}
