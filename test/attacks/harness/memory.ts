import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { ServerProcess } from '../../../bench/load/server.ts';
import { ordinary } from './witness.ts';

/** Resident memory of a process without its children, in bytes. */
export function residentBytes(pid: number): number {
  const pages = Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]);
  return pages * 4096;
}

/** What ordinary requests and the server's memory were while something went on. */
interface Beside {
  readonly failures: readonly string[];
  readonly slowestMs: number;
  readonly mostBytes: number;
}

/** Sends ordinary requests, two a second, and samples the memory of the server. */
export async function sampleBeside(server: ServerProcess, rounds: number): Promise<Beside> {
  const failures: string[] = [];
  let [slowestMs, mostBytes] = [0, 0];
  for (let i = 0; i < rounds; i++) {
    const seen = await ordinary(server.url, 5000);
    if (typeof seen === 'string') failures.push(seen);
    else slowestMs = Math.max(slowestMs, seen);
    mostBytes = Math.max(mostBytes, residentBytes(server.pid));
    await delay(500);
  }
  return { failures, slowestMs, mostBytes };
}
