import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Flight, Flights, keyText } from './flights.ts';
import { keysInTurns } from './passage-keys.ts';
import { PassageStore } from './passage-store.ts';
import {
  type ComputePassages,
  type HeldPassages,
  KEY_WORDS,
  type PassageCache,
  type PassageEntry,
  type PassageFilter,
  type PassageKeys,
  type PassageModel,
  type PassageObserver,
  type PassageRequest,
} from './passage-types.ts';

/** Bytes that are copied into the store in one turn of the event loop: a few milliseconds. */
const BYTES_PER_TURN = 2 ** 22;
/** Bytes that an entry counts for in addition to its own: the cost of finding a place for it. */
const BYTES_PER_ENTRY = 4096;
/** Rows that are looked up in one turn. */
const ROWS_PER_TURN = 2048;
/** Entries that a sweep looks at in one turn. */
const ENTRIES_PER_TURN = 4096;
/** How often a request waits for others to compute a value before it computes it itself. */
const MOST_WAITS = 2;

/** Counts of a version, by its number in the store. */
interface Tally {
  readonly id: number;
  readonly model: PassageModel;
  entries: number;
  bytes: number;
  hits: number;
  misses: number;
  evictions: number;
  encodeMs: number;
  unkept: number;
}

const fits = (model: PassageModel, filter: PassageFilter): boolean =>
  (filter.name ?? model.name) === model.name &&
  (filter.version ?? model.version) === model.version &&
  (filter.sha256 ?? model.sha256) === model.sha256 &&
  (filter.variant ?? model.variant) === model.variant &&
  (filter.provider ?? model.provider) === model.provider &&
  (filter.salt ?? model.salt) === model.salt;

interface CacheOptions {
  /** The most memory, tables included. */
  readonly bytes: number;
  readonly observer?: PassageObserver;
}

/** The rows of one request on their way to values. */
interface Holding {
  readonly request: PassageRequest;
  readonly tally: Tally;
  readonly compute: ComputePassages;
  readonly values: Uint8Array[];
  readonly missed: boolean[];
  /** Entries that stay until the request is done. */
  readonly pinned: number[];
}

interface Division {
  readonly mine: readonly (readonly [row: number, flight: Flight])[];
  readonly awaited: readonly (readonly [row: number, flight: Flight])[];
}

class MemoryCache implements PassageCache {
  readonly #limit: number;
  readonly #observer: PassageObserver;
  readonly #store: PassageStore;
  readonly #flights = new Flights();
  readonly #tallies: Tally[] = [];
  readonly #tallyOf = new Map<string, Tally>();
  readonly keys = keysInTurns;

  constructor({ bytes, observer = {} }: CacheOptions) {
    this.#limit = bytes;
    this.#observer = observer;
    this.#store = new PassageStore({ bytes, onEvict: (entry) => this.#evicted(entry) });
  }

  async hold<T>(
    request: PassageRequest,
    compute: ComputePassages,
    use: (held: HeldPassages) => T | Promise<T>,
  ): Promise<T> {
    const rows = request.lengths.length;
    const tally = this.#tallyFor(request.model);
    const missed = new Array<boolean>(rows).fill(false);
    const holding: Holding = { request, tally, compute, values: [], missed, pinned: [] };
    try {
      await this.#fill(holding);
      return await use({ values: holding.values, missed });
    } finally {
      for (const entry of holding.pinned) this.#store.unpin(entry);
    }
  }

  has(keys: PassageKeys): readonly boolean[] {
    return Array.from({ length: keys.length / KEY_WORDS }, (_, row) => this.#store.find(keys, KEY_WORDS * row) >= 0);
  }

  load({ model, key, tokens, value }: PassageEntry): boolean {
    if (this.#store.find(key, 0) >= 0) return false;
    return this.#insert(this.#tallyFor(model), { keys: key, at: 0, tokens, value }, false);
  }

  async clear(filter: PassageFilter, why: 'cleared' | 'unloaded' = 'cleared') {
    let [entries, bytes] = [0, 0];
    for (let from = 0; from < this.#store.end; from += ENTRIES_PER_TURN) {
      if (from > 0) await nextTurn();
      const end = Math.min(from + ENTRIES_PER_TURN, this.#store.end);
      for (let entry = from; entry < end; entry++) {
        const tally = this.#tallies[this.#store.model(entry)];
        if (!tally || !fits(tally.model, filter)) continue;
        entries++;
        bytes += this.#forget(entry, tally);
        this.#store.remove(entry);
      }
    }
    this.#store.trim();
    this.#observer.onClear?.(filter, why);
    return { entries, bytes };
  }

  noteEncoded(model: PassageModel, ms: number): void {
    this.#tallyFor(model).encodeMs += ms;
  }

  stats() {
    return {
      limitBytes: this.#limit,
      bytes: this.#store.bytes,
      entries: this.#store.entries,
      models: this.#tallies.map(({ id: _, ...counts }) => counts),
    };
  }

  async #fill(holding: Holding): Promise<void> {
    let left: readonly number[] = Array.from(holding.missed, (_, row) => row);
    for (let round = 0; round === 0 || left.length > 0; round++) {
      const absent = await this.#readKept(holding, left);
      const { mine, awaited } = await this.#divide(holding, absent, round < MOST_WAITS);
      if (round === 0 || mine.length > 0) await this.#computeOwn(holding, mine);
      const landed = await holding.request.guard(Promise.all(awaited.map(([, flight]) => flight.landed)));
      left = awaited.flatMap(([row], i) => {
        const value = landed[i];
        if (!value) return [row];
        holding.values[row] = value;
        holding.tally.hits++;
        return [];
      });
    }
  }

  /** Takes the values of rows that are there. Returns the other rows. */
  async #readKept({ request, tally, values, pinned }: Holding, rows: readonly number[]): Promise<readonly number[]> {
    const absent: number[] = [];
    for (const [i, row] of rows.entries()) {
      if (i > 0 && i % ROWS_PER_TURN === 0) await nextTurn();
      const entry = this.#store.find(request.keys, KEY_WORDS * row);
      if (entry < 0) {
        absent.push(row);
        continue;
      }
      this.#store.pin(entry);
      pinned.push(entry);
      values[row] = this.#store.value(entry);
      tally.hits++;
    }
    return absent;
  }

  /** Divides rows into those to compute and those to wait for. */
  async #divide({ request, tally, missed }: Holding, absent: readonly number[], mayWait: boolean): Promise<Division> {
    const { keys, lengths, share, lane, priority } = request;
    const own = { share, lane, priority, jobTokens: absent.reduce((sum, row) => sum + lengths[row]!, 0) };
    const started = new Map<string, Flight>();
    const mine: [number, Flight][] = [];
    const awaited: [number, Flight][] = [];
    for (const [i, row] of absent.entries()) {
      if (i > 0 && i % ROWS_PER_TURN === 0) await nextTurn();
      const key = keyText(keys, KEY_WORDS * row);
      const flight = started.get(key) ?? (mayWait ? this.#flights.toAwait(key, own) : undefined);
      if (flight) {
        awaited.push([row, flight]);
        continue;
      }
      const ours = this.#flights.start(key, own);
      started.set(key, ours);
      mine.push([row, ours]);
      missed[row] = true;
    }
    tally.misses += mine.length;
    return { mine, awaited };
  }

  async #computeOwn({ request, tally, compute, values }: Holding, mine: Division['mine']): Promise<void> {
    try {
      const found = await compute(mine.map(([row]) => row));
      if (found.length !== mine.length) throw new Error(`expected ${mine.length} values, got ${found.length}`);
      let copied = 0;
      for (const [i, [row, flight]] of mine.entries()) {
        const value = found[i]!;
        values[row] = value;
        flight.land(value);
        copied += value.byteLength + BYTES_PER_ENTRY;
        if (copied > BYTES_PER_TURN) {
          await nextTurn();
          copied = 0;
        }
        // Another request may have computed it too, because this one was less urgent.
        const at = KEY_WORDS * row;
        if (this.#store.find(request.keys, at) < 0)
          this.#insert(tally, { keys: request.keys, at, tokens: request.lengths[row]!, value }, true);
      }
    } finally {
      for (const [, flight] of mine) flight.land(undefined);
    }
  }

  #insert(
    tally: Tally,
    entry: { readonly keys: PassageKeys; readonly at: number; readonly tokens: number; readonly value: Uint8Array },
    isNew: boolean,
  ): boolean {
    const { keys, at, tokens, value } = entry;
    const placed = this.#store.insert({ ...entry, model: tally.id }, isNew);
    if (placed < 0) {
      if (isNew) tally.unkept++;
      return false;
    }
    tally.entries++;
    tally.bytes += this.#store.bytesOf(placed);
    if (isNew) this.#observer.onInsert?.({ model: tally.model, key: keys.slice(at, at + KEY_WORDS), tokens, value });
    return true;
  }

  #evicted(entry: number): void {
    const tally = this.#tallies[this.#store.model(entry)]!;
    tally.evictions++;
    this.#forget(entry, tally);
    this.#observer.onEvict?.(this.#store.key(entry), tally.model);
  }

  /** Takes an entry out of the counts. Returns its bytes. */
  #forget(entry: number, tally: Tally): number {
    const bytes = this.#store.bytesOf(entry);
    tally.entries--;
    tally.bytes -= bytes;
    return bytes;
  }

  #tallyFor({ name, version, sha256, variant, provider, salt }: PassageModel): Tally {
    const key = JSON.stringify([name, version, sha256, variant, provider, salt]);
    let tally = this.#tallyOf.get(key);
    if (!tally) {
      const model = { name, version, sha256, variant, provider, salt };
      const counts = { entries: 0, bytes: 0, hits: 0, misses: 0, evictions: 0, encodeMs: 0, unkept: 0 };
      tally = { id: this.#tallies.length, model, ...counts };
      this.#tallies.push(tally);
      this.#tallyOf.set(key, tally);
    }
    return tally;
  }
}

/**
 * Creates a cache of what models make of passages, in memory outside the JavaScript heap. `bytes` bounds all of it: values, the unused parts
 * of slabs, and tables.
 */
export function createPassageCache(options: CacheOptions): PassageCache {
  return new MemoryCache(options);
}
