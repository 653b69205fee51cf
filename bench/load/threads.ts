import { readdirSync, readFileSync } from 'node:fs';
import { processTree } from './processes.ts';

/* Processor time of the threads of a server, from Linux' /proc. */

/** What a thread of the server or of its hosts does. */
export const STAGES = ['event loop', 'tokenizer', 'collector and files', 'host'] as const;
export type Stage = (typeof STAGES)[number];

/** Seconds of processor time by stage. */
export type StageSeconds = Readonly<Record<Stage, number>>;

/** Reads the nanoseconds that a thread has run; 0 for one that has ended. */
function ranNs(path: string): number {
  try {
    return Number(readFileSync(`${path}/schedstat`, 'utf8').split(' ')[0]);
  } catch {
    return 0;
  }
}

function nameOf(path: string): string {
  try {
    return readFileSync(`${path}/comm`, 'utf8').trim();
  } catch {
    return '';
  }
}

const stageOf = (pid: number, thread: number, name: string): Stage =>
  thread === pid ? 'event loop' : name.startsWith('tokenizer') ? 'tokenizer' : 'collector and files';

/** Returns the processor time that a server and its hosts have used since they started. */
export function stageSeconds(pid: number): StageSeconds {
  const seconds: Record<Stage, number> = { 'event loop': 0, tokenizer: 0, 'collector and files': 0, host: 0 };
  for (const process of processTree(pid))
    for (const thread of threadsOf(process)) {
      const path = `/proc/${process}/task/${thread}`;
      seconds[process === pid ? stageOf(pid, thread, nameOf(path)) : 'host'] += ranNs(path) / 1e9;
    }
  return seconds;
}

function threadsOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).map(Number);
  } catch {
    return [];
  }
}

/** Returns the difference of two readings. */
export function between(before: StageSeconds, after: StageSeconds): StageSeconds {
  const difference = (stage: Stage) => after[stage] - before[stage];
  return {
    'event loop': difference('event loop'),
    tokenizer: difference('tokenizer'),
    'collector and files': difference('collector and files'),
    host: difference('host'),
  };
}
