import { setImmediate as nextTurn } from 'node:timers/promises';
import type { SideEncoder } from '../registry/registry-types.ts';
import { poolWindows } from '../tokenization/pooling.ts';
import { dot } from '../util/vectors.ts';
import { noteEncoded, readPassages, withKeptRows } from './kept-passages.ts';
import { submitRows } from './run-rows.ts';
import type { Fresh, MissingTask, ScoringDeps } from './scoring-types.ts';
import { checkSides, encodeSides, type Sides } from './sides.ts';

/** Products that are added in one turn of the event loop: a few milliseconds. */
const PRODUCTS_PER_TURN = 2 ** 22;

/** Returns the score of each passage row: the dot product of its vector with the query's, times `scale`, rounded to float32. */
async function rowScores(query: Float32Array, vectors: readonly Uint8Array[], scale: number): Promise<Float32Array> {
  const scores = new Float32Array(vectors.length);
  const rowsPerTurn = Math.ceil(PRODUCTS_PER_TURN / query.length);
  for (const [row, { buffer, byteOffset, byteLength }] of vectors.entries()) {
    if (row > 0 && row % rowsPerTurn === 0) await nextTurn();
    scores[row] = scale * dot(query, new Float32Array(buffer, byteOffset, byteLength / Float32Array.BYTES_PER_ELEMENT));
  }
  return scores;
}

/** Runs the query and passage rows of a task in the engine, and adds up what that took. */
class SideRunner {
  readonly #deps: ScoringDeps;
  readonly #task: MissingTask;
  readonly #sides: Sides;
  #query: Float32Array | undefined;
  /** Tokens that were run. */
  tokens = 0;
  queueMs = 0;
  inferMs = 0;
  /** Milliseconds in the engine for passages. */
  encodeMs = 0;

  constructor(deps: ScoringDeps, task: MissingTask, sides: Sides) {
    this.#deps = deps;
    this.#task = task;
    this.#sides = sides;
  }

  /** Returns the query's vector, which the first run computes. */
  get query(): Float32Array {
    return this.#query!;
  }

  /** Returns the vectors of passage rows, as bytes. */
  async run(places: readonly number[]): Promise<readonly Uint8Array[]> {
    const { query, passages } = this.#sides;
    const { missing } = this.#task;
    const ahead = this.#query ? [] : [query.rows[0]!];
    const rows = [...ahead, ...places.map((place) => passages.rows[place]!)];
    const placeOf = (row: number) =>
      row < ahead.length ? undefined : missing[passages.passageOf[places[row - ahead.length]!]!];
    const { scores: values, queueMs, inferMs } = await submitRows(this.#deps, this.#task, rows, placeOf);
    const width = values.length / rows.length;
    const vectorOf = (row: number) => values.subarray(row * width, (row + 1) * width);
    const tokens = rows.reduce((sum, { ids }) => sum + ids.length, 0);
    this.tokens += tokens;
    this.queueMs += queueMs;
    this.inferMs += inferMs;
    this.encodeMs += inferMs * (1 - ahead.reduce((sum, { ids }) => sum + ids.length, 0) / tokens);
    this.#query ??= vectorOf(0);
    return places.map((_, i) => {
      const { buffer, byteOffset, byteLength } = vectorOf(ahead.length + i);
      return new Uint8Array(buffer, byteOffset, byteLength);
    });
  }
}

/**
 * Scores the passages at `missing` by a bi-encoder, which reads query and passages apart. The vectors of passages come from the passage cache
 * where they are there; only the others are scheduled, with the query.
 * @throws WinnowError as `runRows`; `passage_too_long`, also for the query.
 */
export async function scoreApart(deps: ScoringDeps, task: MissingTask, encoder: SideEncoder): Promise<Fresh> {
  const { request, missing, options } = task;
  const { encoded: sides, tokenizeMs } = await encodeSides(deps, task, encoder);
  if (!request.truncate) checkSides(sides, task);
  const { query, passages } = sides;
  const runner = new SideRunner(deps, task, sides);
  // The server's check of itself has to run the model.
  const sharing = request.isCheck ? undefined : deps.passages;
  const { result: scores, missed } = await withKeptRows(
    sharing,
    task,
    passages.rows,
    (places) => runner.run(places),
    (vectors) => rowScores(runner.query, vectors, encoder.scale),
  );
  const { longPassages } = options;
  const cut = query.fullLengths[0]! - query.rows[0]!.ids.length;
  const { tokens, queueMs, inferMs, encodeMs } = runner;
  noteEncoded(sharing, task, encodeMs);
  return {
    places: missing,
    scores:
      longPassages === 'truncate' ? scores : poolWindows(scores, passages.passageOf, missing.length, longPassages),
    encoded: { ...passages, queryCut: new Int32Array(missing.length).fill(cut) },
    at: (_, i) => i,
    tokens,
    tokenizeMs,
    queueMs,
    inferMs,
    ...(sharing && { read: readPassages(passages, missed, missing.length) }),
  };
}
