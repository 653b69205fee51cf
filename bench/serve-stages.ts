import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { layouts } from '../src/inference/host-layout.ts';
import { sessionOptions } from '../src/inference/providers.ts';
import { createLoadClient, type LoadClient, type Route } from './load/client.ts';
import { type BareEngine, encodeRequests, sortedBatches, startBareEngine } from './load/engine.ts';
import { median, table } from './load/figures.ts';
import { ownCpuSeconds, processTree } from './load/processes.ts';
import type { LoadRequest } from './load/requests.ts';
import { readBatchShape, type ServerProcess, shapeBetween, startServerProcess } from './load/server.ts';
import { FRONT_STAGES, HOST_STAGES, readProfiles, stagesBetween } from './load/stage-profile.ts';
import { CONCURRENCY, fileOf, type Served, servedBy, serverRound } from './serve-rounds.ts';

/** The server takes all requests, however slow the machine is. */
const PATIENT = ['--scheduling-max-wait-ms', '3600000', '--server-request-timeout-ms', '3600000'];

export interface StageSettings {
  readonly models: string;
  /** Flags of `winnow serve`. */
  readonly flags: readonly string[];
  readonly rounds: number;
  /** Tokens of a padded batch that are tried for the bare engine. */
  readonly sizes: readonly number[];
  readonly requests: readonly LoadRequest[];
  /** Pairs that a server answers before it is measured: until then V8 compiles its code. */
  readonly warmUp: number;
}

/** What a round took: seconds of the clock, and of processors. */
interface Cost {
  readonly wall: number;
  readonly cpu: number;
}

interface Contender {
  readonly name: string;
  readonly pairs: number;
  round(): Promise<Cost>;
}

async function measured(used: () => number, work: () => Promise<unknown>): Promise<Cost> {
  const [before, from] = [used(), performance.now()];
  await work();
  return { wall: (performance.now() - from) / 1000, cpu: used() - before };
}

const pairsOf = (requests: readonly LoadRequest[]) => requests.reduce((sum, { passages }) => sum + passages.length, 0);

/** Starts the engine alone in every layout and batch size, and keeps the one that takes the least processor time. */
async function bestEngine(served: Served, { requests, sizes }: StageSettings): Promise<Contender & { close(): void }> {
  const groups = await Promise.all(
    Array.from({ length: Math.ceil(requests.length / CONCURRENCY) }, (_, i) =>
      encodeRequests(served.folder, requests.slice(i * CONCURRENCY, (i + 1) * CONCURRENCY), served.maxLength),
    ),
  );
  const pairs = pairsOf(requests);
  const round = (engine: BareEngine) =>
    measured(
      () => engine.pids.reduce((sum, pid) => sum + ownCpuSeconds(pid), 0),
      () => engine.round(),
    );
  let best: { readonly name: string; readonly engine: BareEngine; readonly cpu: number } | undefined;
  for (const { hosts, threads } of layouts())
    for (const tokens of sizes) {
      const batches = groups.flatMap((rows) => sortedBatches(rows, { tokens, rows: Number.POSITIVE_INFINITY }));
      const engine = await startBareEngine(fileOf(served), { hosts, threads }, batches, sessionOptions({ threads }));
      const costs = [await round(engine), await round(engine)];
      const name = `engine alone, ${hosts}×${threads}, ${tokens} tokens`;
      const cpu = Math.min(...costs.map((cost) => cost.cpu));
      console.error(`${name}: ${((1000 * cpu) / pairs).toFixed(2)} processor ms a pair`);
      if (best && best.cpu <= cpu) engine.close();
      else {
        best?.engine.close();
        best = { name, engine, cpu };
      }
    }
  const { name, engine } = best!;
  return { name, pairs, round: () => round(engine), close: () => engine.close() };
}

/** Sends rounds until a server has answered the pairs of the warm-up; one at least. */
async function warm(client: LoadClient, requests: readonly LoadRequest[], warmUp: number): Promise<void> {
  const pairs = pairsOf(requests);
  for (let sent = 0; sent === 0 || sent < warmUp; sent += pairs) await serverRound(client, requests);
}

interface Mode {
  readonly name: string;
  /** Pairs that are scored for each pair sent; 1 if absent. */
  readonly scored?: number;
  readonly flags?: readonly string[];
  readonly route?: Route;
  readonly change?: (request: LoadRequest) => LoadRequest;
}

const twice = ({ passages, ...rest }: LoadRequest): LoadRequest => ({ ...rest, passages: [...passages, ...passages] });

/** Two models of the same size; the first passes half of the passages on. */
function cascaded(request: LoadRequest): LoadRequest {
  const keep = Math.ceil(request.passages.length / 2);
  return { ...request, cascade: [{ model: 'minilm-l6-marginmse', keep }, { model: 'minilm-l6-bce' }] };
}

/** Ways to send the same pairs. Rounds repeat the same requests, so that all but the second have their token ids cached. */
const MODES: readonly Mode[] = [
  { name: '/rerank, token ids cached' },
  { name: '/rerank, no token cache', flags: ['--tokenization-cache-bytes', '0'] },
  { name: '/score, token ids cached', route: 'score' },
  { name: '/rerank, every passage twice', change: twice },
  { name: '/rerank, cascade of two models, half goes on', change: cascaded, scored: 1.5 },
  { name: '/rerank, all scores cached', flags: ['--score-cache-bytes', '67108864'] },
];

interface OpenMode extends Contender {
  /** Says what its batches held since the first round. */
  shape(): Promise<string>;
  close(): Promise<void>;
}

async function openMode(
  { name, flags = [], route, change = (r) => r, scored = 1 }: Mode,
  settings: StageSettings,
): Promise<OpenMode> {
  const server = await startServerProcess({ flags: [...settings.flags, ...PATIENT, ...flags] });
  const client = createLoadClient(server.url, route);
  const requests = settings.requests.map(change);
  const tree = processTree(server.pid);
  const round = () =>
    measured(
      () => tree.reduce((sum, pid) => sum + ownCpuSeconds(pid), 0),
      () => serverRound(client, requests),
    );
  await warm(client, requests, settings.warmUp);
  const before = await readBatchShape(server.url);
  return {
    name,
    pairs: scored * pairsOf(requests),
    round,
    shape: async () => shapeBetween(before, await readBatchShape(server.url)),
    async close() {
      client.close();
      await server.stop();
    },
  };
}

/** Cost of the modes beside the engine alone, in alternating rounds. */
async function compareModes(settings: StageSettings, served: Served): Promise<string> {
  const engine = await bestEngine(served, settings);
  const rows: string[][] = [];
  try {
    for (const mode of MODES) {
      const open = await openMode(mode, settings);
      const runs: { readonly own: Cost; readonly bare: Cost }[] = [];
      for (let round = 0; round < settings.rounds; round++)
        runs.push({ bare: await engine.round(), own: await open.round() });
      const shape = await open.shape();
      await open.close();
      const share = (of: (cost: Cost) => number) =>
        median(runs.map(({ own, bare }) => ((mode.scored ?? 1) * of(bare)) / of(own)));
      const ms = (1000 * median(runs.map(({ own }) => own.cpu))) / open.pairs;
      const row = [
        mode.name,
        ms.toFixed(2),
        percentText(share(({ cpu }) => cpu)),
        percentText(share(({ wall }) => wall)),
        shape,
      ];
      console.error(row.join(', '));
      rows.push(row);
    }
  } finally {
    engine.close();
  }
  const head = ['way', 'processor ms a pair', 'engine ÷ server, processor time', 'by the clock', 'a batch'];
  return `Best engine: ${engine.name}.\n\n${table(head, rows)}`;
}

const percentText = (share: number) => `${(100 * share).toFixed(0)} %`;

const now = () => Number(process.hrtime.bigint() / 1000n);

/** Processor time by stage, from a server that profiles itself. */
async function profileStages(settings: StageSettings): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'winnow-profile-'));
  try {
    const env = { NODE_OPTIONS: `--cpu-prof --cpu-prof-interval 250 --cpu-prof-dir=${folder}` };
    const server = await startServerProcess({ flags: [...settings.flags, ...PATIENT], env });
    const { span, tree } = await profiledLoad(server, settings);
    await server.stop();
    const pairs = settings.rounds * pairsOf(settings.requests);
    const [front, ...hosts] = tree;
    const lines = [
      ...stageLines('front', [front!], folder, FRONT_STAGES, span, pairs),
      ...stageLines('tokenizer threads', [front!], folder, [['tokenize', /./]], span, pairs, true),
      ...stageLines('hosts', hosts, folder, HOST_STAGES, span, pairs),
    ];
    return table(['process', 'stage', 'ms a pair'], lines);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function profiledLoad(server: ServerProcess, { requests, rounds, warmUp }: StageSettings) {
  const client = createLoadClient(server.url);
  const tree = processTree(server.pid);
  await warm(client, requests, warmUp);
  const from = now();
  for (let round = 0; round < rounds; round++) await serverRound(client, requests);
  client.close();
  return { span: [from, now()] as const, tree };
}

function stageLines(
  name: string,
  pids: readonly number[],
  folder: string,
  rules: Parameters<typeof stagesBetween>[1],
  span: readonly [number, number],
  pairs: number,
  threads = false,
): string[][] {
  const sums = new Map<string, number>();
  for (const pid of pids)
    for (const profile of readProfiles(folder, pid, threads))
      for (const [stage, ms] of stagesBetween(profile, rules, span)) sums.set(stage, (sums.get(stage) ?? 0) + ms);
  return [...sums].toSorted(([, a], [, b]) => b - a).map(([stage, ms]) => [name, stage, (ms / pairs).toFixed(3)]);
}

/** Passages of a small request, and how many are sent. */
const SMALL = { passages: 10, requests: 30 } as const;

/** Latency of small requests to an idle server beside the engine's time for the same rows. */
async function smallRequests(settings: StageSettings, served: Served): Promise<string> {
  const small = settings.requests
    .slice(0, SMALL.requests)
    .map(({ passages, ...rest }) => ({ ...rest, passages: passages.slice(0, SMALL.passages) }));
  const server = await startServerProcess({ flags: [...settings.flags, ...PATIENT] });
  const client = createLoadClient(server.url);
  const engines: { readonly name: string; readonly engine: BareEngine }[] = [];
  try {
    for (const { hosts, threads } of layouts())
      for (const tokens of [512, 1024]) {
        const batches = await Promise.all(
          small.map(async (one) =>
            sortedBatches(await encodeRequests(served.folder, [one], served.maxLength), { tokens, rows: 64 }),
          ),
        );
        const engine = await startBareEngine(
          fileOf(served),
          { hosts, threads },
          batches.flat(),
          sessionOptions({ threads }),
        );
        engines.push({ name: `${hosts}×${threads}, ${tokens} tokens`, engine });
      }
    await alone(client, small);
    const runs: { readonly own: number; readonly bare: readonly number[] }[] = [];
    for (let round = 0; round < settings.rounds; round++) {
      const bare: number[] = [];
      for (const { engine } of engines) bare.push(await engine.round());
      runs.push({ own: await alone(client, small), bare });
    }
    const medians = engines.map((_, i) => median(runs.map(({ bare }) => bare[i]!)));
    const best = medians.indexOf(Math.min(...medians));
    const ratio = median(runs.map(({ own, bare }) => own / bare[best]!));
    const ms = (seconds: number) => ((1000 * seconds) / small.length).toFixed(1);
    return `A request of ${SMALL.passages} passages, idle server: ${ms(median(runs.map(({ own }) => own)))} ms; engine alone (${engines[best]!.name}) ${ms(medians[best]!)} ms; ${ratio.toFixed(2)} times.`;
  } finally {
    for (const { engine } of engines) engine.close();
    client.close();
    await server.stop();
  }
}

/** Sends requests one after another. @returns seconds. */
async function alone(client: LoadClient, requests: readonly LoadRequest[]): Promise<number> {
  const from = performance.now();
  for (const request of requests) {
    const { status, error } = await client.rerank(request);
    if (status !== 200) throw new Error(`a small request failed: ${status} ${error ?? ''}`);
  }
  return (performance.now() - from) / 1000;
}

/** Measures what a request costs beside the engine, by way of sending and by stage. Returns Markdown. */
export async function stages(settings: StageSettings): Promise<string> {
  const server = await startServerProcess({ flags: settings.flags });
  const served = await servedBy(server, settings.models);
  await server.stop();
  const parts = [
    `${cpus()[0]?.model}, ${cpus().length} cores, node ${process.version}; ${served.folder.split('/').slice(-2).join('@')} (${served.variant})`,
    await compareModes(settings, served),
    await profileStages(settings),
    await smallRequests(settings, served),
  ];
  return parts.join('\n\n');
}
