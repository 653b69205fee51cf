import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';

const CHUNK = 1 << 22;

/** Name of a part; names sort in the order of the parts. */
const partName = (index: number): string => `part-${String(index).padStart(3, '0')}`;

/** Calls `use` with the bytes of files, one file after the other. */
function* chunksOf(files: readonly string[]): Generator<Buffer> {
  const buffer = Buffer.alloc(CHUNK);
  for (const file of files) {
    const handle = openSync(file, 'r');
    try {
      for (let read = readSync(handle, buffer); read > 0; read = readSync(handle, buffer))
        yield buffer.subarray(0, read);
    } finally {
      closeSync(handle);
    }
  }
}

class Part {
  readonly name: string;
  readonly #handle: number;
  readonly #hash = createHash('sha256');
  #bytes = 0;

  constructor(folder: string, index: number) {
    this.name = partName(index);
    this.#handle = openSync(join(folder, this.name), 'wx');
  }

  /** Returns the bytes that still fit. */
  room(limit: number): number {
    return limit - this.#bytes;
  }

  write(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) done += writeSync(this.#handle, bytes, done);
    this.#hash.update(bytes);
    this.#bytes += bytes.length;
  }

  /** Closes the file. @returns its line in `sha256sum`'s format. */
  end(): string {
    closeSync(this.#handle);
    return `${this.#hash.digest('hex')}  ${this.name}`;
  }
}

/**
 * Cuts files, joined in this order, into parts of at most `limit` bytes, and writes SHA256SUMS with a line for each of them and SIZES with the bytes of
 * each file. The folder must hold no parts.
 * @returns the number of parts.
 */
export function writeParts(folder: string, files: readonly string[], limit: number): number {
  const lines: string[] = [];
  let part = new Part(folder, 0);
  for (const chunk of chunksOf(files))
    for (let at = 0; at < chunk.length; ) {
      if (part.room(limit) === 0) {
        lines.push(part.end());
        part = new Part(folder, lines.length);
      }
      const piece = chunk.subarray(at, at + part.room(limit));
      part.write(piece);
      at += piece.length;
    }
  lines.push(part.end());
  writeFileSync(join(folder, 'SHA256SUMS'), `${lines.join('\n')}\n`);
  writeFileSync(join(folder, 'SIZES'), `${files.map((file) => statSync(file).size).join(' ')}\n`);
  for (const file of files) rmSync(file);
  return lines.length;
}
