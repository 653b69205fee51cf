import { readFileSync } from 'node:fs';

/** Whether a process of this machine has that id now. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

function readOptional(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return undefined;
  }
}

/** Where `/proc/PID/stat` has the start of the process, counted behind the name in brackets, which may have spaces (proc_pid_stat(5)). */
const START_FIELD = 19;

/**
 * Returns text that differs for two processes which had one id after each other: the boot, and the start in clock ticks since then. Undefined
 * where there is no such process or no `/proc`.
 */
export function startOf(pid: number): string | undefined {
  const stat = readOptional(`/proc/${pid}/stat`);
  const ticks = stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[START_FIELD];
  const boot = readOptional('/proc/sys/kernel/random/boot_id');
  return ticks === undefined || boot === undefined ? undefined : `${boot}/${ticks}`;
}
