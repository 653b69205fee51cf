import { readFileSync } from 'node:fs';
import { availableParallelism, totalmem } from 'node:os';

type Read = (path: string) => string | undefined;

const readText: Read = (path) => {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return undefined;
  }
};

/** Returns the cores of a quota and its period in microseconds; undefined without a limit. */
function cores(quota: string | undefined, period: string | undefined): number | undefined {
  const limit = Number(quota) / Number(period);
  return Number.isFinite(limit) && limit > 0 ? limit : undefined;
}

/** Returns a cgroup's folder and all folders above it, whose limits hold too. */
function ancestors(path: string): string[] {
  const parts = path.split('/').filter(Boolean);
  return parts.map((_, i) => `/${parts.slice(0, parts.length - i).join('/')}`).concat('');
}

function ownGroup(read: Read, controller: string): string {
  const lines = read('/proc/self/cgroup')?.split('\n') ?? [];
  const own = lines.map((line) => line.split(':')).find(([, names]) => names?.split(',').includes(controller));
  return own?.slice(2).join(':') ?? '/';
}

function quotas(read: Read): (number | undefined)[] {
  const v2 = ancestors(ownGroup(read, '')).map((group) => {
    const [quota, period] = read(`/sys/fs/cgroup${group}/cpu.max`)?.split(/\s+/) ?? [];
    return cores(quota, period);
  });
  const v1 = ancestors(ownGroup(read, 'cpu')).map((group) =>
    cores(read(`/sys/fs/cgroup/cpu${group}/cpu.cfs_quota_us`), read(`/sys/fs/cgroup/cpu${group}/cpu.cfs_period_us`)),
  );
  return [...v2, ...v1];
}

function memoryMaxima(read: Read): number[] {
  const v2 = ancestors(ownGroup(read, '')).map((group) => read(`/sys/fs/cgroup${group}/memory.max`));
  const v1 = ancestors(ownGroup(read, 'memory')).map((group) =>
    read(`/sys/fs/cgroup/memory${group}/memory.limit_in_bytes`),
  );
  // `max` is no number; version 1 has the largest multiple of a page in its place, which is more than any machine has.
  return [...v2, ...v1].map(Number).filter((limit) => limit > 0);
}

/**
 * Returns the bytes of memory that this process and its children may use together: the least of the limits of its cgroup and the cgroups above
 * (v2 `memory.max`, v1 `memory.limit_in_bytes`) and of the memory of the machine.
 */
export const memoryBudget = (read: Read = readText, total = totalmem()): number =>
  Math.min(total, ...memoryMaxima(read));

/**
 * Returns the cores that this process may use: the least of the CPU quota of its cgroup and the cgroups above (v2 `cpu.max`, v1
 * `cpu.cfs_quota_us`) and of the processors it may be scheduled on. A quota of 1.5 counts as 1: a second thread would be throttled half of
 * the time.
 */
export function cpuBudget(read: Read = readText, parallelism = availableParallelism()): number {
  const limits = quotas(read).filter((limit) => limit !== undefined);
  return Math.max(1, Math.floor(Math.min(parallelism, ...limits)));
}
