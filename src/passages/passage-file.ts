import { dirname, resolve } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { WinnowError } from '../errors.ts';
import { type Clock, monotonicClock } from '../util/clock.ts';
import { sweepLeftovers } from '../util/leftovers.ts';
import { FileError, FOREIGN, fileError } from './disk/errors.ts';
import type { FileCounts, FileFacts, PassagesRead, ReadFrom } from './disk/file-types.ts';
import { fileState } from './disk/header.ts';
import { type KeptPassage, packPassages, unpackPassages } from './disk/packed.ts';
import { FileThread } from './disk/thread.ts';

/** What becomes of a file while it is in use. */
export type PassageFileEvent =
  /** Nothing can be written; passages are not kept until `recovered`. */
  | { readonly kind: 'failed'; readonly reason: string }
  | { readonly kind: 'recovered' }
  /** A damaged file was moved to `to`; a new one is in its place. */
  | { readonly kind: 'set-aside'; readonly to: string; readonly reason: string }
  /** Entries that were not what was written were dropped. */
  | { readonly kind: 'damaged'; readonly entries: number };

interface PassageFileOptions {
  readonly path: string;
  /** Of all values together; the oldest entries are dropped beyond it. */
  readonly limitBytes: number;
  /** Milliseconds for which another process may have the file open, such as one that is being replaced. Default 5,000. */
  readonly waitMs?: number;
  readonly onEvent?: (event: PassageFileEvent) => void;
  readonly clock?: Clock;
}

export interface PassageFileStats extends FileCounts {
  /** Entries that were not written, because the file failed or the disk was too slow. */
  readonly unwritten: number;
  /** Entries that were not what was written. */
  readonly damaged: number;
}

/** Milliseconds for which entries wait for others to be written with; a killed process loses them. */
const WAIT_MS = 250;
const LOCK_WAIT_MS = 5000;
/** Bytes of values that are written at once, and that are read at once. */
const GROUP_BYTES = 1 << 20;
/** Entries that are taken into memory in one turn of the event loop: about a millisecond. */
const ENTRIES_PER_TURN = 64;
/** Bytes of values that wait for the disk, at most; further ones are not kept. */
const PENDING_BYTES = 32 << 20;
/** Milliseconds after a failure until the next write. */
const PAUSE_MS = 10_000;

const keyOf = (key: Uint8Array): string => Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1');

/**
 * Opens a file of passages for this process alone, and creates it if missing. A damaged file is moved aside; one that cannot be written for
 * the moment is tried again later.
 * @throws WinnowError `in_use`, where another process has the file open; `invalid_input` for a path that cannot be used, or a file that
 * something else made.
 */
export async function openPassageFile(options: PassageFileOptions): Promise<PassageFile> {
  const path = resolve(options.path);
  await sweepLeftovers(dirname(path));
  const file = new PassageFile({ ...options, path });
  try {
    await file.open();
    return file;
  } catch (error) {
    await file.close();
    throw refusal(path, error as FileError);
  }
}

/** Checks before a start that the path is free, or has a file of this kind. @throws WinnowError `invalid_input`. */
export function checkPassageFile(path: string): void {
  const where = resolve(path);
  try {
    if (fileState(where) === 'foreign') throw new FileError('foreign', FOREIGN);
  } catch (error) {
    throw refusal(where, fileError(error));
  }
}

function refusal(where: string, { fault, message }: FileError): WinnowError {
  if (fault === 'locked')
    return new WinnowError('in_use', {
      where,
      got: 'one that has it open',
      cure: 'give each process a cache.passageFile of its own',
    });
  const expected = 'a file of kept passages, or none (cache.passageFile)';
  return new WinnowError('invalid_input', { where, expected, got: `${message}; name another file, or move it away` });
}

/** Kept passages on disk: read at the start, written in groups in the background. A write never rejects and never waits. */
export class PassageFile {
  readonly #thread: FileThread;
  readonly #clock: Clock;
  readonly #onEvent: (event: PassageFileEvent) => void;
  #facts: Pick<FileFacts, 'counts' | 'spaces'> = { counts: { entries: 0, bytes: 0 }, spaces: [] };
  #passages: KeptPassage[] = [];
  #passageBytes = 0;
  #forget = new Map<string, Uint8Array>();
  #cancelTimer: (() => void) | undefined;
  /** Bytes of groups that the thread has not written yet. */
  #sentBytes = 0;
  #pausedUntil = Number.NEGATIVE_INFINITY;
  #failing = false;
  #closed = false;
  #unwritten = 0;
  #damaged = 0;

  /** Use `openPassageFile`. */
  constructor({
    path,
    limitBytes,
    waitMs = LOCK_WAIT_MS,
    onEvent = () => {},
    clock = monotonicClock,
  }: PassageFileOptions) {
    this.#onEvent = onEvent;
    this.#clock = clock;
    this.#thread = new FileThread({ path, limitBytes, waitMs }, (facts) => {
      this.#facts = facts;
      if (facts.aside) onEvent({ kind: 'set-aside', ...facts.aside });
    });
  }

  /** Names of the spaces that have had entries. */
  get spaces(): readonly string[] {
    return this.#facts.spaces;
  }

  stats(): PassageFileStats {
    return { ...this.#facts.counts, unwritten: this.#unwritten, damaged: this.#damaged };
  }

  /** @throws FileError where a restart with other settings is needed. */
  async open(): Promise<void> {
    await this.#thread.call({ kind: 'open' }).catch((error: FileError) => {
      if (error.fault !== 'failed') throw error;
      this.#fail(error);
    });
  }

  /**
   * Reads the entries of some spaces that the file has now, oldest first, with turns of the event loop for other work in between. Never rejects.
   * @param take receives about 1 MiB of passages at a time, at most 64 of them; keys and values are views of memory that is its own from then on.
   */
  async load(spaces: readonly string[], take: (passages: readonly KeptPassage[]) => void): Promise<void> {
    let from: ReadFrom | undefined;
    do {
      const call = { kind: 'read', spaces, from, bytes: GROUP_BYTES } as const;
      const read: PassagesRead | undefined = await this.#thread
        .call(call)
        .catch((error: FileError) => this.#fail(error));
      if (!read) return;
      if (read.damaged > 0) this.#onEvent({ kind: 'damaged', entries: read.damaged });
      this.#damaged += read.damaged;
      const passages = [...unpackPassages(read.passages)];
      for (let start = 0; start < passages.length; start += ENTRIES_PER_TURN) {
        take(passages.slice(start, start + ENTRIES_PER_TURN));
        await nextTurn();
      }
      from = read.next;
    } while (from && !this.#closed);
  }

  /** Keeps a copy of a passage. */
  put(passage: KeptPassage): void {
    const { length } = passage.value;
    if (this.#closed || this.#isPaused() || this.#sentBytes + this.#passageBytes + length > PENDING_BYTES) {
      this.#unwritten++;
      return;
    }
    this.#forget.delete(keyOf(passage.key));
    this.#passages.push({ ...passage, key: new Uint8Array(passage.key), value: new Uint8Array(passage.value) });
    this.#passageBytes += length;
    if (this.#passageBytes >= GROUP_BYTES) this.#send();
    else this.#wait();
  }

  /** Removes a passage, such as one that memory has no room for. */
  forget(key: Uint8Array): void {
    if (this.#closed || this.#isPaused()) return;
    this.#forget.set(keyOf(key), new Uint8Array(key));
    this.#wait();
  }

  /** Writes what waits. Resolves when everything that was put before is on the disk, or has failed. */
  async flush(): Promise<void> {
    this.#send();
    await this.#thread.call({ kind: 'open' }).catch(() => undefined);
  }

  /** Removes the entries of some spaces, or all, and overwrites them. @throws FileError. */
  async drop(spaces?: readonly string[]): Promise<void> {
    this.#send();
    await this.#thread.call(spaces ? { kind: 'drop', spaces } : { kind: 'empty' });
  }

  /** Writes what waits and closes the file. Never rejects. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#send();
    this.#closed = true;
    await this.#thread.call({ kind: 'close' }).catch(() => undefined);
    await this.#thread.end();
  }

  #isPaused(): boolean {
    return this.#failing && this.#clock.now() < this.#pausedUntil;
  }

  #wait(): void {
    this.#cancelTimer ??= this.#clock.after(WAIT_MS, () => this.#send());
  }

  #send(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    if (this.#closed || (this.#passages.length === 0 && this.#forget.size === 0)) return;
    const [kept, bytes] = [this.#passages, this.#passageBytes];
    const forget = new Uint8Array(Buffer.concat([...this.#forget.values()]));
    this.#passages = [];
    this.#passageBytes = 0;
    this.#forget = new Map();
    this.#sentBytes += bytes;
    this.#thread
      .call({ kind: 'write', passages: packPassages(kept), forget })
      .then(
        () => this.#recover(),
        (error: FileError) => {
          this.#unwritten += kept.length;
          this.#fail(error);
        },
      )
      .finally(() => {
        this.#sentBytes -= bytes;
      });
  }

  #fail(error: FileError): undefined {
    // The event has been sent, and a new file is in place.
    if (error.fault === 'damaged') return;
    // A file that is gone is made anew by the next write.
    if (error.fault !== 'lost') this.#pausedUntil = this.#clock.now() + PAUSE_MS;
    if (!this.#failing) this.#onEvent({ kind: 'failed', reason: error.message });
    this.#failing = true;
  }

  #recover(): void {
    if (this.#failing) this.#onEvent({ kind: 'recovered' });
    this.#failing = false;
  }
}
