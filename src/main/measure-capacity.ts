import { setTimeout as delay } from 'node:timers/promises';
import type { Config } from '../config/config-schema.ts';
import { WinnowError } from '../errors.ts';
import type { ServedVersion } from '../registry/registry-types.ts';
import { createMetrics } from '../telemetry/instruments.ts';
import { createLogger } from '../telemetry/logger.ts';
import { closeAll } from './close-all.ts';
import { openStack, type Stack } from './stack.ts';

interface MeasuredLoad {
  /** The default model if absent. */
  readonly model?: string | undefined;
  readonly passages: number;
  /** Tokens of a pair, query and special tokens included. */
  readonly tokens: number;
  readonly seconds: number;
}

/** What requests of one shape take on this machine. */
export interface MeasuredCapacity {
  /** `model@version`. */
  readonly model: string;
  readonly variant: string;
  readonly provider: string;
  readonly hosts: number;
  readonly threads: number;
  readonly requests: number;
  /** Milliseconds that a request takes of one host while all of them are busy, everything around the engine included. */
  readonly hostMsARequest: number;
  /** On a CPU, the processor time within it. It is much less where other programs use the processor too. */
  readonly processorMsARequest?: number;
  readonly frontBytes: number;
  readonly hostBytes: number;
}

/** Passages in one request of the measurement. Requests with more are measured as several. */
const MOST_PASSAGES = 20;

/** Answers of each host that are measured at least, however long they take. */
const LEAST_ANSWERS = 4;

/** Requests in progress for each host: none of them waits for the next request. */
const AHEAD = 3;

const DEADLINE_MS = 600_000;

/** Words of at least one token each. */
const words = (count: number, seed: number): string => `${seed} ${'flea '.repeat(count)}`;

/** @throws WinnowError `invalid_input` where pairs of this length would be cut. */
function checkTokens({ name, maxLength }: ServedVersion, tokens: number): void {
  if (tokens > maxLength)
    throw new WinnowError('invalid_input', {
      where: '--tokens',
      expected: `at most ${maxLength}, to which ${name} cuts pairs`,
      got: `${tokens}`,
    });
}

/** Names the flag where a model cannot make pairs that short: its template and special tokens need more. */
function namingFlag(error: unknown): unknown {
  if (!(error instanceof WinnowError) || error.params.field !== 'maxLength') return error;
  const { expected = '', got = '' } = error.params;
  return new WinnowError('invalid_input', { where: '--tokens', expected, got });
}

interface Counted {
  readonly requests: number;
  readonly ms: number;
  readonly cpuMs: number;
}

/** Keeps all hosts busy with requests of one shape and counts answers, from the moment that the cost of batches is known. */
async function run(
  { reranker, pool }: Stack,
  model: string,
  { passages, tokens, seconds }: MeasuredLoad,
): Promise<Counted> {
  const stop = new AbortController();
  let answered = 0;
  let seed = 0;
  const client = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      const texts = Array.from({ length: passages }, () => words(tokens, ++seed));
      await reranker.rerank({
        requestId: `capacity ${seed}`,
        model,
        query: 'flea',
        passages: texts,
        truncate: true,
        maxPairTokens: tokens,
        lane: 'batch',
        deadlineMs: DEADLINE_MS,
      });
      answered++;
    }
  };
  const clients = Promise.all(Array.from({ length: AHEAD * pool.size }, client));
  const cpuMs = () => pool.facts().slots.reduce((sum, slot) => sum + slot.cpuMs, 0);
  const look = () => ({ requests: answered, ms: performance.now(), cpuMs: cpuMs() });
  const passed = (ms: number) => Promise.race([clients, delay(ms)]);
  // Answers come in bursts; the time between two answers is what is counted.
  const nextAnswer = async (): Promise<Counted> => {
    for (const before = answered; answered === before; ) await passed(5);
    return look();
  };
  while (answered < AHEAD * pool.size) await nextAnswer();
  const from = await nextAnswer();
  await passed(seconds * 1000);
  let to = await nextAnswer();
  while (to.requests - from.requests < LEAST_ANSWERS * pool.size) to = await nextAnswer();
  stop.abort();
  await clients;
  return { requests: to.requests - from.requests, ms: to.ms - from.ms, cpuMs: to.cpuMs - from.cpuMs };
}

/**
 * Measures what requests of one shape take of this machine's hosts, through tokenizer, scheduler and engine as in the server.
 * @throws WinnowError `invalid_input` for more tokens than the model takes; those of hosts, registry and re-ranker.
 */
export async function measureCapacity(config: Config, load: MeasuredLoad): Promise<MeasuredCapacity> {
  const cleanup = new AsyncDisposableStack();
  try {
    const metrics = createMetrics();
    cleanup.defer(() => metrics.close());
    const scheduling = { ...config.scheduling, maxWaitMs: DEADLINE_MS, queueTokens: Number.MAX_SAFE_INTEGER };
    // Measured are passages that no cache has.
    const cache = { ...config.cache, passageBytes: 0 };
    const stack = await openStack({ ...config, scheduling, cache }, { metrics, logger: createLogger('warn') });
    cleanup.defer(() => stack.close());
    cleanup.defer(() => stack.closePrefetched());
    const lease = await stack.registry.acquire(load.model);
    cleanup.defer(() => lease.release());
    const { version } = lease;
    checkTokens(version, load.tokens);
    // Many passages are measured in parts: otherwise a few seconds see a few answers.
    const part = Math.min(load.passages, MOST_PASSAGES);
    const model = `${version.name}@${version.version}`;
    const { requests, ms, cpuMs } = await run(stack, model, { ...load, passages: part }).catch((error: unknown) => {
      throw namingFlag(error);
    });
    const { provider, hosts, threads, slots } = stack.pool.facts();
    const parts = load.passages / part / requests;
    return {
      model,
      variant: version.variant,
      provider,
      hosts,
      threads,
      requests,
      hostMsARequest: hosts * ms * parts,
      ...(provider === 'cpu' ? { processorMsARequest: (cpuMs * parts) / threads } : {}),
      frontBytes: process.memoryUsage.rss(),
      hostBytes: Math.max(...slots.map(({ rss }) => rss)),
    };
  } finally {
    await closeAll(cleanup);
  }
}
