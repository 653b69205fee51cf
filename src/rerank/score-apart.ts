import { setImmediate as nextTurn } from 'node:timers/promises';
import type { SideEncoder } from '../registry/registry-types.ts';
import { dot } from '../util/vectors.ts';
import { submitRows } from './run-rows.ts';
import type { Fresh, MissingTask, ScoringDeps } from './scoring-types.ts';
import { type SideRunner, type Sides, scoreSides } from './sides.ts';

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

/** Runs the query and passage rows of a task in one graph. */
class VectorRunner implements SideRunner {
  readonly #deps: ScoringDeps;
  readonly #task: MissingTask;
  readonly #sides: Sides;
  readonly #scale: number;
  /** The query's vector, which the first run computes. */
  #query: Float32Array | undefined;
  tokens = 0;
  queueMs = 0;
  inferMs = 0;
  encodeMs = 0;

  constructor(deps: ScoringDeps, task: MissingTask, sides: Sides, scale: number) {
    this.#deps = deps;
    this.#task = task;
    this.#sides = sides;
    this.#scale = scale;
  }

  score(vectors: readonly Uint8Array[]): Promise<Float32Array> {
    return rowScores(this.#query!, vectors, this.#scale);
  }

  async read(places: readonly number[]): Promise<readonly Uint8Array[]> {
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
 * Scores the passages at `missing` by a bi-encoder. What is kept of a passage is its vector.
 * @throws WinnowError as `scoreSides`.
 */
export const scoreApart = (deps: ScoringDeps, task: MissingTask, encoder: SideEncoder): Promise<Fresh> =>
  scoreSides(deps, task, encoder, (sides) => new VectorRunner(deps, task, sides, encoder.scale));
