import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '../src/config/load-config.ts';
import type { PassagesReport } from '../src/http/routes/passage-schemas.ts';
import { openStack, type Stack } from '../src/main/stack.ts';
import { DEFAULT_SETTINGS, pairOptions } from '../src/rerank/pair-settings.ts';
import { createMetrics } from '../src/telemetry/instruments.ts';
import { createLogger } from '../src/telemetry/logger.ts';
import { writeFileAtomic } from '../src/util/files.ts';
import { createLoadClient, type LoadClient } from './load/client.ts';
import { readFlags } from './load/flags.ts';
import { cpuSeconds, watchOthers } from './load/processes.ts';
import { loadTopics, type Topic } from './load/requests.ts';
import { type ServerProcess, startServerProcess } from './load/server.ts';
import { SHIPPED } from './load/shipped.ts';
import { type Cell, cellsOf, FreshPassages, labelOf, type Took } from './passages/cells.ts';
import { Report } from './passages/report.ts';
import { install, keptSystems, type System } from './passages/systems.ts';

const ABOUT = `
What kept passages save: a query and its candidate list are scored by models that keep what they make of passages, with none, half, nine
tenths and all of the passages kept, and by cross-encoders. All take turns in every round, each once through the parts of the service in this
process (tokenizers, scheduler, hosts) and once through HTTP.

Prints the milliseconds of a request (medians over rounds) and how many times as long the float32 and the int8 cross-encoder take; the
processor milliseconds; then the memory of a passage, the hit rates from which on a model is faster, and the time without hits as a multiple of
encoding alone; then the targets.
`;

const options = readFlags('passages', ABOUT, {
  'bi-encoder': { type: 'string', default: '', help: 'Bi-encoder, as NAME=FOLDER: k = 0.' },
  tops: { type: 'string', default: '2,3', help: 'Interaction layers of models that are made of it; empty: none.' },
  model: { type: 'string', default: '', help: 'More models that keep passages: NAME=FOLDER, comma-separated.' },
  float32: { type: 'string', default: '', help: 'float32 cross-encoder of 6 layers (default: that of bench:peers).' },
  int8: { type: 'string', default: SHIPPED, help: 'int8 cross-encoder of 6 layers.' },
  passages: { type: 'string', default: '100', help: 'Passages of a request.' },
  rounds: { type: 'string', default: '3', help: 'Rounds.' },
  layout: { type: 'string', default: '1x1', help: 'Hosts × threads.' },
  json: { type: 'string', default: '', help: 'JSON file to write.' },
  picture: { type: 'string', default: '', help: 'SVG file to write.' },
});

/** Requests that are averaged where a request takes milliseconds. */
const REPEATS = 10;
const CACHE_BYTES = String(2 ** 30);

/** Returns the float32 model that `bench:peers` has trained. */
function peersModel(): string {
  const at = join(import.meta.dirname, '../runs/peers/registry');
  const [name] = existsSync(at) ? readdirSync(at).filter((one) => existsSync(join(at, one, '1'))) : [];
  if (name === undefined) throw new Error('expected --float32 FOLDER, or the model that `npm run bench:peers` makes');
  return join(at, name, '1');
}

interface Sides {
  readonly stack: Stack;
  readonly server: ServerProcess;
  readonly client: LoadClient;
}

async function ask({ stack, client }: Sides, { system, way }: Cell, { query, passages }: Topic): Promise<void> {
  const model = system.name;
  if (way === 'http') {
    const { status, error } = await client.rerank({ model, query, passages });
    if (status !== 200) throw new Error(`${model}: ${status} ${error}`);
    return;
  }
  const deadlineMs = 600_000;
  const request = {
    requestId: 'bench',
    model,
    query,
    passages,
    truncate: true,
    lane: 'interactive',
    deadlineMs,
  } as const;
  await stack.reranker.rerank(request);
}

/** Measures `work`, which does something `times` times. @param pid Root of the processes that do it. */
async function timed(pid: number, times: number, work: () => Promise<void>): Promise<Took> {
  const cpu = cpuSeconds(pid);
  const begin = performance.now();
  for (let i = 0; i < times; i++) await work();
  const ms = (performance.now() - begin) / times;
  return { ms, cpuMs: (1000 * (cpuSeconds(pid) - cpu)) / times };
}

/** Tokenizes passages and runs them by the engine, for vectors or states. */
async function encode({ stack }: Sides, { name }: System, passages: readonly string[]): Promise<void> {
  const lease = await stack.registry.acquire(name);
  try {
    const { version } = lease;
    const tokenizer = await stack.tokenizers.for(version.folder);
    const prefix = version.encoder?.passagePrefix ?? '';
    const cut = pairOptions({ truncate: true }, version, DEFAULT_SETTINGS);
    const { rows } = await tokenizer.encodeTexts(passages, { ...cut, prefix });
    const key = version.passages?.key ?? version.key;
    await stack.scheduler.submit({ key, rows, lane: 'interactive', deadline: Number.POSITIVE_INFINITY });
    await tokenizer.close();
  } finally {
    lease.release();
  }
}

/** Reads the memory of a kept passage. */
async function bytesOf({ server }: Sides): Promise<ReadonlyMap<string, number>> {
  const answer = (await (await fetch(`${server.url}/v1/passages`)).json()) as PassagesReport;
  return new Map(answer.models.map(({ model, bytes, entries }) => [model, bytes / entries]));
}

async function measure(sides: Sides, systems: readonly System[], topic: Topic) {
  const fresh = new FreshPassages();
  const took = new Map<string, Took[]>();
  const encoding = new Map<string, number[]>();
  const add = <T>(to: Map<string, T[]>, name: string, value: T) => void to.set(name, [...(to.get(name) ?? []), value]);
  const cells = cellsOf(systems);
  // Compiles code, loads models, and keeps the passages as they are.
  for (const cell of cells.filter(({ rate }) => rate === 0)) await ask(sides, cell, topic);
  for (let round = 0; round < Number(options.rounds); round++) {
    for (const cell of round % 2 === 0 ? cells : cells.toReversed()) {
      const { system, rate, way } = cell;
      const pid = way === 'http' ? sides.server.pid : process.pid;
      const times = rate === 1 ? REPEATS : 1;
      const list = fresh.list(topic, rate);
      add(took, labelOf(cell), await timed(pid, times, () => ask(sides, cell, list)));
      if (rate !== 0 || way === 'http' || system.kind !== 'kept') continue;
      const { passages } = fresh.list(topic, 0);
      add(encoding, system.name, (await timed(pid, 1, () => encode(sides, system, passages))).ms);
    }
    process.stderr.write(`round ${round + 1} of ${options.rounds}\n`);
  }
  return { systems, took, encoding, bytes: await bytesOf(sides) };
}

async function main(): Promise<void> {
  const folder = options.float32 || peersModel();
  const systems: readonly System[] = [
    ...keptSystems(options['bi-encoder'], options.tops),
    ...keptSystems(options.model),
    { name: 'float32-l6', folder, kind: 'float32', top: 0 },
    { name: 'int8-l6', folder: options.int8, kind: 'int8', top: 0 },
  ];
  const { source, topics } = loadTopics();
  const [hosts = '1', threads = '1'] = options.layout.split('x');
  const registry = mkdtempSync(join(tmpdir(), 'winnow-bench-passages-'));
  const cleanup = new AsyncDisposableStack();
  cleanup.defer(() => rmSync(registry, { recursive: true, force: true }));
  try {
    for (const system of systems) install(system, registry);
    const layout = ['--inference-hosts', hosts, '--inference-threads', threads];
    const flags = ['--models', registry, '--registry-watch', 'false', '--cache-passage-bytes', CACHE_BYTES, ...layout];
    const metrics = createMetrics();
    cleanup.defer(() => metrics.close());
    const stack = await openStack(loadConfig(flags, {}), { metrics, logger: createLogger('warn') });
    cleanup.defer(() => stack.close());
    const server = await startServerProcess({ flags });
    cleanup.defer(async () => void (await server.stop()));
    const client = createLoadClient(server.url);
    cleanup.defer(() => client.close());
    const others = watchOthers([server.pid]);
    const topic = topics.find(({ passages }) => passages.length >= Number(options.passages));
    if (!topic) throw new Error(`expected a list of ${options.passages} passages, got none in ${source}`);
    const list = { query: topic.query, passages: topic.passages.slice(0, Number(options.passages)) };
    const measured = await measure({ stack, server, client }, systems, list);
    const otherCpu = others();
    const report = new Report(measured);
    const about = `${cpus()[0]?.model}, ${options.layout} hosts × threads, node ${process.version}, other CPU ${otherCpu} %`;
    process.stdout.write(`${about}; ${source}: ${list.passages.length} passages\n\n`);
    process.stdout.write(`${report.times()}\n\n${report.passages()}\n\n${report.targets()}\n`);
    const { took, encoding, bytes } = measured;
    const plain = { about, otherCpu, systems, took: [...took], encoding: [...encoding], bytes: [...bytes] };
    if (options.json) await writeFileAtomic(options.json, `${JSON.stringify(plain, undefined, 2)}\n`);
    if (options.picture) await writeFileAtomic(options.picture, await report.picture());
  } finally {
    await cleanup.disposeAsync();
  }
}

await main();
