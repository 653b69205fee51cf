import { cpuBudget } from './cgroup.ts';
import type { Provider } from './inference-types.ts';

/** Number of hosts, and threads of each. */
export interface Layout {
  readonly hosts: number;
  readonly threads: number;
}

/** Whether a provider opens the device with a given index. WebGPU takes the adapter that its driver prefers. */
export const choosesDevice = (provider: Provider): boolean => provider === 'cuda';

/** Returns the device of a host: hosts are dealt out to the devices in turn. Undefined without devices. */
export const deviceOf = (devices: readonly number[], host: number): number | undefined =>
  devices[host % devices.length];

/**
 * Cores from which on one of them is left to HTTP and tokenization. Below, they take less than half a core when every host is busy, and hosts
 * run at a lower priority (docs/inference.md has the measurement).
 */
const CORES_WITH_A_FREE_ONE = 8;

/** Returns the cores for hosts. */
const coresForHosts = (budget: number): number => (budget >= CORES_WITH_A_FREE_ONE ? budget - 1 : budget);

/**
 * Returns the layout for a provider. On the CPU the default is one host for each core, from 8 cores on less one, with one thread each: two batches on two cores run faster
 * than one batch on two threads (docs/inference.md has the measurement). A GPU runs one batch at a time, so the default is one host for
 * each device that the provider can choose.
 * @param hosts 0 derives it.
 * @param threads Threads of each host; 0 derives it.
 * @param devices Number of devices.
 */
export function chooseLayout(provider: Provider, hosts = 0, threads = 0, budget = cpuBudget(), devices = 1): Layout {
  const onGpu = choosesDevice(provider) ? devices : 1;
  const cores = provider === 'cpu' ? coresForHosts(budget) : budget;
  const derived = provider === 'cpu' ? Math.max(1, Math.floor(cores / Math.max(1, threads))) : onGpu;
  const count = hosts || derived;
  return { hosts: count, threads: threads || Math.max(1, Math.floor(cores / count)) };
}

/** Returns every even division of the CPU budget: 4 → 1x4, 2x2, 4x1. */
export function layouts(budget = cpuBudget()): readonly Layout[] {
  return Array.from({ length: budget }, (_, i) => i + 1)
    .filter((hosts) => budget % hosts === 0)
    .map((hosts) => ({ hosts, threads: budget / hosts }));
}
