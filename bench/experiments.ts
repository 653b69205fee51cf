/*
 * What an experiment costs: the same load on the same server, with and without.
 *
 * npm run bench:experiments -- [--quick] [--only split] [--rounds 24] [--requests 80] [--seconds 8] [--passages 20] [--short 5]
 * [--one-client] [--models FOLDER] [--json FILE] [--flags '…']
 *
 * `split` divides users between two arms that are the same version; `split, two versions` between two copies of the model, and beside it
 * stands the same load without an experiment: clients that name one or the other version (`by name`), for different versions share no batch
 * in any case. Before each round the experiment is put or removed by the API of the running server, since two processes differ by more than
 * what is measured here. Rounds alternate, so that what else the machine does falls on all; `other CPU` says how much that was.
 *
 * Throughput is noisy. The CPU time a pair costs is less so, and that of the HTTP process least: nothing else of the server knows of
 * experiments. Latencies are those of requests that arrive at random, at 40 % of the capacity; with `--one-client` those of a client that
 * waits for each answer, its requests inside and outside the experiment by turns, which tells milliseconds apart on a busy machine, too.
 * Intervals are of 95 %, from rounds drawn with replacement: a target is met for sure where the whole interval meets it.
 */
import { cpSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { createRandom } from '../src/util/random.ts';
import { type Load, print, rowOf, verdictsOf } from './experiments-report.ts';
import { createLoadClient, type LoadClient } from './load/client.ts';
import { type Measured, median } from './load/costs.ts';
import { closedLoop, openLoop } from './load/loops.ts';
import { cpuSeconds, ownCpuSeconds, watchOthers } from './load/processes.ts';
import { summarize } from './load/report.ts';
import { type LoadRequest, loadTopics, requestStream } from './load/requests.ts';
import { type ServerProcess, startServerProcess } from './load/server.ts';

const ROOT = join(import.meta.dirname, '..');
const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
    rounds: { type: 'string' },
    requests: { type: 'string' },
    seconds: { type: 'string' },
    passages: { type: 'string', default: '20' },
    short: { type: 'string', default: '5' },
    'one-client': { type: 'boolean', default: false },
    models: { type: 'string', default: join(ROOT, 'models') },
    flags: { type: 'string', default: '' },
    json: { type: 'string' },
  },
});
const base = options.quick ? { rounds: 2, requests: 32, seconds: 6 } : { rounds: 24, requests: 80, seconds: 8 };
const plan = {
  rounds: Number(options.rounds ?? base.rounds),
  requests: Number(options.requests ?? base.requests),
  seconds: Number(options.seconds ?? base.seconds),
  passages: Number(options.passages),
  /** Passages of a request of the open loop: few, so that a millisecond shows beside what they cost. */
  short: Number(options.short),
};
/** The log of exposures waits for company; what a load costs includes its last ones. */
const WRITTEN_MS = 300;
/** Requests in flight in the closed loop: two a host, so that none waits for work, and no queue so long that requests are refused. */
const CONCURRENCY = 4;
type Topics = ReturnType<typeof loadTopics>['topics'];
/** Share of the capacity in the open loop: busy, but no queue that would hide everything else. */
const LOAD = 0.4;
const USERS = 5000;

interface Variant extends Load {
  /** Models of the two arms; without them there is no experiment. */
  readonly arms?: readonly [string, string];
  /** Clients name the versions themselves, which keeps them outside experiments. */
  readonly byName?: true;
}

const VARIANTS: readonly Variant[] = [
  { name: 'none' },
  { name: 'split', arms: ['m@1', 'm@1'], beside: 'none' },
  { name: 'none, by name', byName: true },
  { name: 'split, two versions', arms: ['m@1', 'm@2'], beside: 'none, by name' },
];

const folder = mkdtempSync(join(tmpdir(), 'winnow-bench-experiments-'));

/** Two copies of the first model of the registry. */
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

/** Puts a variant's experiment into effect, or takes the one before out. */
async function become({ arms }: Variant, url: string): Promise<void> {
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

/** Every request comes from the next of many users, whose number says which version they would name. */
function asUsers(client: LoadClient, { arms, byName }: Variant): LoadClient {
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

/** All hosts busy. */
async function saturate({ client }: Subject, requests: readonly LoadRequest[]) {
  const run = await closedLoop(client, requests[Symbol.iterator](), { concurrency: CONCURRENCY, until: () => false });
  const summary = summarize(run);
  // A refusal under foreign load is no answer, and counted; a failure is a fault.
  if (summary.failed > 0) throw new Error(`requests failed: ${summary.firstError}`);
  return summary;
}

/**
 * One client that waits for each answer sends every request thrice: once so that its passages are known to the tokenizer, then inside and
 * outside the experiment, in an order drawn anew. What else happens on the machine falls on both alike.
 */
async function byTurns(url: string, subjects: readonly Subject[], topics: Topics, round: number): Promise<void> {
  for (const inside of subjects.filter(({ variant }) => variant.beside !== undefined)) {
    const outside = subjects.find(({ variant }) => variant.name === inside.variant.beside)!;
    await become(inside.variant, url);
    const random = createRandom(round);
    const stream = requestStream(topics, plan.short, round);
    const latencies = new Map<Subject, number[]>([
      [inside, []],
      [outside, []],
    ]);
    for (const end = performance.now() + 1000 * plan.seconds; performance.now() < end; ) {
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
  const stream = requestStream(topics, plan.passages, 1);
  const requests = Array.from({ length: plan.requests }, () => stream.next().value);
  const inTurn = async (round: number, work: (subject: Subject) => Promise<void>) => {
    // Every other round in the opposite order, so that being first is nobody's advantage.
    for (const subject of round % 2 === 0 ? subjects : subjects.toReversed()) {
      await become(subject.variant, server.url);
      await work(subject);
    }
  };
  await inTurn(0, async (subject) => void (await saturate(subject, requests)));
  const others = watchOthers([server.pid]);
  for (let round = 0; round < plan.rounds; round++) {
    await inTurn(round, async (subject) => {
      const before = { all: cpuSeconds(server.pid), own: ownCpuSeconds(server.pid) };
      const { pairsPerSecond, answered, refused } = await saturate(subject, requests);
      await delay(WRITTEN_MS);
      subject.throughput.push(pairsPerSecond);
      subject.cpu.push((1000 * (cpuSeconds(server.pid) - before.all)) / (answered * plan.passages));
      subject.own.push((1000 * (ownCpuSeconds(server.pid) - before.own)) / answered);
      subject.refused.push(refused);
    });
    console.error(
      `round ${round + 1}: ${subjects.map((s) => `${s.variant.name} ${s.throughput.at(-1)!.toFixed(1)}`).join(', ')} pairs/s`,
    );
  }
  const rate = options['one-client'] ? 0 : (LOAD * median(subjects[0]!.throughput)) / plan.short;
  for (let round = 0; round < plan.rounds; round++) {
    if (rate === 0) {
      await byTurns(server.url, subjects, topics, round);
      continue;
    }
    await inTurn(round, async (subject) => {
      const stream = requestStream(topics, plan.short, round);
      const { samples } = await openLoop(subject.client, stream, { rate, seconds: plan.seconds, seed: round });
      subject.latencies.push(samples.filter(({ status }) => status === 200).map(({ ms }) => ms));
    });
  }
  return { source, rate, otherCpu: others() };
}

/** The variant asked for with the one it stands beside; all, if none was. */
function wanted(): readonly Variant[] {
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
    ...['--models', makeRegistry(), '--experiments-database', join(folder, 'experiments.sqlite')],
    ...['--telemetry-log-level', 'info', ...more],
  ],
});
try {
  const subjects = wanted().map((variant): Subject => {
    const client = asUsers(createLoadClient(server.url), variant);
    return { variant, client, throughput: [], cpu: [], own: [], refused: [], latencies: [] };
  });
  const { source, rate, otherCpu } = await measure(server, subjects);
  const rows = subjects.map((subject) => rowOf(subject, subjects));
  const verdicts = verdictsOf(rows);
  const count = async (name: string) => (await server.metric(name)) || 0;
  const stored = await count('winnow_exposures_stored_total');
  const lost = await count('winnow_exposures_lost_total{reason="buffer_full"}');
  console.log(
    `${cpus()[0]?.model}, ${cpus().length} cores, node ${process.version}; ${source}, ${plan.passages} passages a request, ${plan.rounds} rounds;`,
  );
  const arrivals = rate === 0 ? 'one client' : `open loop at ${rate.toFixed(1)} requests/s`;
  console.log(`latency: ${arrivals}, ${plan.short} passages a request; other CPU ${otherCpu} % of a core;`);
  console.log(`${stored} exposures stored, ${lost} lost\n`);
  print(rows, verdicts);
  const result = { machine: cpus()[0]?.model, cores: cpus().length, source, plan, otherCpu, rows, verdicts };
  if (options.json) writeFileSync(options.json, `${JSON.stringify(result, null, 1)}\n`);
  for (const { client } of subjects) client.close();
} finally {
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
}
