import type { FileHandle } from 'node:fs/promises';
import { WinnowError } from '../errors.ts';

const WINDOW = 65_536;

/** Reads a protobuf file through a window of 64 KiB, so that fields of gigabytes are skipped without being read. */
export class WireReader {
  readonly #handle: FileHandle;
  readonly #size: number;
  readonly #name: string;
  readonly #window = Buffer.allocUnsafe(WINDOW);
  #start = 0;
  #filled = 0;
  #position = 0;

  constructor(handle: FileHandle, size: number, name: string) {
    this.#handle = handle;
    this.#size = size;
    this.#name = name;
  }

  get position(): number {
    return this.#position;
  }

  fault(expected: string, got: string): WinnowError {
    return new WinnowError('invalid_manifest', { file: this.#name, expected, got, field: `byte ${this.#position}` });
  }

  /** Fills the window with at least `count` bytes, or with all that are left. */
  async #fill(count: number): Promise<void> {
    const offset = this.#position - this.#start;
    if (offset >= 0 && offset + count <= this.#filled) return;
    this.#start = this.#position;
    const { bytesRead } = await this.#handle.read(this.#window, 0, WINDOW, this.#position);
    this.#filled = bytesRead;
  }

  /** Reads an unsigned number. Above 2^53 it is inexact. @throws WinnowError for more than ten bytes. */
  async varint(): Promise<number> {
    await this.#fill(10);
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 10; i++) {
      const offset = this.#position - this.#start;
      if (offset >= this.#filled) throw this.fault('a whole protobuf message', 'the end of the file');
      const byte = this.#window[offset]!;
      this.#position++;
      value += (byte & 127) * scale;
      if (byte < 128) return value;
      scale *= 128;
    }
    throw this.fault('a number of at most ten bytes', 'a longer one');
  }

  async tag(): Promise<{ readonly field: number; readonly wire: number }> {
    const tag = await this.varint();
    const field = Math.floor(tag / 8);
    if (field === 0 || field > 536_870_911) throw this.fault('a protobuf field number', String(field));
    return { field, wire: tag % 8 };
  }

  /** Reads a length and returns where the field ends. @throws WinnowError if that is after the end of the enclosing message. */
  async fieldEnd(outerEnd: number): Promise<number> {
    const end = (await this.varint()) + this.#position;
    if (end > outerEnd || end > this.#size) throw this.fault('a field inside its message', 'one that passes its end');
    return end;
  }

  async skip(wire: number, outerEnd: number): Promise<void> {
    if (wire === 0) await this.varint();
    else if (wire === 1) this.#position += 8;
    else if (wire === 2) this.#position = await this.fieldEnd(outerEnd);
    else if (wire === 5) this.#position += 4;
    else throw this.fault('wire type 0, 1, 2 or 5', String(wire));
    if (this.#position > outerEnd) throw this.fault('a field inside its message', 'one that passes its end');
  }

  /** Reads UTF-8 text up to `end`. */
  async text(end: number, limit: number): Promise<string> {
    const length = end - this.#position;
    if (length > limit) throw this.fault(`a name of at most ${limit} bytes`, String(length));
    await this.#fill(length);
    const offset = this.#position - this.#start;
    if (offset + length > this.#filled) throw this.fault('a whole protobuf message', 'the end of the file');
    this.#position = end;
    return this.#window.toString('utf8', offset, offset + length);
  }
}
