/*
 * What an experiment costs: the same load on the same server, with and without.
 *
 *   npm run bench:experiments -- [--quick] [--rounds 24] [--requests 80] [--seconds 15] [--passages 20] [--json FILE] [--flags '…']
 *
 * `split` divides users between two arms that are the same version; `split, two versions` between two copies of the model, and beside it stands
 * the same load without an experiment: clients that name one or the other version (`by name`), for different versions share no batch in any
 * case. Before each round the experiment is put or removed by the API of the running server, since two processes differ by more than what is
 * measured here. Rounds alternate, so that what else the machine does falls on all; `other CPU` says how much that was, and the CPU time a
 * pair costs depends on it least.
 */
import { cpSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createLoadClient, type LoadClient } from './load/client.ts';
import { closedLoop, openLoop } from './load/loops.ts';
import { cpuSeconds, watchOthers } from './load/processes.ts';
import { percentile, summarise, table } from './load/report.ts';
import { type LoadRequest, loadTopics, requestStream } from './load/requests.ts';
import { type ServerProcess, startServerProcess } from './load/server.ts';

const ROOT = join(import.meta.dirname, '..');
const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    requests: { type: 'string' },
    seconds: { type: 'string' },
    passages: { type: 'string', default: '20' },
    flags: { type: 'string', default: '' },
    json: { type: 'string' },
  },
});
const base = options.quick ? { rounds: 2, requests: 32, seconds: 6 } : { rounds: 24, requests: 80, seconds: 15 };
const plan = {
  rounds: Number(options.rounds ?? base.rounds),
  requests: Number(options.requests ?? base.requests),
  seconds: Number(options.seconds ?? base.seconds),
  passages: Number(options.passages),
};
/** Requests in flight in the closed loop, so that no host waits for work. */
const CONCURRENCY = 8;
/** Share of the capacity in the open loop: busy, but no queue that would hide everything else. */
const LOAD = 0.4;
/** Requests of the open loop are short, so that a millisecond shows beside what they cost. */
const FEW = 5;
const USERS = 5000;

interface Variant {
  readonly name: string;
  /** Models of the two arms; without them there is no experiment. */
  readonly arms?: readonly [string, string];
  /** Clients name the versions themselves, which keeps them outside experiments. */
  readonly byName?: true;
  /** The same load without an experiment. */
  readonly beside?: string;
}

const VARIANTS: readonly Variant[] = [
  { name: 'none' },
  { name: 'split', arms: ['m@1', 'm@1'], beside: 'none' },
  { name: 'none, by name', byName: true },
  { name: 'split, two versions', arms: ['m@1', 'm@2'], beside: 'none, by name' },
];

const folder = mkdtempSync(join(tmpdir(), 'winnow-bench-experiments-'));
/** The mean of the middle two where their number is even. */
function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1]! + sorted[sorted.length >> 1]!) / 2;
}

/** Two copies of the first shipped model. */
function makeRegistry(): string {
  const folders = (path: string) =>
    readdirSync(path).filter((name) => !name.startsWith('.') && !name.endsWith('.json'));
  const models = join(ROOT, 'models');
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
  };
  const answer = await fetch(target, {
    method: arms ? 'PUT' : 'DELETE',
    headers: { 'content-type': 'application/json' },
    ...(arms ? { body: JSON.stringify(definition) } : {}),
  });
  if (!answer.ok && answer.status !== 404) throw new Error(`the experiment was refused: ${await answer.text()}`);
}

interface Subject {
  readonly variant: Variant;
  readonly client: LoadClient;
  readonly throughput: number[];
  /** CPU milliseconds of the server's processes a pair. */
  readonly cpu: number[];
  /** Milliseconds of every request of the open loop. */
  readonly latencies: number[];
}

/** Every request comes from the next of many users, whose number says which version they would name. */
function asUsers(client: LoadClient, byName: boolean): LoadClient {
  let next = 0;
  return {
    rerank(request, headers = {}) {
      const user = next++ % USERS;
      const model = byName ? { model: `m@${1 + (user % 2)}` } : {};
      return client.rerank({ ...request, ...model }, { ...headers, 'x-user-id': `user-${user}` });
    },
    close: () => client.close(),
  };
}

/** Pairs a second with all hosts busy. */
async function saturate({ client }: Subject, requests: readonly LoadRequest[]): Promise<number> {
  const run = await closedLoop(client, requests[Symbol.iterator](), { concurrency: CONCURRENCY, until: () => false });
  const summary = summarise(run);
  // A refusal under foreign load is no answer and counts as none; a failure is a fault.
  if (summary.failed > 0) throw new Error(`requests failed: ${summary.firstError}`);
  return summary.pairsPerSecond;
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
      const before = cpuSeconds(server.pid);
      subject.throughput.push(await saturate(subject, requests));
      subject.cpu.push((1000 * (cpuSeconds(server.pid) - before)) / (plan.requests * plan.passages));
    });
    console.error(
      `round ${round + 1}: ${subjects.map((s) => `${s.variant.name} ${s.throughput.at(-1)!.toFixed(1)}`).join(', ')} pairs/s`,
    );
  }
  const rate = (LOAD * median(subjects[0]!.throughput)) / FEW;
  for (let round = 0; round < Math.max(2, plan.rounds / 2); round++)
    await inTurn(round, async (subject) => {
      const stream = requestStream(topics, FEW, round);
      const { samples } = await openLoop(subject.client, stream, { rate, seconds: plan.seconds, seed: round });
      subject.latencies.push(...samples.filter(({ status }) => status === 200).map(({ ms }) => ms));
    });
  return { source, rate, otherCpu: others() };
}

/** Medians over rounds of ratios within a round; latencies are compared over all rounds together, whose arrivals are the same. */
function costs(subject: Subject, subjects: readonly Subject[]) {
  const none = subjects.find(({ variant }) => variant.name === (subject.variant.beside ?? subject.variant.name))!;
  return {
    ratio: median(subject.throughput.map((rate, i) => rate / none.throughput[i]!)),
    cpu: median(subject.cpu.map((ms, i) => ms / none.cpu[i]!)),
    p50: percentile(subject.latencies, 50) - percentile(none.latencies, 50),
    p99: percentile(subject.latencies, 99) - percentile(none.latencies, 99),
  };
}

const more = options.flags.split(' ').filter(Boolean);
const server = await startServerProcess({
  flags: [
    ...['--models', makeRegistry(), '--experiments-database', join(folder, 'experiments.sqlite')],
    ...['--telemetry-log-level', 'info', ...more],
  ],
});
try {
  const subjects = VARIANTS.map((variant): Subject => {
    const client = asUsers(createLoadClient(server.url), variant.byName ?? false);
    return { variant, client, throughput: [], cpu: [], latencies: [] };
  });
  const { source, rate, otherCpu } = await measure(server, subjects);
  const rows = subjects.map((subject) => ({
    ...subject.variant,
    pairsPerSecond: median(subject.throughput),
    cpuMsAPair: median(subject.cpu),
    ...{ p50Ms: percentile(subject.latencies, 50), p99Ms: percentile(subject.latencies, 99) },
    ...{ requests: subject.latencies.length, change: costs(subject, subjects) },
  }));
  console.log(
    `${cpus()[0]?.model}, ${cpus().length} cores, node ${process.version}; ${source}, ${plan.passages} passages a request;`,
  );
  console.log(`open loop at ${rate.toFixed(1)} requests/s of ${FEW} passages; other CPU ${otherCpu} % of a core\n`);
  const signed = (ms: number) => `${ms < 0 ? '−' : '+'}${Math.abs(ms).toFixed(2)}`;
  console.log(
    table(
      ['experiment', 'beside', 'pairs/s', 'ratio', 'CPU ms a pair', 'ratio', 'p50 ms', 'Δ p50', 'p99 ms', 'Δ p99'],
      rows.map((r) => [
        ...[r.name, r.beside ?? '', r.pairsPerSecond.toFixed(1), r.change.ratio.toFixed(3)],
        ...[r.cpuMsAPair.toFixed(2), r.change.cpu.toFixed(3), r.p50Ms.toFixed(1)],
        ...[signed(r.change.p50), r.p99Ms.toFixed(1), signed(r.change.p99)],
      ]),
    ),
  );
  const verdicts = rows
    .filter(({ beside }) => beside !== undefined)
    .flatMap(({ name, change: { ratio, p99 } }) => [
      { what: `throughput, ${name}`, seen: ratio.toFixed(3), target: '≥ 0.98', met: ratio >= 0.98 },
      { what: `p99, ${name}`, seen: `${signed(p99)} ms`, target: '≤ +1 ms', met: p99 <= 1 },
    ]);
  const count = async (name: string) => (await server.metric(name)) || 0;
  const [stored, lost] = [
    await count('winnow_exposures_stored_total'),
    await count('winnow_exposures_lost_total{reason="buffer_full"}'),
  ];
  console.log(`\n${stored} exposures stored, ${lost} lost\n`);
  console.log(
    table(
      ['target', 'seen', 'asked', 'met'],
      verdicts.map((v) => [v.what, v.seen, v.target, v.met ? 'yes' : 'NO']),
    ),
  );
  const result = { machine: cpus()[0]?.model, cores: cpus().length, source, plan, otherCpu, rows, verdicts };
  if (options.json) writeFileSync(options.json, `${JSON.stringify(result, null, 1)}\n`);
  for (const { client } of subjects) client.close();
} finally {
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
}
