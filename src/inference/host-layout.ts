import { cpuBudget } from './cgroup.ts';
import type { Provider } from './inference-types.ts';

/** How many hosts run side by side, and with how many threads each. */
export interface Layout {
  readonly hosts: number;
  readonly threads: number;
}

/**
 * Hosts and threads where neither is set. On the CPU one host a core, one thread each: rows of a batch share nothing, so two batches side
 * by side scale better than one batch cut over two threads (docs/inference.md has the measurement). A GPU runs one batch at a time: one host.
 * @param hosts 0 derives it; likewise threads.
 */
export function planLayout(provider: Provider, hosts = 0, threads = 0, budget = cpuBudget()): Layout {
  const derived = provider === 'cpu' ? Math.max(1, Math.floor(budget / Math.max(1, threads))) : 1;
  const count = hosts || derived;
  return { hosts: count, threads: threads || Math.max(1, Math.floor(budget / count)) };
}

/** Every way to share the budget out evenly: 4 → 1x4, 2x2, 4x1. */
export function layouts(budget = cpuBudget()): readonly Layout[] {
  return Array.from({ length: budget }, (_, i) => i + 1)
    .filter((hosts) => budget % hosts === 0)
    .map((hosts) => ({ hosts, threads: budget / hosts }));
}
