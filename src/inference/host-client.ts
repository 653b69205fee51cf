import { type ChildProcess, spawn } from 'node:child_process';
import type { Duplex } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { stripVTControlCharacters } from 'node:util';
import { WinnowError } from '../errors.ts';
import type { Clock } from '../util/clock.ts';
import { workerEntry } from '../util/worker-entry.ts';
import { hostEnvironment } from './host-environment.ts';
import {
  decodeJson,
  type FailedMessage,
  type Frame,
  FrameReader,
  type HostSettings,
  type ReadyMessage,
} from './host-protocol.ts';
import type { LossCause } from './pool-observer.ts';
import { extraMs, processorUse } from './starvation.ts';

const PROGRAM = fileURLToPath(workerEntry('./host', import.meta.url));
const STDERR_TAIL = 2000;

/** The unit of processor times. */
const TICK_MS = 10;

/** The host's process ended before it answered. */
export class HostLost extends Error {
  override readonly name = 'HostLost';
  /** Whether the host ran this call. Calls that waited behind it never started. */
  readonly running: boolean;

  constructor(reason: string, running: boolean) {
    super(reason);
    this.running = running;
  }
}

interface HostClientOptions extends HostSettings {
  readonly index: number;
  /** Path of the program of the process; the one with ONNX Runtime if absent. */
  readonly program?: string | undefined;
  readonly env: Readonly<Record<string, string>>;
  readonly clock: Clock;
  /** Milliseconds after which a host that is not ready is killed. */
  readonly startTimeoutMs: number;
  readonly onLog: (line: string) => void;
  /** Called once, after all calls in flight were rejected. */
  readonly onExit: (end: HostEnd) => void;
}

export interface HostEnd {
  readonly cause: LossCause;
  readonly reason: string;
}

interface Call {
  readonly id: number;
  readonly tokens: number;
  readonly timeoutMs: number;
  /** How long it should take; NaN where that is unknown. */
  readonly expectedMs: number;
  readonly resolve: (frame: Frame) => void;
  readonly reject: (error: Error) => void;
}

/** @throws HostLost where there is no process; why comes a turn later, and is logged. */
function startProcess({
  provider,
  threads,
  device,
  niceness,
  program = PROGRAM,
  ...rest
}: HostClientOptions): ChildProcess {
  const settings: HostSettings = { provider, threads, device, ...(niceness === undefined ? {} : { niceness }) };
  const child = spawn(process.execPath, [program, JSON.stringify(settings)], {
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
    env: hostEnvironment(process.env, rest.env),
  });
  if (child.pid !== undefined) return child;
  child.once('error', (error) => rest.onLog(error.message));
  throw new HostLost('the system started no process', false);
}

/** One host process: sends calls, matches answers in order, limits the time of each call, and reports how the process ended. */
export class HostClient {
  readonly index: number;
  /** Settles when the host has opened its device. @throws WinnowError `provider_unavailable`; HostLost. */
  readonly ready: Promise<ReadyMessage>;
  /** Settles when the process is gone. */
  readonly gone: Promise<void>;
  /** Handles of the models this host holds. */
  readonly loaded = new Set<number>();
  /** Handles of models this host is loading. */
  readonly loading = new Set<number>();
  /** Resident memory as last reported by the host, in bytes. */
  rss = 0;
  /** Processor time as last reported by the host, in milliseconds. */
  cpuMs = 0;
  readonly #options: HostClientOptions;
  readonly #child: ChildProcess;
  readonly #pipe: Duplex;
  readonly #calls: Call[] = [];
  readonly #reader = new FrameReader();
  #nextId = 1;
  #tokens = 0;
  /** When the call that runs now began. */
  #runningSince = 0;
  #cancelLimit = () => {};
  #end: HostEnd | undefined;
  #stderr = '';

  /** @throws HostLost when the system starts no process: too many open files, processes or too little memory. */
  constructor(options: HostClientOptions) {
    this.#options = options;
    this.index = options.index;
    this.#child = startProcess(options);
    this.#pipe = this.#child.stdio[3] as Duplex;
    this.#child.stderr!.on('error', () => {});
    this.#child.stderr!.setEncoding('utf8').on('data', (text: string) => this.#logStderr(text));
    this.#pipe.on('data', (chunk: Uint8Array) => this.#received(chunk));
    this.#pipe.on('error', () => {});
    this.#child.on('error', (error) => this.kill(`the process failed: ${error.message}`));
    const { promise: gone, resolve } = Promise.withResolvers<void>();
    this.gone = gone;
    this.#child.once('close', (code, signal) => {
      this.#ended({ cause: 'crashed', reason: `it exited with ${signal ?? `code ${code}`}` });
      resolve();
    });
    this.ready = this.#expect(0, 0, options.startTimeoutMs).then((frame) => decodeJson<ReadyMessage>(frame.payload));
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Calls that run or wait in the pipe. */
  get depth(): number {
    return this.#calls.length;
  }

  /** Tokens of these calls. */
  get tokens(): number {
    return this.#tokens;
  }

  /** Milliseconds until these calls should be answered; NaN where one has no prediction. */
  get remainingMs(): number {
    let ms = 0;
    for (const [i, { expectedMs }] of this.#calls.entries())
      ms += i === 0 ? Math.max(0, expectedMs - (this.#options.clock.now() - this.#runningSince)) : expectedMs;
    return ms;
  }

  get alive(): boolean {
    return this.#end === undefined;
  }

  /**
   * Sends a frame and returns its answer. The time limit starts when the calls before it are answered.
   * @param expectedMs How long it should take, for `remainingMs`.
   * @throws HostLost when the process ends first; HostBroken or WinnowError when the host answers with a failure.
   */
  call(encode: (id: number) => Uint8Array, timeoutMs: number, tokens = 0, expectedMs = Number.NaN): Promise<Frame> {
    const id = this.#nextId++;
    const answer = this.#expect(id, tokens, timeoutMs, expectedMs);
    if (this.alive) this.#pipe.write(encode(id));
    return answer;
  }

  /** Kills the process; calls in flight are rejected. */
  kill(reason: string, cause: LossCause = 'crashed'): void {
    this.#end ??= { cause, reason };
    this.#child.kill('SIGKILL');
  }

  /** Lets the process answer its calls and exit; kills it after `graceMs`. */
  async end(graceMs: number): Promise<void> {
    this.#pipe.end();
    const cancel = this.#options.clock.after(graceMs, () => this.kill('it did not exit in time'));
    await this.gone;
    cancel();
  }

  #expect(id: number, tokens: number, timeoutMs: number, expectedMs = Number.NaN): Promise<Frame> {
    const { promise, resolve, reject } = Promise.withResolvers<Frame>();
    this.#tokens += tokens;
    this.#calls.push({ id, tokens, timeoutMs, expectedMs, resolve, reject });
    if (this.#calls.length === 1) this.#startLimit();
    return promise;
  }

  #startLimit(): void {
    this.#cancelLimit();
    const [head] = this.#calls;
    if (!head) return;
    this.#runningSince = this.#options.clock.now();
    this.#limit(head, head.timeoutMs, this.cpuMs);
  }

  /** Kills the host in `ms` milliseconds, unless it has waited for a processor instead of using its time. */
  #limit(head: Call, ms: number, cpuMsBefore: number): void {
    const { clock } = this.#options;
    this.#cancelLimit = clock.after(ms, () => {
      const { timeoutMs: limitMs } = head;
      const elapsedMs = clock.now() - this.#runningSince;
      const use = this.pid === undefined ? undefined : processorUse(this.pid);
      // Less than a tick of processor time cannot be told from none.
      const more = extraMs({ limitMs, elapsedMs, cpuMsBefore }, use);
      if (more >= TICK_MS) this.#limit(head, more, cpuMsBefore);
      else this.kill(`it did not answer within ${limitMs} ms`, 'killed');
    });
  }

  #received(chunk: Uint8Array): void {
    try {
      for (const frame of this.#reader.push(chunk)) this.#answered(frame);
    } catch (error) {
      this.kill((error as Error).message);
    }
  }

  #answered(frame: Frame): void {
    const call = this.#calls.shift();
    if (call?.id !== frame.id) throw new Error(`expected an answer to ${call?.id}, got one to ${frame.id}`);
    this.#tokens -= call.tokens;
    this.#startLimit();
    if (frame.kind !== 'failed') call.resolve(frame);
    else call.reject(failureOf(decodeJson<FailedMessage>(frame.payload)));
  }

  #logStderr(text: string): void {
    this.#stderr = (this.#stderr + text).slice(-STDERR_TAIL);
    for (const line of text.split('\n')) if (line.trim()) this.#options.onLog(stripVTControlCharacters(line));
  }

  #ended(end: HostEnd): void {
    this.#end ??= end;
    const { reason } = this.#end;
    this.#cancelLimit();
    const lastLine = stripVTControlCharacters(this.#stderr).trim().split('\n').at(-1);
    const lost = this.#calls.splice(0);
    this.#tokens = 0;
    lost.forEach((call, i) => {
      call.reject(new HostLost(lastLine ? `${reason}; it said: ${lastLine}` : reason, i === 0));
    });
    this.#options.onExit(this.#end);
  }
}

/** The device failed in a way that only a new process repairs. */
export class HostBroken extends Error {
  override readonly name = 'HostBroken';
}

function failureOf({ code, params, fatal }: FailedMessage): Error {
  return fatal ? new HostBroken(String(params.reason)) : new WinnowError(code, params);
}
