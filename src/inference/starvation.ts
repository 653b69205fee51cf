import { readFileSync } from 'node:fs';

/** `USER_HZ`, 100 on every Linux that Node runs on. */
const MS_PER_TICK = 10;

/** Whether a process wants a processor, and the processor time that it has had. */
export interface ProcessorUse {
  readonly wantsProcessor: boolean;
  /** Milliseconds since its start, over all its threads. */
  readonly cpuMs: number;
}

/** Reads a line of `/proc/PID/stat`. The name of the command may hold spaces and brackets: fields begin after its last bracket. */
export function parseStat(text: string): ProcessorUse {
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return { wantsProcessor: fields[0] === 'R', cpuMs: MS_PER_TICK * (Number(fields[11]) + Number(fields[12])) };
}

/** Returns what a process uses; undefined where the system does not say, or the process is gone. */
export function processorUse(pid: number): ProcessorUse | undefined {
  try {
    return parseStat(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return undefined;
  }
}

/** Longest time of the clock that a starved call may take, in limits. */
const MOST_LIMITS = 10;

/** A call that is not answered within its limit. Times are in milliseconds. */
interface OverdueCall {
  readonly limitMs: number;
  /** By the clock, since it began. */
  readonly elapsedMs: number;
  /** Processor time of the host when it began. */
  readonly cpuMsBefore: number;
}

/**
 * Returns how much longer a host may take for a call: its limit counts processor time while the host waits for a processor, because on a machine that
 * others use too a replacement would wait as long. A host that sleeps, is stopped or has had its time is stuck: 0.
 */
export function extraMs({ limitMs, elapsedMs, cpuMsBefore }: OverdueCall, use: ProcessorUse | undefined): number {
  if (!use?.wantsProcessor) return 0;
  const left = limitMs - Math.max(0, use.cpuMs - cpuMsBefore);
  return Math.max(0, Math.min(left, MOST_LIMITS * limitMs - elapsedMs));
}
