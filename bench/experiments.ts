/*
 * The experiment is put and removed by the API of the running server, since two server processes differ by more than what is measured.
 * Clients that name a version (`by name`) stand beside the split between two versions, because rows of different versions share no batch
 * with or without an experiment.
 */
import { cpSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createRandom } from '../src/util/random.ts';
import { type Load, print, rowOf, targetsOf } from './experiments-report.ts';
import { createLoadClient, type LoadClient } from './load/client.ts';
import type { Measured } from './load/costs.ts';
import { median, summarize } from './load/figures.ts';
import { readFlags } from './load/flags.ts';
import { closedLoop, openLoop } from './load/loops.ts';
import { cpuSeconds, ownCpuSeconds, watchOthers } from './load/processes.ts';
import { type LoadRequest, loadTopics, requestStream } from './load/requests.ts';
import { type ServerProcess, startServerProcess } from './load/server.ts';

const ROOT = join(import.meta.dirname, '..');
const ABOUT = `
What an experiment costs: the same load on the same server with and without one. "split" divides users between two arms of one version;
"split, two versions" between two copies of the model. Rounds alternate; "other CPU" shows the load of other programs.

Prints a table of every load (pairs a second, refusals, CPU milliseconds a pair and a request, latencies), a table of what each
experiment adds to the load without one, and the targets. Intervals are 95 % bootstrap intervals over rounds; "within noise" marks a
target whose interval holds values on both sides of it. CPU time is less noisy than throughput, that of the HTTP process least.

Latencies are those of requests that arrive at random at 40 % of the capacity. With --one-client they are those of one client that sends
each request inside and outside the experiment in turn, which resolves milliseconds on a busy machine.
`;

const options = readFlags('experiments', ABOUT, {
  quick: { type: 'boolean', default: false, help: 'Use few, short rounds.' },
  only: { type: 'string', help: 'Measure one experiment only: "split" or "split, two versions".' },
  rounds: { type: 'string', help: 'Rounds (default: 24, with --quick 2).' },
  requests: { type: 'string', help: 'Requests per round of the closed loop (default: 80, with --quick 32).' },
  seconds: { type: 'string', help: 'Seconds per round of latencies (default: 8, with --quick 6).' },
  passages: { type: 'string', default: '20', help: 'Passages per request of the closed loop.' },
  short: { type: 'string', default: '5', help: 'Passages per request where latencies are measured.' },
  'one-client': { type: 'boolean', default: false, help: 'Measure latencies with one client.' },
  models: { type: 'string', default: join(ROOT, 'models'), help: 'Registry folder; its first model is copied twice.' },
  flags: { type: 'string', default: '', help: 'More flags of `winnow serve`.' },
  json: { type: 'string', help: 'File to write all results to.' },
});
const base = options.quick ? { rounds: 2, requests: 32, seconds: 6 } : { rounds: 24, requests: 80, seconds: 8 };
const settings = {
  rounds: Number(options.rounds ?? base.rounds),
  requests: Number(options.requests ?? base.requests),
  seconds: Number(options.seconds ?? base.seconds),
  passages: Number(options.passages),
  /** Passages of a request whose latency is measured: few, so that a difference of a millisecond is visible. */
  short: Number(options.short),
};
/** The log of exposures writes in batches; the cost of a load includes its last batch. */
const WRITTEN_MS = 300;
/** Requests in flight in the closed loop: two a host, enough to keep hosts busy without refusals. */
const CONCURRENCY = 4;
type Topics = ReturnType<typeof loadTopics>['topics'];
/** Share of the capacity in the open loop: busy, but without a queue that dominates latencies. */
const LOAD = 0.4;
const USERS = 5000;

interface Variant extends Load {
  /** Models of the two arms; without them there is no experiment. */
  readonly arms?: readonly [string, string];
  /** Clients name the versions, which keeps them outside experiments. */
  readonly byName?: true;
}

const VARIANTS: readonly Variant[] = [
  { name: 'none' },
  { name: 'split', arms: ['m@1', 'm@1'], beside: 'none' },
  { name: 'none, by name', byName: true },
  { name: 'split, two versions', arms: ['m@1', 'm@2'], beside: 'none, by name' },
];

const folder = mkdtempSync(join(tmpdir(), 'winnow-bench-experiments-'));

/** Makes a registry with two copies of the first model. */
function makeRegistry(): string {
  const folders = (path: string) =>
    readdirSync(path).filter((name) => !name.startsWith('.') && !name.endsWith('.json'));
  const { models } = options;
  const model = folders(models).toSorted()[0]!;
  const version = folders(join(models, model)).toSorted()[0]!;
  const registry = join(folder, 'models');
  for (const copy of ['1', '2']) cpSync(join(models, model, version), join(registry, 'm', copy), { recursive: true });
  writeFileSync(join(registry, 'm', 'labels.json'), JSON.stringify({ stable: '1' }));
  return registry;
}

/** Puts a variant's experiment, or removes the one before. */
async function applyExperiment({ arms }: Variant, url: string): Promise<void> {
  const target = `${url}/v1/experiments/bench`;
  const definition = {
    arms: arms?.map((model, i) => ({ name: i === 0 ? 'a' : 'b', model })),
    control: 'a',
    metrics: [{ name: 'clicks' }],
    guardrails: [{ metric: 'errors', max: 0.5 }],
    when: { header: { 'x-bench': 'inside' } },
  };
  const answer = await fetch(target, {
    method: arms ? 'PUT' : 'DELETE',
    headers: { 'content-type': 'application/json' },
    ...(arms ? { body: JSON.stringify(definition) } : {}),
  });
  if (!answer.ok && answer.status !== 404) throw new Error(`the experiment was refused: ${await answer.text()}`);
}

interface Subject extends Measured {
  readonly variant: Variant;
  readonly client: LoadClient;
  readonly throughput: number[];
  readonly cpu: number[];
  readonly own: number[];
  readonly refused: number[];
  readonly latencies: number[][];
}

/** Sends each request as the next of many users; a user's number decides the version it names. */
function withUsers(client: LoadClient, { arms, byName }: Variant): LoadClient {
  let next = 0;
  const place = arms ? { 'x-bench': 'inside' } : {};
  return {
    rerank(request, headers = {}) {
      const user = next++ % USERS;
      const model = byName ? { model: `m@${1 + (user % 2)}` } : {};
      return client.rerank({ ...request, ...model }, { ...headers, ...place, 'x-user-id': `user-${user}` });
    },
    close: () => client.close(),
  };
}

/** Runs all requests in the closed loop. @throws Error if one fails; refusals count. */
async function saturate({ client }: Subject, requests: readonly LoadRequest[]) {
  const run = await closedLoop(client, requests[Symbol.iterator](), { concurrency: CONCURRENCY, until: () => false });
  const summary = summarize(run);
  if (summary.failed > 0) throw new Error(`requests failed: ${summary.firstError}`);
  return summary;
}

/**
 * Sends every request three times with one client: once to fill the tokenizer's cache, then inside and outside the experiment in random
 * order, so that other load affects both alike.
 */
async function measureOneClient(
  url: string,
  subjects: readonly Subject[],
  topics: Topics,
  round: number,
): Promise<void> {
  for (const inside of subjects.filter(({ variant }) => variant.beside !== undefined)) {
    const outside = subjects.find(({ variant }) => variant.name === inside.variant.beside)!;
    await applyExperiment(inside.variant, url);
    const random = createRandom(round);
    const stream = requestStream(topics, settings.short, round);
    const latencies = new Map<Subject, number[]>([
      [inside, []],
      [outside, []],
    ]);
    for (const end = performance.now() + 1000 * settings.seconds; performance.now() < end; ) {
      const request = stream.next().value;
      await outside.client.rerank(request);
      for (const subject of random.shuffle([inside, outside])) {
        const from = performance.now();
        const { status } = await subject.client.rerank(request);
        if (status === 200) latencies.get(subject)!.push(performance.now() - from);
      }
    }
    for (const [subject, seen] of latencies) subject.latencies.push(seen);
  }
}

async function measure(server: ServerProcess, subjects: readonly Subject[]) {
  const { source, topics } = loadTopics();
  const stream = requestStream(topics, settings.passages, 1);
  const requests = Array.from({ length: settings.requests }, () => stream.next().value);
  const inTurn = async (round: number, work: (subject: Subject) => Promise<void>) => {
    // Every other round runs in the opposite order, so that the place in the order cancels out.
    for (const subject of round % 2 === 0 ? subjects : subjects.toReversed()) {
      await applyExperiment(subject.variant, server.url);
      await work(subject);
    }
  };
  await inTurn(0, async (subject) => void (await saturate(subject, requests)));
  const others = watchOthers([server.pid]);
  for (let round = 0; round < settings.rounds; round++) {
    await inTurn(round, async (subject) => {
      const before = { all: cpuSeconds(server.pid), own: ownCpuSeconds(server.pid) };
      const { pairsPerSecond, answered, refused } = await saturate(subject, requests);
      await delay(WRITTEN_MS);
      subject.throughput.push(pairsPerSecond);
      subject.cpu.push((1000 * (cpuSeconds(server.pid) - before.all)) / (answered * settings.passages));
      subject.own.push((1000 * (ownCpuSeconds(server.pid) - before.own)) / answered);
      subject.refused.push(refused);
    });
    console.error(
      `round ${round + 1}: ${subjects.map((s) => `${s.variant.name} ${s.throughput.at(-1)!.toFixed(1)}`).join(', ')} pairs/s`,
    );
  }
  const rate = options['one-client'] ? 0 : (LOAD * median(subjects[0]!.throughput)) / settings.short;
  for (let round = 0; round < settings.rounds; round++) {
    if (rate === 0) {
      await measureOneClient(server.url, subjects, topics, round);
      continue;
    }
    await inTurn(round, async (subject) => {
      const stream = requestStream(topics, settings.short, round);
      const { samples } = await openLoop(subject.client, stream, { rate, seconds: settings.seconds, seed: round });
      subject.latencies.push(samples.filter(({ status }) => status === 200).map(({ ms }) => ms));
    });
  }
  return { source, rate, otherCpu: others() };
}

/** Returns the variant of `--only` with the one it is compared to; all without `--only`. */
function chosenVariants(): readonly Variant[] {
  const { only } = options;
  if (only === undefined) return VARIANTS;
  const chosen = VARIANTS.find(({ name, beside }) => name === only && beside !== undefined);
  const known = VARIANTS.filter(({ beside }) => beside !== undefined).map(({ name }) => name);
  if (!chosen) throw new Error(`expected --only to be one of ${known.join(' | ')}, got ${only}`);
  return VARIANTS.filter(({ name }) => name === only || name === chosen.beside);
}

const more = options.flags.split(' ').filter(Boolean);
const server = await startServerProcess({
  flags: [
    '--models',
    makeRegistry(),
    '--experiments-database',
    join(folder, 'experiments.sqlite'),
    '--telemetry-log-level',
    'info',
    ...more,
  ],
});
try {
  const subjects = chosenVariants().map((variant): Subject => {
    const client = withUsers(createLoadClient(server.url), variant);
    return { variant, client, throughput: [], cpu: [], own: [], refused: [], latencies: [] };
  });
  const { source, rate, otherCpu } = await measure(server, subjects);
  const rows = subjects.map((subject) => rowOf(subject, subjects));
  const verdicts = targetsOf(rows);
  const count = async (name: string) => (await server.metric(name)) || 0;
  const stored = await count('winnow_exposures_stored_total');
  const lost = await count('winnow_exposures_lost_total{reason="buffer_full"}');
  console.log(
    `${cpus()[0]?.model}, ${cpus().length} cores, node ${process.version}; ${source}, ${settings.passages} passages a request, ${settings.rounds} rounds;`,
  );
  const arrivals = rate === 0 ? 'one client' : `open loop at ${rate.toFixed(1)} requests/s`;
  console.log(`latency: ${arrivals}, ${settings.short} passages a request; other CPU ${otherCpu} % of a core;`);
  console.log(`${stored} exposures stored, ${lost} lost\n`);
  print(rows, verdicts);
  const result = { machine: cpus()[0]?.model, cores: cpus().length, source, plan: settings, otherCpu, rows, verdicts };
  if (options.json) writeFileSync(options.json, `${JSON.stringify(result, null, 1)}\n`);
  for (const { client } of subjects) client.close();
} finally {
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
}
