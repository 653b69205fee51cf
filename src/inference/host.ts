import { Socket } from 'node:net';
import { setPriority } from 'node:os';
import { WinnowError } from '../errors.ts';
import { isStickyFault } from './device-faults.ts';
import {
  decodeJson,
  decodeRun,
  encodeJson,
  encodeScores,
  type FailedMessage,
  type Frame,
  FrameReader,
  type HostSettings,
  type LoadMessage,
} from './host-protocol.ts';
import { chooseProvider } from './providers.ts';
import { Engine } from './session-table.ts';

/*
 * The child process that owns ONNX sessions. It answers one frame after the other over file descriptor 3 and ends when that pipe closes,
 * whoever closed it: a host never outlives the process it works for. Signals of the terminal's process group are the front process's
 * business, which drains before it lets its hosts go.
 */

/**
 * A little below the front process, which must answer probes and refuse work at once while every core is busy with inference: at the same
 * priority its event loop lagged by 30 ms (p99) under full load, at this one by a few.
 */
const NICENESS = 5;
try {
  setPriority(NICENESS);
} catch {
  // Not allowed here; it is no condition.
}

const { provider: setting, threads, device } = JSON.parse(process.argv[2] ?? '{}') as HostSettings;
const pipe = new Socket({ fd: 3, readable: true, writable: true, allowHalfOpen: true });
const rss = () => process.memoryUsage.rss();

function failure(error: unknown): FailedMessage {
  const reason = error instanceof Error ? error.message : String(error);
  const known =
    error instanceof WinnowError && (error.code === 'invalid_graph' || error.code === 'provider_unavailable');
  return {
    code: known ? (error.code as FailedMessage['code']) : 'inference_failed',
    params: known ? (error.params as FailedMessage['params']) : { reason: reason.trim() },
    fatal: isStickyFault(reason),
    rss: rss(),
  };
}

async function answer(engine: Engine, { kind, id, payload }: Frame): Promise<Uint8Array> {
  if (kind === 'run') {
    const { handle, rows } = decodeRun(payload);
    return encodeScores(id, { ...(await engine.run(handle, rows)), rss: rss() });
  }
  const { handle, spec } = decodeJson<LoadMessage>(payload);
  if (kind === 'load') return encodeJson('loaded', id, { ...(await engine.load(handle, spec)), rss: rss() });
  await engine.unload(handle);
  return encodeJson('unloaded', id, { rss: rss() });
}

/** Takes frames in order; the next one is already in the pipe when one is answered. Behind the last one it leaves. */
async function serve(engine: Engine): Promise<void> {
  const reader = new FrameReader();
  for await (const chunk of pipe as AsyncIterable<Uint8Array>)
    for (const frame of reader.push(chunk)) {
      const reply = await answer(engine, frame).catch((error) => encodeJson('failed', frame.id, failure(error)));
      pipe.write(reply);
    }
  pipe.end();
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});
pipe.on('close', () => process.exit(0));
pipe.on('error', () => process.exit(0));

try {
  const provider = await chooseProvider(setting, device);
  pipe.write(encodeJson('ready', 0, { provider, threads, rss: rss() }));
  await serve(new Engine({ provider, threads, device }));
} catch (error) {
  pipe.end(encodeJson('failed', 0, failure(error)));
}
