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
import { layouts } from '../src/inference/layout.ts';
import { createLoadClient, type LoadClient } from './load/client.ts';
import { type BareEngine, encodeRequests, sortedBatches, startBareEngine } from './load/engine.ts';
import { closedLoop, openLoop } from './load/loops.ts';
import { residentBytes, watchOthers } from './load/processes.ts';
import { percentile, type Summary, summarise, table } from './load/report.ts';
import { type LoadRequest, loadTopics, requestStream } from './load/requests.ts';
import { type ServerProcess, startServerProcess } from './load/server.ts';
import { startTransformers } from './load/transformers.ts';

const ROOT = join(import.meta.dirname, '..');
const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    models: { type: 'string', default: join(ROOT, 'models') },
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
const QUICK = { seconds: 6, rounds: 2, pairs: 240, starts: 1 };
const FULL = { seconds: 30, rounds: 5, pairs: 1200, starts: 5 };
const base = options.quick ? QUICK : FULL;
const plan = {
  ...base,
  seconds: Number(options.seconds ?? base.seconds),
  rounds: Number(options.rounds ?? base.rounds),
  pairs: Number(options.pairs ?? base.pairs),
  passages: Number(options.passages),
  deadlineMs: Number(options.deadline),
  seed: Number(options.seed),
};
const MULTIPLES = [0.5, 1, 2, 3] as const;
/** Requests in flight in the closed loop: enough that no host ever waits for work. */
const CONCURRENCY = 8;

const median = (values: readonly number[]) => percentile(values, 50);
const { source, topics } = loadTopics();
const flags = [
  '--models',
  options.models,
  '--telemetry-log-level',
  'info',
  ...options.flags.split(' ').filter(Boolean),
];

interface Served {
  readonly folder: string;
  readonly variant: 'int8' | 'fp32' | 'fp16';
  readonly maxLength: number;
  readonly batchTokens: number;
  readonly batchRows: number;
}

/** What the server says it serves, so that the others do the same. */
async function servedBy(server: ServerProcess): Promise<Served> {
  const models = (await (await fetch(`${server.url}/v1/models`)).json()) as {
    data: {
      name: string;
      version: string;
      state: string;
      default: boolean;
      variant: Served['variant'];
      max_length: number;
    }[];
  };
  const info = (await (await fetch(`${server.url}/info`)).json()) as {
    max_batch_tokens: number;
    max_batch_requests: number;
  };
  const found = models.data.find((model) => model.default && model.state === 'ready');
  if (!found) throw new Error('the server has no default model in memory');
  return {
    folder: join(options.models, found.name, found.version),
    variant: found.variant,
    maxLength: found.max_length,
    batchTokens: info.max_batch_tokens,
    batchRows: info.max_batch_requests,
  };
}

/** Seconds for all requests, several in flight. */
async function serverRound(client: LoadClient, requests: readonly LoadRequest[]): Promise<number> {
  const run = await closedLoop(client, requests[Symbol.iterator](), { concurrency: CONCURRENCY, until: () => false });
  const failed = run.samples.filter(({ status }) => status !== 200);
  if (failed.length > 0)
    throw new Error(`${failed.length} requests failed in the closed loop: ${JSON.stringify(failed[0])}`);
  return run.seconds;
}

interface Rounds {
  readonly layout: string;
  readonly server: readonly number[];
  readonly engine: readonly number[];
  readonly peer: readonly number[];
  readonly peerRss: number;
  readonly otherCpu: readonly number[];
}

/** Pairs a second of server, engine and peer in alternation. The engine's layout is the fastest of those that fit the cores. */
async function alternate(
  client: LoadClient,
  server: ServerProcess,
  served: Served,
  requests: readonly LoadRequest[],
): Promise<Rounds> {
  const pairs = requests.reduce((sum, { passages }) => sum + passages.length, 0);
  const budget = { tokens: served.batchTokens, rows: served.batchRows };
  // The engine gets what the server can know: the rows of as many requests as are in flight, sorted by length.
  const batches = [];
  for (let i = 0; i < requests.length; i += CONCURRENCY)
    batches.push(
      ...sortedBatches(
        await encodeRequests(served.folder, requests.slice(i, i + CONCURRENCY), served.maxLength),
        budget,
      ),
    );
  const file = join(served.folder, 'onnx', served.variant === 'fp32' ? 'model.onnx' : `model_${served.variant}.onnx`);
  const engines = new Map<string, BareEngine>();
  for (const layout of layouts())
    engines.set(`${layout.hosts}×${layout.threads}`, await startBareEngine(file, layout, batches));
  const trial = new Map<string, number>();
  for (const [name, engine] of engines) trial.set(name, await engine.round());
  const [layout] = [...trial].toSorted((a, b) => a[1] - b[1])[0]!;
  const peer = await startTransformers({
    folder: served.folder,
    dtype: served.variant,
    maxLength: served.maxLength,
    requests,
  });
  const result = { server: [] as number[], engine: [] as number[], peer: [] as number[], otherCpu: [] as number[] };
  let peerRss = 0;
  for (let round = 1; round <= plan.rounds; round++) {
    const others = watchOthers([server.pid]);
    result.engine.push(pairs / (await engines.get(layout)!.round()));
    result.server.push(pairs / (await serverRound(client, requests)));
    const peerRound = await peer.round();
    result.peer.push(pairs / peerRound.seconds);
    peerRss = Math.max(peerRss, peerRound.rss);
    result.otherCpu.push(others());
    console.error(
      `round ${round}: ${(['engine', 'server', 'peer'] as const).map((k) => `${k} ${result[k].at(-1)!.toFixed(1)}`).join(', ')} pairs/s`,
    );
  }
  for (const engine of engines.values()) engine.close();
  peer.close();
  return { ...result, layout, peerRss };
}

interface Overload extends Summary {
  readonly multiple: number;
  readonly rate: number;
}

/** The open loop at a multiple of the capacity. */
async function overload(client: LoadClient, capacity: number, multiple: number): Promise<Overload> {
  const rate = (capacity * multiple) / plan.passages;
  const stream = requestStream(topics, plan.passages, plan.seed + Math.round(100 * multiple));
  const run = await openLoop(client, stream, {
    rate,
    seconds: plan.seconds,
    seed: plan.seed,
    deadlineMs: plan.deadlineMs,
  });
  const summary = { multiple, rate, ...summarise(run, plan.deadlineMs) };
  console.error(`${multiple}×: goodput ${summary.goodput.toFixed(1)} pairs/s, p99 ${summary.p99.toFixed(0)} ms`);
  return summary;
}

async function timeToReady(): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < plan.starts; i++) {
    const server = await startServerProcess({ flags });
    times.push(server.readyMs);
    await server.stop();
  }
  return times;
}

/** What the service must reach; each with the value that was seen. */
function judge(result: Awaited<ReturnType<typeof measure>>) {
  const { rounds, capacity, loads, padding, eventLoopP99, readyMs } = result;
  const efficiency = median(rounds.server.map((rate, i) => rate / rounds.engine[i]!));
  const triple = loads.find(({ multiple }) => multiple === 3)!;
  const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
  return [
    {
      what: 'efficiency against the bare engine',
      seen: percent(efficiency),
      target: '≥ 85 %',
      met: efficiency >= 0.85,
    },
    {
      what: 'goodput at 3× capacity',
      seen: percent(triple.goodput / capacity),
      target: '≥ 95 %',
      met: triple.goodput >= 0.95 * capacity,
    },
    {
      what: 'p99 of accepted requests at 3×',
      seen: `${triple.p99.toFixed(0)} ms`,
      target: `≤ ${plan.deadlineMs} ms`,
      met: triple.p99 <= plan.deadlineMs,
    },
    { what: 'padding', seen: percent(padding), target: '≤ 8 %', met: padding <= 0.08 },
    {
      what: 'event loop delay p99',
      seen: `${(1000 * eventLoopP99).toFixed(1)} ms`,
      target: '< 20 ms',
      met: eventLoopP99 < 0.02,
    },
    {
      what: 'time to ready',
      seen: `${median(readyMs).toFixed(0)} ms`,
      target: '< 1500 ms',
      met: median(readyMs) < 1500,
    },
  ];
}

async function measure() {
  const readyMs = await timeToReady();
  const server = await startServerProcess({ flags });
  const client = createLoadClient(server.url);
  try {
    const stream = requestStream(topics, plan.passages, plan.seed);
    const requests = Array.from({ length: Math.ceil(plan.pairs / plan.passages) }, () => stream.next().value);
    const served = await servedBy(server);
    const idleRss = residentBytes(server.pid);
    await serverRound(client, requests.slice(0, CONCURRENCY));
    const rounds = await alternate(client, server, served, requests);
    const capacity = median(rounds.server);
    const others = watchOthers([server.pid]);
    const delays: number[] = [];
    const loads: Overload[] = [];
    // A reading of the delay begins a new one: this drops what the rounds did.
    await server.metric('winnow_event_loop_delay_seconds{quantile="0.99"}');
    for (const multiple of MULTIPLES) {
      loads.push(await overload(client, capacity, multiple));
      delays.push(await server.metric('winnow_event_loop_delay_seconds{quantile="0.99"}'));
    }
    return {
      served,
      rounds,
      capacity,
      loads,
      readyMs,
      idleRss,
      loadedRss: residentBytes(server.pid),
      padding: await server.metric('winnow_padding_ratio'),
      eventLoopP99: Math.max(...delays),
      otherCpu: others(),
    };
  } finally {
    client.close();
    await server.stop();
  }
}

function print(result: Awaited<ReturnType<typeof measure>>, verdicts: ReturnType<typeof judge>): void {
  const { rounds, loads, served, idleRss, loadedRss } = result;
  const megabytes = (bytes: number) => `${Math.round(bytes / 1e6)}`;
  const fixed = (value: number, digits = 1) => (Number.isFinite(value) ? value.toFixed(digits) : '–');
  console.log(
    `${cpus()[0]?.model}, ${cpus().length} cores, node ${process.version}; ${source}, ${plan.passages} passages a request,`,
  );
  console.log(
    `${served.folder.split('/').slice(-2).join('@')} (${served.variant}); other CPU ${result.otherCpu} % of a core\n`,
  );
  const spread = (values: readonly number[]) => `${fixed(Math.min(...values))}–${fixed(Math.max(...values))}`;
  console.log(
    table(
      ['closed loop', 'pairs/s (median)', 'spread', 'memory MB'],
      [
        [`engine alone (${rounds.layout})`, fixed(median(rounds.engine)), spread(rounds.engine), '–'],
        [
          'winnow',
          fixed(median(rounds.server)),
          spread(rounds.server),
          `${megabytes(loadedRss)} (idle ${megabytes(idleRss)})`,
        ],
        ['@huggingface/transformers', fixed(median(rounds.peer)), spread(rounds.peer), megabytes(rounds.peerRss)],
      ],
    ),
  );
  console.log('');
  console.log(
    table(
      [
        'open loop, × capacity',
        'requests/s',
        'goodput pairs/s',
        'answered',
        'refused',
        'failed',
        'p50 ms',
        'p90 ms',
        'p99 ms',
      ],
      loads.map((l) => [
        `${l.multiple}`,
        fixed(l.rate, 2),
        fixed(l.goodput),
        `${l.answered}`,
        `${l.refused}`,
        `${l.failed}${l.firstError ? ` (${l.firstError})` : ''}`,
        fixed(l.p50, 0),
        fixed(l.p90, 0),
        fixed(l.p99, 0),
      ]),
    ),
  );
  console.log('');
  console.log(
    table(
      ['target', 'seen', 'asked', 'met'],
      verdicts.map((v) => [v.what, v.seen, v.target, v.met ? 'yes' : 'NO']),
    ),
  );
}

const result = await measure();
const verdicts = judge(result);
print(result, verdicts);
if (options.json)
  writeFileSync(
    options.json,
    `${JSON.stringify({ machine: cpus()[0]?.model, cores: cpus().length, node: process.version, source, plan, ...result, verdicts }, null, 1)}\n`,
  );
