import { type ErrorCode, type ErrorParams, WinnowError } from '../errors.ts';
import type { TokenizerFacts } from './load.ts';
import type { Enough } from './piecewise-encoder.ts';

/** Messages to the worker. The reply has the same `id`. */
export type WorkerRequest =
  | { readonly type: 'load'; readonly id: number; readonly folder: string }
  | ({ readonly type: 'encode'; readonly id: number } & EncodeTask)
  | {
      readonly type: 'spell';
      readonly id: number;
      readonly folder: string;
      readonly textKey: string;
      readonly ids: Int32Array;
    }
  | { readonly type: 'unload'; readonly textKey: string };

/** Texts for one tokenizer. */
export interface EncodeTask {
  readonly textKey: string;
  readonly texts: readonly string[];
  readonly enough: Enough | undefined;
  readonly lane: Lane;
}

/** A thread works on at most one chunk of each lane: quick ones are encoded between the pieces of a long text. */
export const LANES = ['quick', 'long'] as const;
export type Lane = (typeof LANES)[number];

/** Numbers that a thread and its owner share, by index. Ids of requests are stored plus one; 0 is none. */
export const SHARED_STATE = {
  /** The request that the thread works on. */
  current: 0,
  /** Grows with every piece of a text that is begun. */
  progress: 1,
  /** The requests that are no longer wanted, by lane. */
  quick: 2,
  long: 3,
} as const;

/** Messages from the worker. */
export type WorkerReply =
  | { readonly type: 'loaded'; readonly id: number; readonly facts: TokenizerFacts }
  | { readonly type: 'encoded'; readonly id: number; readonly packed: PackedIds }
  | { readonly type: 'spelled'; readonly id: number; readonly texts: readonly string[] }
  | { readonly type: 'failed'; readonly id: number; readonly error: PlainError };

/** Ids of several texts in one transferable buffer: those of text i are `ids[offsets[i] .. offsets[i + 1])`. */
export interface PackedIds {
  readonly ids: Int32Array<ArrayBuffer>;
  readonly offsets: Int32Array<ArrayBuffer>;
}

/** The fields of a WinnowError; a structured clone loses the class. */
interface PlainError {
  readonly code: ErrorCode | undefined;
  readonly params: ErrorParams;
  readonly message: string;
}

export function unpackIds({ ids, offsets }: PackedIds): Int32Array[] {
  return Array.from({ length: offsets.length - 1 }, (_, i) => ids.subarray(offsets[i], offsets[i + 1]));
}

export function plainError(error: unknown): PlainError {
  if (error instanceof WinnowError) return { code: error.code, params: error.params, message: error.message };
  return { code: undefined, params: {}, message: error instanceof Error ? error.message : String(error) };
}

export function revivedError({ code, params, message }: PlainError): WinnowError {
  return code === undefined
    ? new WinnowError('tokenization_failed', { reason: message })
    : new WinnowError(code, params);
}
