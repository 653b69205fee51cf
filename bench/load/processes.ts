import { readdirSync, readFileSync } from 'node:fs';

/*
 * Memory of a process and its descendants, and what the rest of the machine did meanwhile, from Linux' /proc.
 */

const TICKS_PER_SECOND = 100;

interface Stat {
  readonly parent: number;
  readonly ticks: number;
}

function statOf(pid: number | string): Stat | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The command's name may hold spaces and brackets; the fields begin behind its last one.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return { parent: Number(fields[1]), ticks: Number(fields[11]) + Number(fields[12]) };
  } catch {
    return undefined;
  }
}

/** A process and all below it. */
export function processTree(pid: number): readonly number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc')) {
    const stat = /^\d+$/.test(name) ? statOf(name) : undefined;
    if (stat) parents.set(Number(name), stat.parent);
  }
  const tree = [pid];
  for (const parent of tree) for (const [child, its] of parents) if (its === parent) tree.push(child);
  return tree;
}

/** Resident memory of a process tree in bytes; pages that processes share count in each. */
export function residentBytes(pid: number): number {
  return processTree(pid).reduce((sum, id) => {
    try {
      return sum + 1024 * Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${id}/status`, 'utf8'))?.[1] ?? 0);
    } catch {
      return sum;
    }
  }, 0);
}

/** CPU time that a process tree has used, in seconds: what work costs, however busy the machine is with other things. */
export function cpuSeconds(pid: number): number {
  return processTree(pid).reduce((sum, id) => sum + (statOf(id)?.ticks ?? 0), 0) / TICKS_PER_SECOND;
}

/** The same of a process without those below it, all its threads together. */
export function ownCpuSeconds(pid: number): number {
  return (statOf(pid)?.ticks ?? 0) / TICKS_PER_SECOND;
}

function busyTicks(): number {
  const [user, nice, system, , , irq, soft, steal] = readFileSync('/proc/stat', 'utf8')
    .split('\n')[0]!
    .split(/\s+/)
    .slice(1)
    .map(Number) as [number, number, number, number, number, number, number, number];
  return user + nice + system + irq + soft + steal;
}

/**
 * Measures until the returned function is called: CPU of everything but this process and the trees of `pids`, in percent of one core. Near
 * 0 means that the machine was quiet and the numbers count.
 */
export function watchOthers(pids: readonly number[]): () => number {
  const known = () =>
    [process.pid, ...pids.flatMap(processTree)].reduce((sum, pid) => sum + (statOf(pid)?.ticks ?? 0), 0);
  const from = { at: performance.now(), busy: busyTicks(), known: known() };
  return () => {
    const others = busyTicks() - from.busy - (known() - from.known);
    return Math.max(0, Math.round(((others / TICKS_PER_SECOND) * 1e5) / (performance.now() - from.at)));
  };
}
