/*
 * What an experiment costs: the same load on servers that differ in nothing but experiments.yaml.
 *
 *   npm run bench:experiments -- [--quick] [--rounds 8] [--requests 240] [--seconds 30] [--passages 20] [--json FILE] [--flags '…']
 *
 * `none` has no experiment, `one version` splits users between two arms that are the same version (what assignment and log cost), `two versions`
 * between two copies of the model (what it costs besides that arms share no batch). Rounds alternate, so that what else the machine does
 * falls on all of them; `other CPU` says how much that was.
 */
import { cpSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { stringify } from 'yaml';
import { createLoadClient, type LoadClient } from './load/client.ts';
import { closedLoop, openLoop } from './load/loops.ts';
import { watchOthers } from './load/processes.ts';
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
const base = options.quick ? { rounds: 2, requests: 32, seconds: 6 } : { rounds: 8, requests: 240, seconds: 30 };
const plan = {
  rounds: Number(options.rounds ?? base.rounds),
  requests: Number(options.requests ?? base.requests),
  seconds: Number(options.seconds ?? base.seconds),
  passages: Number(options.passages),
};
/** Requests in flight in the closed loop, so that no host waits for work. */
const CONCURRENCY = 8;
/** Share of the capacity in the open loop: busy, but no queue that would hide everything else. */
const LOAD = 0.6;
const USERS = 5000;

const VARIANTS = ['none', 'one version', 'two versions'] as const;
type Variant = (typeof VARIANTS)[number];

const folder = mkdtempSync(join(tmpdir(), 'winnow-bench-experiments-'));
const median = (values: readonly number[]) => percentile(values, 50);

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

function makeFile(variant: Variant): readonly string[] {
  if (variant === 'none') return [];
  const name = variant.replace(' ', '-');
  const experiment = {
    name,
    arms: [
      { name: 'a', model: 'm@1' },
      { name: 'b', model: variant === 'one version' ? 'm@1' : 'm@2' },
    ],
    control: 'a',
    metrics: [{ name: 'clicks' }],
    guardrails: [{ metric: 'errors', max: 0.5 }],
  };
  const file = join(folder, `${name}.yaml`);
  writeFileSync(file, stringify({ experiments: [experiment] }));
  return ['--experiments', file, '--experiments-database', join(folder, `${name}.sqlite`)];
}

interface Subject {
  readonly variant: Variant;
  readonly server: ServerProcess;
  readonly client: LoadClient;
  readonly throughput: number[];
  readonly p99: number[];
  readonly p50: number[];
}

/** Every request comes from the next of many users. */
function asUsers(client: LoadClient): LoadClient {
  let next = 0;
  return {
    rerank: (request, headers = {}) => client.rerank(request, { ...headers, 'x-user-id': `user-${next++ % USERS}` }),
    close: () => client.close(),
  };
}

async function open(variant: Variant, registry: string): Promise<Subject> {
  const more = options.flags.split(' ').filter(Boolean);
  const flags = ['--models', registry, '--telemetry-log-level', 'info', ...makeFile(variant), ...more];
  const server = await startServerProcess({ flags });
  return { variant, server, client: asUsers(createLoadClient(server.url)), throughput: [], p99: [], p50: [] };
}

/** Pairs a second with all hosts busy. */
async function saturate({ client }: Subject, requests: readonly LoadRequest[]): Promise<number> {
  const run = await closedLoop(client, requests[Symbol.iterator](), { concurrency: CONCURRENCY, until: () => false });
  const summary = summarise(run);
  // A refusal under foreign load is no answer and counts as none; a failure is a fault.
  if (summary.failed > 0) throw new Error(`requests failed: ${summary.firstError}`);
  return summary.pairsPerSecond;
}

async function measure(subjects: readonly Subject[]) {
  const { source, topics } = loadTopics();
  const stream = requestStream(topics, plan.passages, 1);
  const requests = Array.from({ length: plan.requests }, () => stream.next().value);
  for (const subject of subjects) await saturate(subject, requests.slice(0, 2 * CONCURRENCY));
  const others = watchOthers(subjects.map(({ server }) => server.pid));
  for (let round = 0; round < plan.rounds; round++) {
    // Every other round in the opposite order, so that being first is nobody's advantage.
    for (const subject of round % 2 === 0 ? subjects : subjects.toReversed())
      subject.throughput.push(await saturate(subject, requests));
    console.error(
      `round ${round + 1}: ${subjects.map((s) => `${s.variant} ${s.throughput.at(-1)!.toFixed(1)}`).join(', ')} pairs/s`,
    );
  }
  const rate = (LOAD * median(subjects[0]!.throughput)) / plan.passages;
  for (let round = 0; round < Math.max(2, plan.rounds / 2); round++)
    for (const subject of round % 2 === 0 ? subjects : subjects.toReversed()) {
      const run = await openLoop(subject.client, requestStream(topics, plan.passages, round), {
        ...{ rate, seconds: plan.seconds, seed: round },
      });
      const { p50, p99 } = summarise(run);
      subject.p50.push(p50);
      subject.p99.push(p99);
    }
  return { source, rate, otherCpu: others() };
}

/** Medians over rounds of the ratio and the difference within a round. */
function costs(subject: Subject, none: Subject) {
  return {
    ratio: median(subject.throughput.map((rate, i) => rate / none.throughput[i]!)),
    p50: median(subject.p50.map((ms, i) => ms - none.p50[i]!)),
    p99: median(subject.p99.map((ms, i) => ms - none.p99[i]!)),
  };
}

async function exposuresOf({ server, variant }: Subject) {
  if (variant === 'none') return { stored: 0, lost: 0 };
  const count = async (name: string) => (await server.metric(name)) || 0;
  return {
    stored: await count('winnow_exposures_stored_total'),
    lost: await count('winnow_exposures_lost_total{reason="buffer_full"}'),
  };
}

const subjects: Subject[] = [];
try {
  const registry = makeRegistry();
  for (const variant of VARIANTS) subjects.push(await open(variant, registry));
  const { source, rate, otherCpu } = await measure(subjects);
  const none = subjects[0]!;
  const rows = await Promise.all(
    subjects.map(async (subject) => ({
      variant: subject.variant,
      pairsPerSecond: median(subject.throughput),
      ...{ p50Ms: median(subject.p50), p99Ms: median(subject.p99) },
      ...costs(subject, none),
      ...(await exposuresOf(subject)),
    })),
  );
  console.log(
    `${cpus()[0]?.model}, ${cpus().length} cores, node ${process.version}; ${source}, ${plan.passages} passages a request;`,
  );
  console.log(`open loop at ${rate.toFixed(1)} requests/s; other CPU ${otherCpu} % of a core\n`);
  const signed = (ms: number) => `${ms < 0 ? '−' : '+'}${Math.abs(ms).toFixed(2)}`;
  console.log(
    table(
      ['experiment', 'pairs/s', 'ratio', 'p50 ms', 'Δ p50', 'p99 ms', 'Δ p99', 'exposures', 'lost'],
      rows.map((r) => [
        ...[r.variant, r.pairsPerSecond.toFixed(1), r.ratio.toFixed(3), r.p50Ms.toFixed(1), signed(r.p50)],
        ...[r.p99Ms.toFixed(1), signed(r.p99), `${r.stored}`, `${r.lost}`],
      ]),
    ),
  );
  const [, one] = rows;
  const verdicts = [
    { what: 'throughput, one version', seen: one!.ratio.toFixed(3), target: '≥ 0.98', met: one!.ratio >= 0.98 },
    { what: 'p99, one version', seen: `${signed(one!.p99)} ms`, target: '≤ +1 ms', met: one!.p99 <= 1 },
  ];
  console.log('');
  console.log(
    table(
      ['target', 'seen', 'asked', 'met'],
      verdicts.map((v) => [v.what, v.seen, v.target, v.met ? 'yes' : 'NO']),
    ),
  );
  const result = { machine: cpus()[0]?.model, cores: cpus().length, source, plan, otherCpu, rows, verdicts };
  if (options.json) writeFileSync(options.json, `${JSON.stringify(result, null, 1)}\n`);
} finally {
  for (const { client, server } of subjects) {
    client.close();
    await server.stop();
  }
  rmSync(folder, { recursive: true, force: true });
}
