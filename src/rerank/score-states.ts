import type { PassageGraph, SideEncoder } from '../registry/registry-types.ts';
import { submitRows } from './run-rows.ts';
import type { Fresh, MissingTask, ScoringDeps } from './scoring-types.ts';
import { type SideRunner, type Sides, scoreSides } from './sides.ts';

/** Runs both graphs of an interaction model. */
class StateRunner implements SideRunner {
  readonly #deps: ScoringDeps;
  readonly #task: MissingTask;
  readonly #sides: Sides;
  readonly #passages: PassageGraph;
  tokens: number;
  queueMs = 0;
  inferMs = 0;
  encodeMs = 0;

  constructor(deps: ScoringDeps, task: MissingTask, sides: Sides, passages: PassageGraph) {
    this.#deps = deps;
    this.#task = task;
    this.#sides = sides;
    this.#passages = passages;
    this.tokens = sides.query.tokens;
  }

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
 * Scores the passages at `missing` by an interaction model, whose query looks at the states of all.
 * @throws WinnowError as `scoreSides`.
 */
export const scoreByStates = (
  deps: ScoringDeps,
  task: MissingTask,
  encoder: SideEncoder,
  graph: PassageGraph,
): Promise<Fresh> => scoreSides(deps, task, encoder, (sides) => new StateRunner(deps, task, sides, graph));
