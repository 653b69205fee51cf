import { setImmediate } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { IdBuffer } from './id-buffer.ts';
import { openTokenizer, type TokenizerFacts } from './load.ts';
import type { PiecewiseEncoder } from './piecewise-encoder.ts';
import { QUICK_PIECES } from './text-pieces.ts';
import { readTokenTexts, type TokenTexts } from './token-texts.ts';
import { tokenizerStamp } from './tokenizer-folder.ts';
import {
  type EncodeTask,
  type Lane,
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
/** Texts of tokens by vocabulary, from the first time that a client asks for them. */
const spellings = new Map<string, Promise<TokenTexts>>();
const state = workerData as Int32Array;

async function load(id: number, folder: string): Promise<WorkerReply> {
  const stamp = await tokenizerStamp(folder);
  const known = opened.get(folder);
  if (known?.stamp === stamp) return { type: 'loaded', id, facts: known.facts };
  const { createEncoder, ...facts } = await openTokenizer(folder);
  opened.set(folder, { stamp, facts });
  if (!encoders.has(facts.textKey)) encoders.set(facts.textKey, createEncoder(QUICK_PIECES));
  return { type: 'loaded', id, facts };
}

/** Encodes texts. Other requests may be answered between the pieces of a long one. */
async function encode(id: number, { textKey, texts, enough, lane }: EncodeTask): Promise<PackedIds> {
  const encoder = encoders.get(textKey);
  if (encoder === undefined) throw new Error(`expected a loaded tokenizer, got ${textKey}`);
  const offsets = new Int32Array(texts.length + 1);
  const results = new IdBuffer();
  for (const [i, text] of texts.entries()) {
    results.append(await encodeText(id, lane, encoder.steps(text, enough)));
    offsets[i + 1] = results.length;
  }
  return { ids: results.take(), offsets };
}

async function encodeText(id: number, lane: Lane, steps: ReturnType<PiecewiseEncoder['steps']>): Promise<Int32Array> {
  for (;;) {
    Atomics.store(state, SHARED_STATE.current, id + 1);
    Atomics.add(state, SHARED_STATE.progress, 1);
    if (Atomics.load(state, SHARED_STATE[lane]) === id + 1) throw new Error('the request has ended');
    const { done, value } = steps.next();
    if (done) return value;
    Atomics.compareExchange(state, SHARED_STATE.current, id + 1, 0);
    await setImmediate();
  }
}

async function spell(textKey: string, folder: string, ids: Int32Array): Promise<readonly string[]> {
  const known = spellings.get(textKey) ?? readTokenTexts(folder);
  if (encoders.has(textKey)) spellings.set(textKey, known);
  try {
    return Array.from(ids, await known);
  } catch (error) {
    spellings.delete(textKey);
    throw error;
  }
}

function unload(textKey: string): void {
  encoders.delete(textKey);
  spellings.delete(textKey);
  for (const [folder, { facts }] of opened) if (facts.textKey === textKey) opened.delete(folder);
}

async function answer(request: Exclude<WorkerRequest, { type: 'unload' }>): Promise<WorkerReply> {
  const { id } = request;
  try {
    Atomics.store(state, SHARED_STATE.current, id + 1);
    if (request.type === 'load') return await load(id, request.folder);
    if (request.type === 'spell')
      return { type: 'spelled', id, texts: await spell(request.textKey, request.folder, request.ids) };
    return { type: 'encoded', id, packed: await encode(id, request) };
  } catch (error) {
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
