import { closeSync, fstatSync, fsyncSync, openSync, readSync, writeSync } from 'node:fs';

const BUFFER_BYTES = 1 << 20;

/** Most bytes of one read; Node refuses more than 2 GiB. */
const READ_BYTES = 1 << 30;

/** Reads a whole file, of any size. @param atOnce most bytes of one read. @throws Error where it ends before its size. */
export function readWhole(path: string, atOnce = READ_BYTES): Buffer<ArrayBuffer> {
  const file = openSync(path, 'r');
  try {
    const bytes = Buffer.allocUnsafeSlow(fstatSync(file).size);
    for (let done = 0; done < bytes.length; ) {
      const got = readSync(file, bytes, done, Math.min(bytes.length - done, atOnce), done);
      if (got === 0) throw new Error(`${path}: expected ${bytes.length} bytes, got ${done}`);
      done += got;
    }
    return bytes;
  } finally {
    closeSync(file);
  }
}

/** Writes numbers and bytes to a file through one buffer. Numbers are LEB128: 7 bits a byte, the lowest first. */
export class ByteWriter {
  readonly #file: number;
  readonly #buffer = Buffer.allocUnsafe(BUFFER_BYTES);
  #used = 0;
  #flushed = 0;

  constructor(path: string) {
    this.#file = openSync(path, 'wx');
  }

  /** Bytes written so far. */
  get position(): number {
    return this.#flushed + this.#used;
  }

  varint(value: number): void {
    if (this.#used + 10 > BUFFER_BYTES) this.#flush();
    let rest = value;
    while (rest >= 128) {
      this.#buffer[this.#used++] = (rest % 128) | 128;
      rest = Math.floor(rest / 128);
    }
    this.#buffer[this.#used++] = rest;
  }

  bytes(bytes: Uint8Array): void {
    if (this.#used + bytes.length > BUFFER_BYTES) this.#flush();
    if (bytes.length > BUFFER_BYTES) {
      this.#write(bytes);
      return;
    }
    this.#buffer.set(bytes, this.#used);
    this.#used += bytes.length;
  }

  text(text: string): void {
    const bytes = Buffer.from(text, 'utf8');
    this.varint(bytes.length);
    this.bytes(bytes);
  }

  close(): void {
    try {
      this.#flush();
      fsyncSync(this.#file);
    } finally {
      closeSync(this.#file);
    }
  }

  #flush(): void {
    this.#write(this.#buffer.subarray(0, this.#used));
    this.#used = 0;
  }

  #write(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) done += writeSync(this.#file, bytes, done, bytes.length - done);
    this.#flushed += bytes.length;
  }
}

/** Reads a file that a `ByteWriter` wrote, from the start, through one buffer. */
export class ByteReader {
  readonly #file: number;
  #buffer: Buffer;
  #at = 0;
  #end = 0;

  constructor(path: string, bufferBytes: number = 1 << 16) {
    this.#file = openSync(path, 'r');
    this.#buffer = Buffer.allocUnsafe(bufferBytes);
  }

  /** True once everything has been read. */
  get ended(): boolean {
    return this.#at === this.#end && this.#fill(1) < 1;
  }

  varint(): number {
    if (this.#end - this.#at < 10) this.#fill(10);
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.#buffer[this.#at++]!;
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  }

  /** Returns the next bytes, valid until the next call. */
  bytes(count: number): Uint8Array {
    if (this.#end - this.#at < count) this.#fill(count);
    this.#at += count;
    return this.#buffer.subarray(this.#at - count, this.#at);
  }

  text(): string {
    const count = this.varint();
    return Buffer.from(this.bytes(count)).toString('utf8');
  }

  close(): void {
    closeSync(this.#file);
  }

  /** Buffers at least `count` bytes if the file has them; returns how many are buffered. */
  #fill(count: number): number {
    const left = this.#end - this.#at;
    const target = count > this.#buffer.length ? Buffer.allocUnsafe(2 * count) : this.#buffer;
    this.#buffer.copy(target, 0, this.#at, this.#end);
    this.#buffer = target;
    this.#at = 0;
    this.#end = left;
    while (this.#end < count) {
      const got = readSync(this.#file, target, this.#end, target.length - this.#end, null);
      if (got === 0) break;
      this.#end += got;
    }
    return this.#end;
  }
}
