import { readdirSync, readFileSync } from 'node:fs';

/*
 * Memory and CPU time of a process and its descendants, and the CPU time of everything else, from Linux' /proc.
 */

/** USER_HZ, 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

interface Stat {
  readonly name: string;
  readonly parent: number;
  readonly ticks: number;
}

function statOf(pid: number | string): Stat | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The command's name may hold spaces and brackets; the fields begin after its last bracket.
    const end = text.lastIndexOf(')');
    const fields = text.slice(end + 2).split(' ');
    const name = text.slice(text.indexOf('(') + 1, end);
    return { name, parent: Number(fields[1]), ticks: Number(fields[11]) + Number(fields[12]) };
  } catch {
    return undefined;
  }
}

/** Reads the state of every process, by its id. */
function allStats(): ReadonlyMap<number, Stat> {
  const stats = new Map<number, Stat>();
  for (const name of readdirSync('/proc')) {
    const stat = /^\d+$/.test(name) ? statOf(name) : undefined;
    if (stat) stats.set(Number(name), stat);
  }
  return stats;
}

/** Lists a process and its descendants. */
export function processTree(pid: number): readonly number[] {
  const stats = allStats();
  const tree = [pid];
  for (const id of tree) for (const [child, { parent }] of stats) if (parent === id) tree.push(child);
  return tree;
}

/** Returns the resident memory of a process tree in bytes; shared pages count in each process. */
export function residentBytes(pid: number): number {
  return processTree(pid).reduce((sum, id) => {
    try {
      return sum + 1024 * Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${id}/status`, 'utf8'))?.[1] ?? 0);
    } catch {
      return sum;
    }
  }, 0);
}

/** Returns the CPU time a process tree has used, in seconds. Unlike elapsed time it hardly depends on other load. */
export function cpuSeconds(pid: number): number {
  return processTree(pid).reduce((sum, id) => sum + (statOf(id)?.ticks ?? 0), 0) / TICKS_PER_SECOND;
}

/** Returns the CPU time of a process without its descendants, all its threads together, in seconds. */
export function ownCpuSeconds(pid: number): number {
  return (statOf(pid)?.ticks ?? 0) / TICKS_PER_SECOND;
}

/** Returns the CPU time of each process whose command begins with `name`, in seconds, by its id. */
export function cpuSecondsNamed(name: string): ReadonlyMap<number, number> {
  const named = [...allStats()].filter(([, stat]) => stat.name.startsWith(name));
  return new Map(named.map(([pid, { ticks }]) => [pid, ticks / TICKS_PER_SECOND]));
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
 * Starts to measure the CPU use of everything but this process and the trees of `pids`. The function returned ends the measurement and
 * returns percent of one core; numbers are comparable if it is near 0.
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
