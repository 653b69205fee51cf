import { parentPort, workerData } from 'node:worker_threads';
import { IdBuffer } from './id-buffer.ts';
import { openTokenizer, type TokenizerFacts } from './load.ts';
import type { PiecewiseEncoder } from './piecewise-encoder.ts';
import { tokenizerStamp } from './tokenizer-folder.ts';
import {
  type EncodeTask,
  type PackedIds,
  plainError,
  SHARED_STATE,
  type WorkerReply,
  type WorkerRequest,
} from './worker-protocol.ts';

/*
 * A tokenizer thread: loads tokenizers and turns texts into ids. It reports every error in a `failed` reply. The pool notices when the
 * thread itself ends, for example for lack of memory.
 */
const encoders = new Map<string, PiecewiseEncoder>();
/** Facts of loaded folders. A version's tokenizer is opened for admission and again for requests. */
const opened = new Map<string, { readonly stamp: string; readonly facts: TokenizerFacts }>();
const results = new IdBuffer();
const state = workerData as Int32Array;

async function load(id: number, folder: string): Promise<WorkerReply> {
  const stamp = await tokenizerStamp(folder);
  const known = opened.get(folder);
  if (known?.stamp === stamp) return { type: 'loaded', id, facts: known.facts };
  const { createEncoder, ...facts } = await openTokenizer(folder);
  opened.set(folder, { stamp, facts });
  if (!encoders.has(facts.textKey)) encoders.set(facts.textKey, createEncoder());
  return { type: 'loaded', id, facts };
}

function encode(id: number, { textKey, texts, enough }: EncodeTask): PackedIds {
  const encoder = encoders.get(textKey);
  if (encoder === undefined) throw new Error(`expected a loaded tokenizer, got ${textKey}`);
  const begin = () => {
    Atomics.add(state, SHARED_STATE.progress, 1);
    if (Atomics.load(state, SHARED_STATE.canceled) === id + 1) throw new Error('the request has ended');
  };
  const offsets = new Int32Array(texts.length + 1);
  for (const [i, text] of texts.entries()) {
    results.append(encoder.encode(text, enough, begin));
    offsets[i + 1] = results.length;
  }
  return { ids: results.take(), offsets };
}

function unload(textKey: string): void {
  encoders.delete(textKey);
  for (const [folder, { facts }] of opened) if (facts.textKey === textKey) opened.delete(folder);
}

async function answer(request: Exclude<WorkerRequest, { type: 'unload' }>): Promise<WorkerReply> {
  const { id } = request;
  try {
    Atomics.store(state, SHARED_STATE.current, id + 1);
    if (request.type === 'load') return await load(id, request.folder);
    return { type: 'encoded', id, packed: encode(id, request) };
  } catch (error) {
    results.truncate(0);
    return { type: 'failed', id, error: plainError(error) };
  } finally {
    Atomics.compareExchange(state, SHARED_STATE.current, id + 1, 0);
  }
}

const port = parentPort;
port?.on('message', async (request: WorkerRequest) => {
  if (request.type === 'unload') {
    unload(request.textKey);
    return;
  }
  const reply = await answer(request);
  const transfer = reply.type === 'encoded' ? [reply.packed.ids.buffer, reply.packed.offsets.buffer] : [];
  port.postMessage(reply, transfer);
});
