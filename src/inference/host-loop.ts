import { writeFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { setPriority } from 'node:os';
import { Worker } from 'node:worker_threads';
import { WinnowError } from '../errors.ts';
import { workerEntry } from '../util/worker-entry.ts';
import { decodeBatch, encodeAnswer } from './batch-frames.ts';
import { isStickyFault } from './device-faults.ts';
import {
  decodeJson,
  encodeJson,
  type FailedMessage,
  type Frame,
  FrameReader,
  type HostSettings,
  type HostUsage,
  type LoadedMessage,
  type LoadMessage,
} from './host-protocol.ts';
import type { BatchScores, InferenceRow, LoadSpec, Provider } from './inference-types.ts';

/** What runs the batches of a host. */
interface HostEngine {
  load(handle: number, spec: LoadSpec): Promise<Omit<LoadedMessage, keyof HostUsage>>;
  unload(handle: number): Promise<void>;
  /** Runs rows by the model under a handle. */
  run(handle: number, rows: readonly InferenceRow[]): Promise<Omit<BatchScores, 'host'>>;
}

/**
 * A priority slightly below the front process, which must answer probes and refuse requests quickly while every core runs inference. At
 * equal priority its event loop lagged by 30 ms (p99) under full load; at this priority it lags by a few milliseconds.
 */
const NICENESS = 5;

function usage(): HostUsage {
  const { user, system } = process.cpuUsage();
  return { rss: process.memoryUsage.rss(), cpuMs: (user + system) / 1000 };
}

function failure(error: unknown): FailedMessage {
  const reason = error instanceof Error ? error.message : String(error);
  const known =
    error instanceof WinnowError && (error.code === 'invalid_graph' || error.code === 'provider_unavailable');
  return {
    code: known ? (error.code as FailedMessage['code']) : 'inference_failed',
    params: known ? (error.params as FailedMessage['params']) : { reason: reason.trim() },
    fatal: isStickyFault(reason),
    ...usage(),
  };
}

async function answer(engine: HostEngine, frame: Frame): Promise<Uint8Array> {
  const { kind, id, payload } = frame;
  if (kind === 'run' || kind === 'runKept') {
    const { handle, rows } = decodeBatch(frame);
    return encodeAnswer(id, { ...(await engine.run(handle, rows)), ...usage() });
  }
  const { handle, spec } = decodeJson<LoadMessage>(payload);
  if (kind === 'load') return encodeJson('loaded', id, { ...(await engine.load(handle, spec)), ...usage() });
  await engine.unload(handle);
  return encodeJson('unloaded', id, usage());
}

/** Answers frames in order until the pipe ends. The next frame is already in the pipe when one is answered. */
async function serve(pipe: Socket, engine: HostEngine): Promise<void> {
  const reader = new FrameReader();
  for await (const chunk of pipe as AsyncIterable<Uint8Array>)
    for (const frame of reader.push(chunk)) {
      const reply = await answer(engine, frame).catch((error) => encodeJson('failed', frame.id, failure(error)));
      pipe.write(reply);
    }
  pipe.end();
}

/**
 * Where memory runs out, the kernel should end the host of a trial first, then one that serves, and the front process, which starts new ones, last.
 */
function volunteerForOutOfMemory(isSpare: boolean): void {
  try {
    writeFileSync('/proc/self/oom_score_adj', isSpare ? '1000' : '500');
  } catch {
    // Not Linux, or not permitted: the kernel chooses by size alone.
  }
}

/** Ends this process when its parent is gone, also inside a native call. */
function watchParent(): void {
  const worker = new Worker(workerEntry('./orphan-watch', import.meta.url), {
    workerData: { parent: process.ppid },
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: 32, maxYoungGenerationSizeMb: 2 },
    name: 'orphan-watch',
  });
  // Without the watch the host still ends when its pipe closes.
  worker.on('error', (error) => process.stderr.write(`no watch for a lost parent: ${error.message}\n`));
  worker.unref();
}

/** Returns the settings that the front process started this process with. */
export const hostSettings = (): HostSettings => JSON.parse(process.argv[2] ?? '{}') as HostSettings;

/**
 * Serves as an inference host: answers one frame after another over file descriptor 3 and ends when that pipe closes, so that the process
 * never outlives the front process. It ignores signals to the terminal's process group: the front process handles them, drains, and then
 * closes the pipes of its hosts.
 * @param open Opens the device.
 */
export async function serveHost(
  { threads, niceness = NICENESS }: HostSettings,
  open: () => Promise<{ readonly provider: Provider; readonly engine: HostEngine }>,
): Promise<void> {
  try {
    setPriority(niceness);
  } catch {
    // Not permitted on this system; the host works without it.
  }
  volunteerForOutOfMemory(niceness > NICENESS);
  const pipe = new Socket({ fd: 3, readable: true, writable: true, allowHalfOpen: true });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});
  pipe.on('close', () => process.exit(0));
  pipe.on('error', () => process.exit(0));
  try {
    const { provider, engine } = await open();
    watchParent();
    pipe.write(encodeJson('ready', 0, { provider, threads, ...usage() }));
    await serve(pipe, engine);
  } catch (error) {
    pipe.end(encodeJson('failed', 0, failure(error)));
  }
}
