/*
 * The service under load, in one run with its own engine and with @huggingface/transformers on the same requests:
 *
 *   npm run bench:serve -- [--quick] [--passages 20] [--deadline 2000] [--seconds 30] [--rounds 5] [--pairs 1200] [--json FILE]
 *                          [--models FOLDER] [--flags '--inference-hosts 2 …']
 *
 * Rounds alternate engine, server and peer, so that what else the machine does falls on all of them; `other CPU` says how much that was.
 */
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createLoadClient, type LoadClient } from './load/client.ts';
import { openLoop } from './load/loops.ts';
import { residentBytes, watchOthers } from './load/processes.ts';
import { summarize } from './load/report.ts';
import { type LoadRequest, loadTopics, requestStream } from './load/requests.ts';
import { type ServerProcess, startServerProcess } from './load/server.ts';
import { judge, type Overload, report, type ServeResult } from './serve-report.ts';
import { alternate, CONCURRENCY, servedBy, serverRound } from './serve-rounds.ts';

const MULTIPLES = [0.5, 1, 2, 3] as const;
const P99 = 'winnow_event_loop_delay_seconds{quantile="0.99"}';

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    models: { type: 'string', default: join(import.meta.dirname, '../models') },
    passages: { type: 'string', default: '20' },
    deadline: { type: 'string', default: '2000' },
    seconds: { type: 'string' },
    rounds: { type: 'string' },
    pairs: { type: 'string' },
    flags: { type: 'string', default: '' },
    seed: { type: 'string', default: '1' },
    json: { type: 'string' },
  },
});
const base = options.quick
  ? { seconds: 6, rounds: 2, pairs: 240, starts: 1 }
  : { seconds: 30, rounds: 5, pairs: 1200, starts: 5 };
const plan = {
  starts: base.starts,
  seconds: Number(options.seconds ?? base.seconds),
  rounds: Number(options.rounds ?? base.rounds),
  pairs: Number(options.pairs ?? base.pairs),
  passages: Number(options.passages),
  deadlineMs: Number(options.deadline),
  seed: Number(options.seed),
};
const { source, topics } = loadTopics();
const flags = ['--models', options.models, ...options.flags.split(' ').filter(Boolean)];

async function timeToReady(): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < plan.starts; i++) {
    const server = await startServerProcess({ flags });
    times.push(server.readyMs);
    await server.stop();
  }
  return times;
}

type OpenLoad = Omit<Overload, 'capacity'>;

async function overload(client: LoadClient, capacity: number, multiple: number): Promise<OpenLoad> {
  const { passages, seconds, seed, deadlineMs } = plan;
  const rate = (capacity * multiple) / passages;
  const stream = requestStream(topics, passages, seed + Math.round(100 * multiple));
  const run = await openLoop(client, stream, { rate, seconds, seed, deadlineMs });
  const summary = { multiple, rate, ...summarize(run, deadlineMs) };
  console.error(`${multiple}×: goodput ${summary.goodput.toFixed(1)} pairs/s, p99 ${summary.p99.toFixed(0)} ms`);
  return summary;
}

/**
 * All multiples of the capacity, and the delay of the event loop in the worst of them. The capacity is measured again before and after
 * each: a machine does not do the same all the time.
 */
async function overloads(server: ServerProcess, client: LoadClient, requests: readonly LoadRequest[]) {
  const others = watchOthers([server.pid]);
  const delays: number[] = [];
  const loads: Overload[] = [];
  const pairs = requests.reduce((sum, { passages }) => sum + passages.length, 0);
  const measured = async () => pairs / (await serverRound(client, requests));
  let before = await measured();
  for (const multiple of MULTIPLES) {
    // A reading of the delay begins a new one: this drops what the round did.
    await server.metric(P99);
    const load = await overload(client, before, multiple);
    delays.push(await server.metric(P99));
    const after = await measured();
    loads.push({ ...load, capacity: (before + after) / 2 });
    before = after;
  }
  return { loads, eventLoopP99: Math.max(...delays), otherCpu: others() };
}

async function measure(): Promise<ServeResult> {
  const readyMs = await timeToReady();
  const server = await startServerProcess({ flags });
  const client = createLoadClient(server.url);
  try {
    const stream = requestStream(topics, plan.passages, plan.seed);
    const requests = Array.from({ length: Math.ceil(plan.pairs / plan.passages) }, () => stream.next().value);
    const served = await servedBy(server, options.models);
    const idleRss = residentBytes(server.pid);
    await serverRound(client, requests.slice(0, CONCURRENCY));
    const rounds = await alternate(client, server.pid, served, requests, plan.rounds);
    const open = await overloads(server, client, requests);
    const memory = { idleRss, loadedRss: residentBytes(server.pid) };
    const padding = await server.metric('winnow_padding_ratio');
    const { passages, deadlineMs } = plan;
    return { source, passages, deadlineMs, served, rounds, readyMs, padding, ...open, ...memory };
  } finally {
    client.close();
    await server.stop();
  }
}

const result = await measure();
console.log(report(result));
if (options.json) {
  const machine = { cpu: cpus()[0]?.model, cores: cpus().length, node: process.version };
  writeFileSync(options.json, `${JSON.stringify({ machine, plan, ...result, verdicts: judge(result) }, null, 1)}\n`);
}
