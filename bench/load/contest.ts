import { median } from './figures.ts';
import { cpuSeconds } from './processes.ts';

/** A side of a comparison: a process, or a server with its processes. */
export interface Contestant {
  readonly pid: number;
  /** Scores all pairs once. @returns milliseconds. */
  round(): Promise<number>;
  /** Ends it. @returns memory in MB. */
  end(): Promise<number>;
}

/** What the rounds of a side showed. */
export interface Figures {
  readonly ms: readonly number[];
  /** Processor seconds of each round, by all processes of the side. */
  readonly cpu: readonly number[];
  readonly mb: number;
}

/** Lets contestants take turns. @returns the figures of each, in their order. */
export async function alternate(all: readonly Contestant[], rounds: number): Promise<readonly Figures[]> {
  const found = all.map(() => ({ ms: [] as number[], cpu: [] as number[] }));
  for (let round = 0; round < rounds; round++) {
    const places = [...all.keys()];
    for (const place of round % 2 ? places.toReversed() : places) {
      const { pid, round: run } = all[place]!;
      const before = cpuSeconds(pid);
      found[place]!.ms.push(await run());
      found[place]!.cpu.push(cpuSeconds(pid) - before);
    }
  }
  const memory: number[] = [];
  for (const one of all) memory.push(await one.end());
  return found.map((one, i) => ({ ...one, mb: memory[i]! }));
}

/**
 * Median over rounds of how many times as fast `mine` is, by processor time: the time by the clock depends on what else runs on the machine,
 * and threads that wait for each other suffer most.
 */
export const ratio = (mine: Figures, other: Figures): number => median(mine.cpu.map((s, i) => other.cpu[i]! / s));
