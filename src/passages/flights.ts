import type { PassageKeys, Urgency } from './passage-types.ts';

/** Tokens of a job that others wait for whatever their own size: about one batch. */
const SHORT_JOB = 4096;
/** A request waits for a job of at most so many times the tokens of its own. */
const MUCH_LONGER = 2;

/** A value that a request is computing. */
export interface Flight extends Urgency {
  /** Tokens of the job that computes it. */
  readonly jobTokens: number;
  /** The value; undefined where the request ended without it. Never rejects. */
  readonly landed: Promise<Uint8Array | undefined>;
  land(value: Uint8Array | undefined): void;
}

/** Who computes which value now. Objects only for values that are on their way. */
export class Flights {
  readonly #known = new Map<string, Flight>();

  /**
   * Returns the flight of a key that a request should wait for. It should not wait for one of another share or less urgent, which may stand
   * behind it in the queue, nor for a job that is much longer than its own, whose values all come at its end.
   */
  toAwait(key: string, own: Urgency & { readonly jobTokens: number }): Flight | undefined {
    const flight = this.#known.get(key);
    if (flight?.share !== own.share) return undefined;
    const isUrgent = flight.lane < own.lane || (flight.lane === own.lane && flight.priority <= own.priority);
    return isUrgent && flight.jobTokens <= Math.max(SHORT_JOB, MUCH_LONGER * own.jobTokens) ? flight : undefined;
  }

  /** Announces that a request computes the value of a key. Later requests wait for this flight, also where there was another. */
  start(key: string, { share, lane, priority, jobTokens }: Urgency & { readonly jobTokens: number }): Flight {
    const { promise, resolve } = Promise.withResolvers<Uint8Array | undefined>();
    const flight: Flight = {
      share,
      lane,
      priority,
      jobTokens,
      landed: promise,
      land: (value) => {
        if (this.#known.get(key) === flight) this.#known.delete(key);
        resolve(value);
      },
    };
    this.#known.set(key, flight);
    return flight;
  }
}

/** Returns a key as text. */
export function keyText(keys: PassageKeys, at: number): string {
  return `${keys[at]} ${keys[at + 1]} ${keys[at + 2]} ${keys[at + 3]}`;
}
