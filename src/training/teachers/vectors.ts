import { createHash, hash } from 'node:crypto';
import { type FileHandle, mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { LRUCache } from 'lru-cache';
import type { Model } from '../../onnx/graph.ts';
import { namingPath } from '../../util/files.ts';
import { withLock } from '../../util/lock-file.ts';

/*
 * Vectors of texts that a teacher has embedded. On disk: a line that names the encoder, then records of equal size. A record whose checksum is
 * wrong, such as one that a kill cut short, ends the file: it and what follows are embedded again.
 */

/** The vector of a text, and whether the encoder left out a part of it. */
export interface KeptVector {
  readonly vector: Float32Array;
  readonly truncated: boolean;
}

export interface Vectors {
  get(text: string): KeptVector | undefined;
  /** Keeps vectors; on disk when it resolves. */
  add(found: readonly (readonly [text: string, KeptVector])[]): Promise<void>;
  close(): Promise<void>;
}

/** What decides the vector of a text, its prefix included in the text. */
interface Encoder {
  readonly model: Model;
  /** Equal for tokenizers that make the same rows. */
  readonly pairKey: string;
  readonly maxLength: number;
}

/** Vectors in memory where no folder keeps them; of 384 numbers, 100 MB. */
const IN_MEMORY = 1 << 16;
const KEY_BYTES = 16;
/** Checksum and flag. */
const FACT_BYTES = 8;
const HEAD_BYTES = KEY_BYTES + FACT_BYTES;

const keyOf = (text: string): string => hash('sha256', text, 'hex').slice(0, 2 * KEY_BYTES);

/** Returns a name of a graph: equal weights in equal nodes give equal vectors. */
function nameOf({ model: { graph }, pairKey, maxLength }: Encoder): string {
  const digest = createHash('sha256').update(JSON.stringify([pairKey, maxLength]));
  for (const { op, inputs, outputs } of graph.nodes) digest.update(JSON.stringify([op, inputs, outputs]));
  for (const [name, { bytes }] of graph.initializers) digest.update(name).update(bytes);
  return digest.digest('hex');
}

function recordOf(key: string, { vector, truncated }: KeptVector): Buffer {
  const record = Buffer.alloc(HEAD_BYTES + vector.byteLength);
  record.write(key, 'hex');
  record.writeUInt32LE(truncated ? 1 : 0, KEY_BYTES + 4);
  record.set(new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength), HEAD_BYTES);
  record.writeUInt32LE(crc32(record), KEY_BYTES);
  return record;
}

/** Returns the key and vector of a record; undefined where its checksum is wrong. */
function readRecord(record: Buffer): readonly [string, KeptVector] | undefined {
  const stated = record.readUInt32LE(KEY_BYTES);
  record.writeUInt32LE(0, KEY_BYTES);
  if (crc32(record) !== stated) return undefined;
  const vector = new Float32Array(new Uint8Array(record.subarray(HEAD_BYTES)).buffer);
  return [record.toString('hex', 0, KEY_BYTES), { vector, truncated: record.readUInt32LE(KEY_BYTES + 4) === 1 }];
}

/** Reads the whole records of a file, and cuts off what follows them. */
async function readRecords(handle: FileHandle, header: string): Promise<Map<string, KeptVector>> {
  const bytes = await handle.readFile();
  const known = new Map<string, KeptVector>();
  const end = bytes.indexOf(10);
  const width = end < 0 ? undefined : widthOf(bytes.toString('utf8', 0, end), header);
  if (width === undefined) {
    await handle.truncate(0);
    return known;
  }
  const size = HEAD_BYTES + 4 * width;
  let at = end + 1;
  for (; at + size <= bytes.length; at += size) {
    const record = readRecord(bytes.subarray(at, at + size));
    if (!record) break;
    known.set(...record);
  }
  await handle.truncate(at);
  return known;
}

/** Returns the width that the first line of a file states; undefined where it is of another encoder. */
function widthOf(line: string, header: string): number | undefined {
  const [name, width] = line.split(' ');
  return name === header && /^[1-9]\d*$/.test(width ?? '') ? Number(width) : undefined;
}

/** Opens the vectors of an encoder in a folder. The lock keeps other processes out until they are closed. */
async function onDisk(path: string, header: string): Promise<Vectors> {
  const opened = Promise.withResolvers<Vectors>();
  const closed = Promise.withResolvers<void>();
  const done = withLock(`${path}.lock`, 'wait for it, or give another --vectors', async () => {
    const handle = await namingPath(path, open(path, 'a+'));
    try {
      const known = await readRecords(handle, header);
      let isEmpty = (await handle.stat()).size === 0;
      opened.resolve({
        get: (text) => known.get(keyOf(text)),
        async add(found) {
          if (found.length === 0) return;
          const records = found.map(([text, kept]) => {
            const key = keyOf(text);
            known.set(key, kept);
            return recordOf(key, kept);
          });
          const start = isEmpty ? [Buffer.from(`${header} ${found[0]![1].vector.length}\n`)] : [];
          isEmpty = false;
          await namingPath(path, handle.appendFile(Buffer.concat([...start, ...records])));
        },
        async close() {
          closed.resolve();
          await done;
        },
      });
      await closed.promise;
      await handle.datasync();
    } finally {
      await handle.close();
    }
  });
  done.catch(opened.reject);
  return opened.promise;
}

/**
 * Opens the vectors that an encoder has made: those of a folder, where later runs find them, else the last ones in memory.
 * @param folder is made where it is missing; a file in it belongs to one graph, tokenizer and length, and is read into memory whole.
 * @throws WinnowError `in_use` where another process adds to the same file.
 */
export async function openVectors(folder: string | undefined, encoder: Encoder): Promise<Vectors> {
  if (folder !== undefined) {
    await namingPath(folder, mkdir(folder, { recursive: true }));
    const name = nameOf(encoder);
    return onDisk(join(folder, `${name.slice(0, 16)}.vectors`), name);
  }
  const known = new LRUCache<string, KeptVector>({ max: IN_MEMORY });
  return {
    get: (text) => known.get(text),
    async add(found) {
      for (const [text, kept] of found) known.set(text, kept);
    },
    async close() {},
  };
}
