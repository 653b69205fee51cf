import type { Topic } from '../load/requests.ts';
import type { System } from './systems.ts';

/** One measurement of a round: a model, at a hit rate, through HTTP or without. */
export interface Cell {
  readonly system: System;
  /** Part of the passages that are kept already; of models that keep nothing: 0. */
  readonly rate: number;
  readonly way: 'engine' | 'http';
}

/** What one request took. */
export interface Took {
  readonly ms: number;
  /** Processor milliseconds of all processes. */
  readonly cpuMs: number;
}

export const RATES = [0, 0.5, 0.9, 1] as const;
const WAYS = ['engine', 'http'] as const;

/** Returns the measurements of a round. */
export const cellsOf = (systems: readonly System[]): readonly Cell[] =>
  systems.flatMap((system) =>
    (system.kind === 'kept' ? RATES : [0]).flatMap((rate) => WAYS.map((way) => ({ system, rate, way }))),
  );

export const labelOf = ({ system, rate, way }: Cell): string => `${system.name} ${rate} ${way}`;

const WORDS =
  'water house light money paper music table river stone bread glass horse plant train world night voice store beach cloud'.split(
    ' ',
  );

/**
 * Makes passages that no cache has: the first two words of each are others every time, one token each, so that lengths stay nearly as they
 * are.
 */
export class FreshPassages {
  #next = 0;

  /** Returns a list whose first part, `rate`, is as it was. */
  list({ query, passages }: Topic, rate: number): Topic {
    const kept = Math.round(rate * passages.length);
    return { query, passages: passages.map((text, i) => (i < kept ? text : this.#changed(text))) };
  }

  #changed(text: string): string {
    const n = this.#next++;
    const word = (place: number) => WORDS[Math.floor(n / WORDS.length ** place) % WORDS.length]!;
    return [word(0), word(1), word(2), ...text.split(' ').slice(3)].join(' ');
  }
}
