import { parseJson } from '../util/parse-json.ts';
import type { InferenceRow, LoadSpec, Provider, ProviderSetting } from './inference-types.ts';

/*
 * The protocol between the front process and a host, over one duplex pipe. A frame is
 *
 *   u32 length of what follows | u8 kind | 3 zero bytes | u32 id of the request | payload
 *
 * in the byte order of the machine (both ends run on the same machine; x64 and arm64 are little-endian). Rows and scores are raw words;
 * control messages (load, ready, failed: a few a minute) are UTF-8 JSON. A host answers requests in order, with the id of the request.
 */

/** Bytes before the payload. */
export const HEADER = 12;
/** Larger than any batch or message. A longer frame means that the two ends are out of step. */
const MAX_FRAME = 1 << 30;

const KIND = {
  load: 1,
  unload: 2,
  run: 3,
  runKept: 4,
  ready: 16,
  loaded: 17,
  unloaded: 18,
  scores: 19,
  failed: 20,
  pieces: 21,
} as const;
type Kind = keyof typeof KIND;
const NAMES = new Map<number, Kind>(Object.entries(KIND).map(([name, code]) => [code, name as Kind]));

export interface Frame {
  readonly kind: Kind;
  readonly id: number;
  /** Starts at offset 0 of its own buffer, so that word views of it are aligned. */
  readonly payload: Uint8Array<ArrayBuffer>;
}

/** Settings of a host, passed as JSON in its first argument. */
export interface HostSettings {
  /** Priority of the process as `nice` counts it; a host's own default if absent. */
  readonly niceness?: number;
  readonly provider: ProviderSetting;
  readonly threads: number;
  /** GPU index. */
  readonly device: number;
}

export interface LoadMessage {
  readonly handle: number;
  readonly spec: LoadSpec;
}

/** What a host has used of the machine; every message of a host says it. */
export interface HostUsage {
  /** Resident memory, in bytes. */
  readonly rss: number;
  /** Processor time of all threads since the process started, in milliseconds. */
  readonly cpuMs: number;
}

export interface ReadyMessage extends HostUsage {
  readonly provider: Provider;
  readonly threads: number;
}

export interface LoadedMessage extends HostUsage {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly loadMs: number;
  readonly bytes: number;
}

export interface RunMessage {
  readonly handle: number;
  readonly rows: readonly InferenceRow[];
}

export interface ScoresMessage extends HostUsage {
  readonly scores: Float32Array;
  readonly inferMs: number;
}

export interface FailedMessage extends HostUsage {
  readonly code: 'inference_failed' | 'invalid_graph' | 'provider_unavailable';
  readonly params: Readonly<Record<string, string | number>>;
  /** Whether the host must be replaced (sticky device error). */
  readonly fatal: boolean;
}

/** Makes a frame with an empty payload. */
export function frame(kind: Kind, id: number, payloadBytes: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(HEADER + payloadBytes);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, HEADER - 4 + payloadBytes, true);
  view.setUint8(4, KIND[kind]);
  view.setUint32(8, id, true);
  return bytes;
}

export function encodeJson(kind: Kind, id: number, message: object): Uint8Array {
  const text = new TextEncoder().encode(JSON.stringify(message));
  const bytes = frame(kind, id, text.byteLength);
  bytes.set(text, HEADER);
  return bytes;
}

export function decodeJson<T>(payload: Uint8Array): T {
  return parseJson(new TextDecoder().decode(payload)) as T;
}

/** Encodes a batch as int32 words: handle, number of rows, lengths, second segments, then all ids without padding. */
export function encodeRun(id: number, { handle, rows }: RunMessage): Uint8Array {
  const tokens = rows.reduce((sum, row) => sum + row.ids.length, 0);
  const bytes = frame('run', id, 4 * (2 + 2 * rows.length + tokens));
  const words = new Int32Array(bytes.buffer, HEADER);
  words[0] = handle;
  words[1] = rows.length;
  let at = 2 + 2 * rows.length;
  rows.forEach((row, r) => {
    words[2 + r] = row.ids.length;
    words[2 + rows.length + r] = row.secondSegment;
    words.set(row.ids, at);
    at += row.ids.length;
  });
  return bytes;
}

/** Decodes a batch. The rows are views of the payload. */
export function decodeRun(payload: Uint8Array<ArrayBuffer>): RunMessage {
  const words = new Int32Array(payload.buffer, 0, payload.byteLength >> 2);
  const [handle = 0, count = 0] = words;
  let at = 2 + 2 * count;
  const rows = Array.from({ length: count }, (_, r) => {
    const ids = words.subarray(at, at + words[2 + r]!);
    at += ids.length;
    return { ids, secondSegment: words[2 + count + r]! };
  });
  return { handle, rows };
}

/** Bytes before the scores. */
export const SCORES_AT = 24;

/** Writes what precedes the scores: f64 milliseconds, f64 resident bytes, f64 milliseconds of processor time. */
export function writeUsage(
  bytes: Uint8Array<ArrayBuffer>,
  { inferMs, rss, cpuMs }: Omit<ScoresMessage, 'scores'>,
): void {
  const view = new DataView(bytes.buffer, HEADER);
  view.setFloat64(0, inferMs, true);
  view.setFloat64(8, rss, true);
  view.setFloat64(16, cpuMs, true);
}

/** Encodes scores: time and memory (`writeUsage`), then one f32 for each row. */
export function encodeScores(id: number, { scores, ...usage }: ScoresMessage): Uint8Array {
  const bytes = frame('scores', id, SCORES_AT + 4 * scores.length);
  writeUsage(bytes, usage);
  new Float32Array(bytes.buffer, HEADER + SCORES_AT).set(scores);
  return bytes;
}

export function decodeScores(payload: Uint8Array<ArrayBuffer>): ScoresMessage {
  const [inferMs = 0, rss = 0, cpuMs = 0] = new Float64Array(payload.buffer, 0, 3);
  const scores = new Float32Array(payload.buffer, SCORES_AT, (payload.byteLength - SCORES_AT) >> 2);
  return { inferMs, rss, cpuMs, scores };
}

/** Cuts a byte stream into frames. A frame may span several chunks. Every payload is copied once, into its own buffer. */
export class FrameReader {
  readonly #header = new Uint8Array(HEADER);
  #headerBytes = 0;
  #payload: Uint8Array<ArrayBuffer> | undefined;
  #payloadBytes = 0;

  /** Yields the frames that are complete with this chunk. @throws Error when the stream does not consist of frames. */
  *push(chunk: Uint8Array): Generator<Frame> {
    let at = 0;
    while (at < chunk.byteLength || this.#complete()) {
      if (this.#headerBytes < HEADER) at += this.#fillHeader(chunk.subarray(at));
      else if (!this.#complete()) at += this.#fillPayload(chunk.subarray(at));
      if (this.#complete()) yield this.#take();
    }
  }

  #complete(): boolean {
    return this.#payload !== undefined && this.#payloadBytes === this.#payload.byteLength;
  }

  #fillHeader(chunk: Uint8Array): number {
    const taken = chunk.subarray(0, HEADER - this.#headerBytes);
    this.#header.set(taken, this.#headerBytes);
    this.#headerBytes += taken.byteLength;
    if (this.#headerBytes === HEADER) {
      const length = new DataView(this.#header.buffer).getUint32(0, true) - (HEADER - 4);
      if (length < 0 || length > MAX_FRAME || !NAMES.has(this.#header[4]!))
        throw new Error(`expected a frame, got kind ${this.#header[4]} of ${length} bytes`);
      this.#payload = new Uint8Array(length);
      this.#payloadBytes = 0;
    }
    return taken.byteLength;
  }

  #fillPayload(chunk: Uint8Array): number {
    const taken = chunk.subarray(0, this.#payload!.byteLength - this.#payloadBytes);
    this.#payload!.set(taken, this.#payloadBytes);
    this.#payloadBytes += taken.byteLength;
    return taken.byteLength;
  }

  #take(): Frame {
    const done = {
      kind: NAMES.get(this.#header[4]!)!,
      id: new DataView(this.#header.buffer).getUint32(8, true),
      payload: this.#payload!,
    };
    this.#payload = undefined;
    this.#headerBytes = 0;
    return done;
  }
}
