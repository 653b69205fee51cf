import type { PassageGraph, SideEncoder } from '../registry/registry-types.ts';
import { poolWindows } from '../tokenization/pooling.ts';
import { noteEncoded, readPassages, withKeptRows } from './kept-passages.ts';
import { submitRows } from './run-rows.ts';
import type { Fresh, MissingTask, ScoringDeps } from './scoring-types.ts';
import { checkSides, encodeSides, type Sides } from './sides.ts';

/** Runs both graphs of an interaction model for a task, and adds up what that took. */
class StateRunner {
  readonly #deps: ScoringDeps;
  readonly #task: MissingTask;
  readonly #sides: Sides;
  readonly #passages: PassageGraph;
  /** Tokens that were read: the query's, and those of passages that were not kept. */
  tokens: number;
  queueMs = 0;
  inferMs = 0;
  /** Milliseconds in the engine for passages that were not kept. */
  encodeMs = 0;

  constructor(deps: ScoringDeps, task: MissingTask, sides: Sides, passages: PassageGraph) {
    this.#deps = deps;
    this.#task = task;
    this.#sides = sides;
    this.#passages = passages;
    this.tokens = sides.query.tokens;
  }

  /** Returns what is kept of passage rows. */
  async read(places: readonly number[]): Promise<readonly Uint8Array[]> {
    if (places.length === 0) return [];
    const rows = places.map((place) => this.#sides.passages.rows[place]!);
    const placeOf = (row: number) => this.#placeOf(places[row]!);
    const { pieces, queueMs, inferMs } = await submitRows(this.#deps, this.#task, rows, placeOf, this.#passages.key);
    for (const { ids } of rows) this.tokens += ids.length;
    this.queueMs += queueMs;
    this.inferMs += inferMs;
    this.encodeMs += inferMs;
    return pieces ?? [];
  }

  /** Scores the query against what is kept of every passage row. */
  async score(values: readonly Uint8Array[]): Promise<Float32Array> {
    const { query, passages } = this.#sides;
    const { ids } = query.rows[0]!;
    const rows = passages.rows.map((row, i) => ({ ...row, kept: { query: ids, bytes: values[i]! } }));
    const { scores, queueMs, inferMs } = await submitRows(this.#deps, this.#task, rows, (row) => this.#placeOf(row));
    this.queueMs += queueMs;
    this.inferMs += inferMs;
    return scores;
  }

  /** Returns the place in the request of the passage of a row. */
  #placeOf(row: number): number {
    return this.#task.missing[this.#sides.passages.passageOf[row]!]!;
  }
}

/**
 * Scores the passages at `missing` by an interaction model. States of passages come from the passage cache where they are there; the others are read
 * first. Then the query looks at the states of all, the same bytes on hits and misses.
 * @throws WinnowError as `runRows`; `passage_too_long`, also for the query.
 */
export async function scoreByStates(
  deps: ScoringDeps,
  task: MissingTask,
  encoder: SideEncoder,
  graph: PassageGraph,
): Promise<Fresh> {
  const { request, missing, options } = task;
  const { encoded: sides, tokenizeMs } = await encodeSides(deps, task, encoder);
  if (!request.truncate) checkSides(sides, task);
  const { query, passages } = sides;
  const runner = new StateRunner(deps, task, sides, graph);
  // The server's check of itself has to run the model.
  const sharing = request.isCheck ? undefined : deps.passages;
  const { result: scores, missed } = await withKeptRows(
    sharing,
    task,
    passages.rows,
    (places) => runner.read(places),
    (values) => runner.score(values),
  );
  noteEncoded(sharing, task, runner.encodeMs);
  const { longPassages } = options;
  const cut = query.fullLengths[0]! - query.rows[0]!.ids.length;
  const { tokens, queueMs, inferMs } = runner;
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
