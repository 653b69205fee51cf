import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { createLoadClient, type LoadClient } from './load/client.ts';
import { summarize } from './load/figures.ts';
import { readFlags } from './load/flags.ts';
import { openLoop } from './load/loops.ts';
import { residentBytes, watchOthers } from './load/processes.ts';
import { type LoadRequest, loadTopics, requestStream } from './load/requests.ts';
import { type ServerProcess, startServerProcess } from './load/server.ts';
import { type Overload, report, type ServeResult, targetsOf } from './serve-report.ts';
import { alternate, CONCURRENCY, servedBy, serverRound } from './serve-rounds.ts';

const MULTIPLES = [0.5, 1, 2, 3] as const;
const P99 = 'winnow_event_loop_delay_seconds{percentile="99"}';

const ABOUT = `
Loads a running server, the bare engine (onnxruntime-node alone) and @huggingface/transformers with the same requests, model and file.
Rounds alternate between the three, so that other load on the machine affects all of them; "other CPU" shows how much there was.

With --only stages it prints the processor time of a pair, sent in several ways, beside the engine alone in its best layout and batch size; the
processor time by stage, from a server that profiles itself; and the latency of one small request to an idle server.

Prints three Markdown tables: the closed loop (pairs a second and memory of each of the three), the open loop (arrivals at 0.5, 1, 2 and
3 times the measured capacity: goodput, refusals, failures, latencies), and the targets with the values seen.
`;

const options = readFlags('serve', ABOUT, {
  only: {
    type: 'string',
    default: 'load',
    help: '`load` for the three tables; `stages` for the cost of a request beside the engine: by way of sending, by stage, of one small request.',
  },
  tokens: {
    type: 'string',
    default: '256,384,512,768,1024',
    help: 'Tokens of a batch that --only stages tries for the engine alone.',
  },
  quick: { type: 'boolean', default: false, help: 'Use short rounds: about 2 minutes instead of 10.' },
  models: {
    type: 'string',
    default: join(import.meta.dirname, '../models'),
    help: 'Registry folder; its default model is served.',
  },
  passages: { type: 'string', default: '20', help: 'Passages per request.' },
  deadline: { type: 'string', default: '2000', help: 'Deadline of a request in the open loop, in milliseconds.' },
  seconds: { type: 'string', help: 'Seconds of each open loop (default: 30, with --quick 6).' },
  rounds: { type: 'string', help: 'Rounds of the closed loop (default: 5, with --quick 2).' },
  'warm-up': {
    type: 'string',
    default: '5000',
    help: 'Pairs that --only stages sends before it measures a server, while V8 compiles its code.',
  },
  pairs: { type: 'string', help: 'Pairs per round of the closed loop (default: 1200, with --quick 240).' },
  flags: { type: 'string', default: '', help: "More flags of `winnow serve`, such as '--inference-hosts 2'." },
  seed: { type: 'string', default: '1', help: 'Seed of requests and arrivals.' },
  json: { type: 'string', help: 'File to write all results to.' },
});
const base = options.quick
  ? { seconds: 6, rounds: 2, pairs: 240, starts: 1 }
  : { seconds: 30, rounds: 5, pairs: 1200, starts: 5 };
const settings = {
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
  for (let i = 0; i < settings.starts; i++) {
    const server = await startServerProcess({ flags });
    times.push(server.readyMs);
    await server.stop();
  }
  return times;
}

type OpenLoad = Omit<Overload, 'capacity'>;

async function openLoad(client: LoadClient, capacity: number, multiple: number): Promise<OpenLoad> {
  const { passages, seconds, seed, deadlineMs } = settings;
  const rate = (capacity * multiple) / passages;
  const stream = requestStream(topics, passages, seed + Math.round(100 * multiple));
  const run = await openLoop(client, stream, { rate, seconds, seed, deadlineMs });
  const summary = { multiple, rate, ...summarize(run, deadlineMs) };
  console.error(`${multiple}×: goodput ${summary.goodput.toFixed(1)} pairs/s, p99 ${summary.p99.toFixed(0)} ms`);
  return summary;
}

/**
 * Runs the open loop at all multiples of the capacity, and reads the greatest delay of the event loop. The capacity is measured before and
 * after each, because a machine's speed drifts.
 */
async function openLoads(server: ServerProcess, client: LoadClient, requests: readonly LoadRequest[]) {
  const others = watchOthers([server.pid]);
  const delays: number[] = [];
  const loads: Overload[] = [];
  const pairs = requests.reduce((sum, { passages }) => sum + passages.length, 0);
  const capacity = async () => pairs / (await serverRound(client, requests));
  let before = await capacity();
  for (const multiple of MULTIPLES) {
    // Reading the delay starts a new measurement; this one drops what came before.
    await server.metric(P99);
    const load = await openLoad(client, before, multiple);
    delays.push(await server.metric(P99));
    const after = await capacity();
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
    const stream = requestStream(topics, settings.passages, settings.seed);
    const requests = Array.from({ length: Math.ceil(settings.pairs / settings.passages) }, () => stream.next().value);
    const served = await servedBy(server, options.models);
    const idleRss = residentBytes(server.pid);
    await serverRound(client, requests.slice(0, CONCURRENCY));
    const rounds = await alternate(client, server.pid, served, requests, settings.rounds);
    const open = await openLoads(server, client, requests);
    const memory = { idleRss, loadedRss: residentBytes(server.pid) };
    const padding = await server.metric('winnow_padding_ratio');
    const { passages, deadlineMs } = settings;
    return { source, passages, deadlineMs, served, rounds, readyMs, padding, ...open, ...memory };
  } finally {
    client.close();
    await server.stop();
  }
}

if (options.only === 'stages') {
  const stream = requestStream(topics, settings.passages, settings.seed);
  const requests = Array.from({ length: Math.ceil(settings.pairs / settings.passages) }, () => stream.next().value);
  const sizes = options.tokens.split(',').map(Number);
  const { stages } = await import('./serve-stages.ts');
  const warmUp = Number(options['warm-up']);
  console.log(await stages({ models: options.models, flags, rounds: settings.rounds, sizes, requests, warmUp }));
  process.exit(0);
}
const result = await measure();
console.log(report(result));
if (options.json) {
  const machine = { cpu: cpus()[0]?.model, cores: cpus().length, node: process.version };
  writeFileSync(
    options.json,
    `${JSON.stringify({ machine, plan: settings, ...result, verdicts: targetsOf(result) }, null, 1)}\n`,
  );
}
