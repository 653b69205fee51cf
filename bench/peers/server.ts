import { within } from '../../src/util/within.ts';
import { createLoadClient } from '../load/client.ts';
import type { LoadRequest } from '../load/requests.ts';
import { startServerProcess } from '../load/server.ts';
import type { Contestant, Layout } from './contestant.ts';
import type { Work } from './work.ts';

/** Load of a server. */
interface Load {
  /** Passages of a request, at most. */
  readonly passages: number;
  /** Requests in flight. */
  readonly inFlight: number;
}

export interface ServerSpec {
  /** Registry folder. */
  readonly registry: string;
  readonly variant: 'int8' | 'fp32';
  readonly layout: Layout;
  readonly load: Load;
  readonly deadlineMs: number;
}

/** Passages of a request of the run among mixed lengths: other requests, and so other batches, than those of the first run. */
const MIXED_PASSAGES = 7;

/** Pairs that a server scores before it is timed: its JavaScript is compiled after some ten seconds of load. */
const WARM_PAIRS = 10_000;

/** Requests wait as long as the benchmark does: a busy machine refuses none. */
const PATIENCE_MS = '600000';
const PATIENCE = { 'x-winnow-deadline-ms': PATIENCE_MS };

interface PlacedRequest extends LoadRequest {
  readonly places: readonly number[];
}

/** Makes requests of neighboring pairs of one query. */
function requestsOf({ pairs }: Work, places: readonly number[], passages: number): PlacedRequest[] {
  const groups: number[][] = [];
  for (const place of places) {
    const last = groups.at(-1);
    const isSame = last && last.length < passages && pairs[last[0]!]![0] === pairs[place]![0];
    if (isSame) last.push(place);
    else groups.push([place]);
  }
  return groups.map((group) => ({
    query: pairs[group[0]!]![0],
    passages: group.map((place) => pairs[place]![1]),
    places: group,
  }));
}

/**
 * Starts `winnow serve` without caches, so that every round tokenizes and scores anew; the pairs come as requests over HTTP.
 * @throws Error if it does not become ready before the deadline, or fails a request.
 */
export async function startServer(work: Work, spec: ServerSpec): Promise<Contestant> {
  const { registry, variant, layout, load, deadlineMs } = spec;
  const hosts = ['--inference-hosts', String(layout.processes), '--inference-threads', String(layout.threads)];
  const caches = ['--tokenization-cache-bytes', '0', '--score-cache-bytes', '0'];
  const patience = ['--scheduling-max-wait-ms', PATIENCE_MS];
  const flags = ['--models', registry, '--registry-variant', variant, ...hosts, ...caches, ...patience];
  const late = () => new Error(`expected a ready server within ${deadlineMs / 1000} s (--deadline)`);
  const server = await within(deadlineMs, startServerProcess({ flags }), late);
  const client = createLoadClient(server.url);
  const scored = new Map<number, number>();
  const ask = async (requests: readonly PlacedRequest[], inFlight: number) => {
    const waiting = [...requests];
    const one = async () => {
      for (let next = waiting.shift(); next; next = waiting.shift()) {
        const { status, error, scores } = await client.rerank(next, PATIENCE);
        if (!scores) throw new Error(`expected scores, got ${status}: ${error}`);
        next.places.forEach((place, i) => {
          scored.set(place, scores[i]!);
        });
      }
    };
    const slow = () => new Error(`expected answers within ${deadlineMs / 1000} s, got none (--deadline)`);
    await within(deadlineMs, Promise.all(Array.from({ length: inFlight }, one)), slow);
  };
  const close = async () => {
    client.close();
    await server.stop();
  };
  const speed = requestsOf(work, work.speed, load.passages);
  try {
    for (let sent = 0; sent < WARM_PAIRS; sent += work.speed.length) await ask(speed, load.inFlight);
  } catch (error) {
    await close();
    throw error;
  }
  return {
    version: '',
    pids: [server.pid],
    round: () => ask(speed, load.inFlight),
    async together() {
      const places = [...work.pairs.keys()];
      await ask(requestsOf(work, places, load.passages), load.inFlight);
      return Float64Array.from(places, (place) => scored.get(place)!);
    },
    async alone() {
      await ask(requestsOf(work, work.alone, 1), 1);
      return Float64Array.from(work.alone, (place) => scored.get(place)!);
    },
    async mixed() {
      await ask(requestsOf(work, [...work.pairs.keys()], MIXED_PASSAGES), load.inFlight);
      return Float64Array.from(work.alone, (place) => scored.get(place)!);
    },
    close,
  };
}
