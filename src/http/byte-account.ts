import { WinnowError } from '../errors.ts';

export interface ByteAccountLimits {
  /** Bytes of unpacked bodies and of answers on their way that all requests may hold together. */
  readonly totalBytes: number;
  /** Requests that hold at most this much are small. Default 65,536. */
  readonly smallBytes?: number;
  /** Bytes of the total that only small requests may hold. Default an eighth. */
  readonly smallShareBytes?: number;
}

/** What one request holds of the account. */
export interface ByteHold {
  /**
   * Sets what the request holds, in bytes.
   * @throws WinnowError `too_many_bytes` where the account has no room for more. The request then holds what it held before.
   */
  resize(bytes: number): void;
  /** Adds to what the request holds. @throws WinnowError `too_many_bytes`. */
  add(bytes: number): void;
  /** Gives everything back; later calls do nothing. */
  close(): void;
}

/**
 * Counts the bytes that requests keep in memory between the first byte of a body and the last byte of its answer, and refuses to let them grow
 * beyond a total: without one, clients that send much or read nothing fill the memory of the process. A share is kept for small requests, so
 * that large ones cannot shut them out.
 */
export class ByteAccount {
  readonly #total: number;
  readonly #small: number;
  readonly #largeTotal: number;
  #held = 0;
  #heldByLarge = 0;

  constructor({ totalBytes, smallBytes = 65_536, smallShareBytes = totalBytes / 8 }: ByteAccountLimits) {
    this.#total = totalBytes;
    this.#small = smallBytes;
    this.#largeTotal = totalBytes - smallShareBytes;
  }

  /** Bytes held by all requests. */
  get held(): number {
    return this.#held;
  }

  /** A request's share of the account, empty at first. Close it when the answer has left or the client has gone. */
  open(): ByteHold {
    let own = 0;
    let closed = false;
    const resize = (bytes: number): void => {
      if (closed) return;
      this.#change(own, bytes);
      own = bytes;
    };
    return {
      resize,
      add: (bytes) => resize(own + bytes),
      close: () => {
        resize(0);
        closed = true;
      },
    };
  }

  #change(from: number, to: number): void {
    const held = this.#held - from + to;
    const heldByLarge = this.#heldByLarge - this.#ofLarge(from) + this.#ofLarge(to);
    if (to > from && (held > this.#total || (to > this.#small && heldByLarge > this.#largeTotal)))
      throw new WinnowError('too_many_bytes', { held: this.#held, limit: this.#total, seconds: 1 });
    this.#held = held;
    this.#heldByLarge = heldByLarge;
  }

  #ofLarge(bytes: number): number {
    return bytes > this.#small ? bytes : 0;
  }
}
