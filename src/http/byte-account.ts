import { WinnowError } from '../errors.ts';

interface ByteAccountLimits {
  /** Bytes of unpacked bodies and of unsent answers that all requests together may hold. */
  readonly totalBytes: number;
  /** Requests that hold at most this many bytes are small. Default 65,536. */
  readonly smallBytes?: number;
  /** Bytes of the total that only small requests may hold. Default an eighth. */
  readonly smallShareBytes?: number;
}

/** The bytes of one request. */
export interface ByteHold {
  /**
   * Sets the number of bytes the request holds.
   * @throws WinnowError `too_many_bytes` if the total would be exceeded; the number then stays as it was.
   */
  resize(bytes: number): void;
  /** Adds to the bytes the request holds. @throws WinnowError `too_many_bytes`. */
  add(bytes: number): void;
  /** Releases all bytes; later calls do nothing. */
  close(): void;
}

/**
 * Counts the bytes that requests keep in memory from the first byte of a body to the last byte of its answer, and refuses growth beyond a
 * total: otherwise clients that send much or read nothing could fill the memory of the process. A share is reserved for small requests, so
 * that large ones cannot block them.
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

  /** Opens the count of one request, 0 at first. Close it when the answer is sent or the client has disconnected. */
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
