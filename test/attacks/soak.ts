import { readdirSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { ServerProcess } from '../../bench/load/server.ts';
import type { Drill, Target } from './harness/drill.ts';
import { residentBytes } from './harness/memory.ts';
import { trackStarts } from './harness/starts.ts';
import { watch } from './harness/witness.ts';

/** What is sampled while drills run together. */
interface Sample {
  readonly atMs: number;
  readonly rssMiB: number;
  readonly descriptors: number;
  readonly series: number;
  /** Event-loop delay of the server, 99th percentile, in milliseconds. */
  readonly loopMs: number;
}

async function sample(server: ServerProcess, startedAt: number): Promise<Sample> {
  const text = await fetch(`${server.url}/metrics`).then((answer) => answer.text());
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  const loop = lines.find((line) => line.startsWith('nodejs_eventloop_lag_p99_seconds '));
  return {
    atMs: performance.now() - startedAt,
    rssMiB: residentBytes(server.pid) / 2 ** 20,
    descriptors: readdirSync(`/proc/${server.pid}/fd`).length,
    series: lines.length,
    loopMs: 1000 * Number(loop?.split(' ')[1] ?? Number.NaN),
  };
}

const median = (values: readonly number[]) =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

/** Runs drills together, in turn, for so long; says what grew. */
export async function soak(
  server: ServerProcess,
  drills: readonly Drill[],
  target: Target,
  minutes: number,
): Promise<{ readonly rounds: number; readonly failures: readonly string[]; readonly seen: string }> {
  const failures: string[] = [];
  const samples: Sample[] = [];
  const startedAt = performance.now();
  const endsAt = startedAt + 60_000 * minutes;
  const witness = watch(server.url);
  let running = true;
  const sampling = (async () => {
    while (running) {
      await sample(server, startedAt).then(
        (one) => samples.push(one),
        (error: Error) => failures.push(`no sample: ${error.message}`),
      );
      await delay(5000);
    }
  })();
  let rounds = 0;
  while (performance.now() < endsAt) {
    const servers = trackStarts(target.start);
    const round: Target = { ...target, start: servers.start };
    const outcomes = await Promise.all(drills.map((drill) => drill.run(round, 1)));
    await servers.stopAll();
    rounds++;
    const found = outcomes.flatMap((one, i) => one.failures.map((failure) => `${drills[i]!.name}: ${failure}`));
    failures.push(...found);
    process.stdout.write(
      `round ${rounds}: ${((performance.now() - startedAt) / 60_000).toFixed(1)} min, ${failures.length} failures\n`,
    );
    for (const failure of found) process.stdout.write(`             - ${failure}\n`);
  }
  running = false;
  await sampling;
  const { requests, failures: unanswered, slowestMs } = await witness.stop();
  failures.push(...unanswered.map((failure) => `ordinary request: ${failure}`));
  const third = Math.max(1, Math.floor(samples.length / 3));
  const [first, last] = [samples.slice(0, third), samples.slice(-third)];
  const both = (of: (one: Sample) => number) =>
    `${median(first.map(of)).toFixed(0)} → ${median(last.map(of)).toFixed(0)}`;
  return {
    rounds,
    failures,
    seen: [
      `${requests} ordinary requests, slowest ${slowestMs.toFixed(0)} ms`,
      `memory ${both((one) => one.rssMiB)} MiB`,
      `descriptors ${both((one) => one.descriptors)}`,
      `series ${both((one) => one.series)}`,
      `loop p99 ${both((one) => one.loopMs)} ms (medians of the first and the last third)`,
    ].join('; '),
  };
}
