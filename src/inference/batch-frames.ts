import {
  decodeRun,
  decodeScores,
  encodeRun,
  encodeScores,
  type Frame,
  frame,
  HEADER,
  type RunMessage,
  SCORES_AT,
  type ScoresMessage,
  writeUsage,
} from './host-protocol.ts';
import type { InferenceRow } from './inference-types.ts';

/*
 * Frames of batches. Rows with kept states, and answers of bytes, have frames of their own: states are 34 KB a passage, so that they are copied once,
 * into the frame, and read where they lie.
 */

/** What a batch gave: scores, or pieces. */
interface AnswerMessage extends ScoresMessage {
  readonly pieces?: readonly Uint8Array[];
}

type Received = Pick<Frame, 'kind' | 'payload'>;

/** The ids of a decoded row with kept states. */
const NO_IDS = new Int32Array(0);

/** Encodes a batch. All of its rows have kept states, or none. */
export const encodeBatch = (id: number, message: RunMessage): Uint8Array =>
  message.rows[0]?.kept ? encodeKept(id, message) : encodeRun(id, message);

/** Decodes a batch. The rows are views of the payload; those with kept states have no ids. */
export const decodeBatch = ({ kind, payload }: Received): RunMessage =>
  kind === 'runKept' ? decodeKept(payload) : decodeRun(payload);

/** Numbers the queries of a batch, and adds up their tokens and the bytes of its rows. */
function measure(rows: readonly InferenceRow[]) {
  const queries = new Map<Int32Array, number>();
  let [tokens, size] = [0, 0];
  for (const { kept } of rows) {
    size += kept!.bytes.byteLength;
    if (queries.has(kept!.query)) continue;
    queries.set(kept!.query, queries.size);
    tokens += kept!.query.length;
  }
  return { queries, tokens, size };
}

/**
 * Encodes rows with kept states as int32 words: handle, number of rows, number of queries, length of each query, query of each row, bytes of each
 * row, ids of all queries; then the bytes of all rows.
 */
function encodeKept(id: number, { handle, rows }: RunMessage): Uint8Array {
  const { queries, tokens, size } = measure(rows);
  const head = 3 + queries.size + 2 * rows.length + tokens;
  const bytes = frame('runKept', id, 4 * head + size);
  const words = new Int32Array(bytes.buffer, HEADER, head);
  words[0] = handle;
  words[1] = rows.length;
  words[2] = queries.size;
  const rowsAt = 3 + queries.size;
  let word = rowsAt + 2 * rows.length;
  for (const [query, number] of queries) {
    words[3 + number] = query.length;
    words.set(query, word);
    word += query.length;
  }
  let at = HEADER + 4 * head;
  rows.forEach(({ kept }, r) => {
    words[rowsAt + r] = queries.get(kept!.query)!;
    words[rowsAt + rows.length + r] = kept!.bytes.byteLength;
    bytes.set(kept!.bytes, at);
    at += kept!.bytes.byteLength;
  });
  return bytes;
}

function decodeKept(payload: Uint8Array<ArrayBuffer>): RunMessage {
  const words = new Int32Array(payload.buffer, 0, payload.byteLength >> 2);
  const [handle = 0, count = 0, queryCount = 0] = words;
  const rowsAt = 3 + queryCount;
  let word = rowsAt + 2 * count;
  const queries = Array.from({ length: queryCount }, (_, q) => {
    const query = words.subarray(word, word + words[3 + q]!);
    word += query.length;
    return query;
  });
  let at = 4 * word;
  const rows = Array.from({ length: count }, (_, r) => {
    const bytes = payload.subarray(at, at + words[rowsAt + count + r]!);
    at += bytes.byteLength;
    return { ids: NO_IDS, secondSegment: 0, kept: { query: queries[words[rowsAt + r]!]!, bytes } };
  });
  return { handle, rows };
}

/** Encodes what a batch gave. Pieces follow time and memory as u32: their number and their lengths, and then their bytes. */
export function encodeAnswer(id: number, { pieces, ...message }: AnswerMessage): Uint8Array {
  if (!pieces) return encodeScores(id, message);
  const size = pieces.reduce((sum, { byteLength }) => sum + byteLength, 0);
  const bytes = frame('pieces', id, SCORES_AT + 4 * (1 + pieces.length) + size);
  writeUsage(bytes, message);
  const words = new Uint32Array(bytes.buffer, HEADER + SCORES_AT, 1 + pieces.length);
  words[0] = pieces.length;
  let at = HEADER + SCORES_AT + words.byteLength;
  pieces.forEach((piece, i) => {
    words[i + 1] = piece.byteLength;
    bytes.set(piece, at);
    at += piece.byteLength;
  });
  return bytes;
}

/** Decodes what a batch gave. Scores and pieces are views of the payload. */
export function decodeAnswer({ kind, payload }: Received): AnswerMessage {
  if (kind !== 'pieces') return decodeScores(payload);
  const [inferMs = 0, rss = 0, cpuMs = 0] = new Float64Array(payload.buffer, 0, 3);
  const [count = 0] = new Uint32Array(payload.buffer, SCORES_AT, 1);
  const lengths = new Uint32Array(payload.buffer, SCORES_AT + 4, count);
  let at = SCORES_AT + 4 * (1 + count);
  const pieces = Array.from(lengths, (length) => {
    const piece = payload.subarray(at, at + length);
    at += length;
    return piece;
  });
  return { inferMs, rss, cpuMs, scores: new Float32Array(0), pieces };
}
