import { join } from 'node:path';
import { layouts } from '../src/inference/host-layout.ts';
import type { LoadClient } from './load/client.ts';
import { type BareEngine, type BareRow, encodeRequests, sortedBatches, startBareEngine } from './load/engine.ts';
import { closedLoop } from './load/loops.ts';
import { watchOthers } from './load/processes.ts';
import type { LoadRequest } from './load/requests.ts';
import type { ServerProcess } from './load/server.ts';
import { startTransformers } from './load/transformers.ts';

/** Requests in flight in the closed loop: enough to keep every host busy. */
export const CONCURRENCY = 8;

/** The model and batch limits a server reports; engine and peer use the same. */
export interface Served {
  readonly folder: string;
  readonly variant: 'int8' | 'fp32' | 'fp16';
  readonly maxLength: number;
  readonly batchRows: number;
}

interface Model {
  readonly name: string;
  readonly version: string;
  readonly state: string;
  readonly default: boolean;
  readonly variant: Served['variant'];
  readonly max_length: number;
}

/** Reads what a server serves from its API. @throws Error if its default model is not in memory. */
export async function servedBy(server: ServerProcess, registry: string): Promise<Served> {
  const get = async <T>(path: string) => (await (await fetch(server.url + path)).json()) as T;
  const models = await get<{ data: Model[] }>('/v1/models');
  const info = await get<{ max_batch_requests: number }>('/info');
  const found = models.data.find((model) => model.default && model.state === 'ready');
  if (!found) throw new Error('the server has no default model in memory');
  return {
    folder: join(registry, found.name, found.version),
    variant: found.variant,
    maxLength: found.max_length,
    batchRows: info.max_batch_requests,
  };
}

/** Sends all requests, several in flight. @returns seconds. @throws Error if one fails. */
export async function serverRound(client: LoadClient, requests: readonly LoadRequest[]): Promise<number> {
  const run = await closedLoop(client, requests[Symbol.iterator](), { concurrency: CONCURRENCY, until: () => false });
  const failed = run.samples.filter(({ status }) => status !== 200);
  if (failed.length > 0)
    throw new Error(`${failed.length} requests failed in the closed loop: ${JSON.stringify(failed[0])}`);
  return run.seconds;
}

/** Tokens of a padded batch that are tried for the bare engine. */
const SIZES = [384, 512, 1024] as const;

/** Batches the rows of as many requests as are in flight, sorted by length: the best a server could do. */
async function bestBatches(served: Served, requests: readonly LoadRequest[], tokens: number): Promise<BareRow[][]> {
  const budget = { tokens, rows: served.batchRows };
  const batches: BareRow[][] = [];
  for (let i = 0; i < requests.length; i += CONCURRENCY) {
    const rows = await encodeRequests(served.folder, requests.slice(i, i + CONCURRENCY), served.maxLength);
    batches.push(...sortedBatches(rows, budget));
  }
  return batches;
}

/** Returns the ONNX file that is served. */
export const fileOf = ({ folder, variant }: Served): string =>
  join(folder, 'onnx', variant === 'fp32' ? 'model.onnx' : `model_${variant}.onnx`);

/** Starts the bare engine in the fastest of the layouts that fit the cores, at the batch size that is fastest in it. */
async function fastestEngine(served: Served, requests: readonly LoadRequest[]) {
  const file = fileOf(served);
  const trials: { readonly name: string; readonly engine: BareEngine; readonly seconds: number }[] = [];
  for (const tokens of SIZES) {
    const batches = await bestBatches(served, requests, tokens);
    for (const { hosts, threads } of layouts()) {
      const engine = await startBareEngine(file, { hosts, threads }, batches);
      trials.push({ name: `${hosts}×${threads}, ${tokens} tokens`, engine, seconds: await engine.round() });
    }
  }
  const [best, ...others] = trials.toSorted((a, b) => a.seconds - b.seconds);
  for (const { engine } of others) engine.close();
  return best!;
}

/** Pairs a second, one value a round. */
export interface Rounds {
  /** Processes × threads of the engine, and the tokens of its batches. */
  readonly layout: string;
  readonly server: readonly number[];
  readonly engine: readonly number[];
  readonly peer: readonly number[];
  /** Memory of the peer, in bytes. */
  readonly peerRss: number;
  /** CPU use of everything else in the same time, in percent of a core. */
  readonly otherCpu: readonly number[];
}

/** Measures engine, server and @huggingface/transformers on the same requests, in alternating rounds. */
export async function alternate(
  client: LoadClient,
  pid: number,
  served: Served,
  requests: readonly LoadRequest[],
  rounds: number,
): Promise<Rounds> {
  const pairs = requests.reduce((sum, { passages }) => sum + passages.length, 0);
  const { engine, name } = await fastestEngine(served, requests);
  const { folder, variant: dtype, maxLength } = served;
  const peer = await startTransformers({ folder, dtype, maxLength, requests });
  const result = { engine: [] as number[], server: [] as number[], peer: [] as number[], otherCpu: [] as number[] };
  let peerRss = 0;
  for (let round = 1; round <= rounds; round++) {
    const others = watchOthers([pid]);
    result.engine.push(pairs / (await engine.round()));
    result.server.push(pairs / (await serverRound(client, requests)));
    const { seconds, rss } = await peer.round();
    result.peer.push(pairs / seconds);
    result.otherCpu.push(others());
    peerRss = Math.max(peerRss, rss);
    const seen = (['engine', 'server', 'peer'] as const).map((key) => `${key} ${result[key].at(-1)!.toFixed(1)}`);
    console.error(`round ${round}: ${seen.join(', ')} pairs/s`);
  }
  engine.close();
  peer.close();
  return { ...result, layout: name, peerRss };
}
