import { createHash, randomBytes } from 'node:crypto';
import { type FileHandle, mkdir, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';

/*
 * What was kept of passages, in files that are only appended to: a process writes one of its own and reads all. A record is complete or is not
 * there: its checksum is read with it, so that what a kill or a disk left half is computed again.
 *
 *   record   "WKP1", tokens (u32), key (16 bytes), bytes of the value (u32), CRC-32 of key and value (u32), value
 */

const MAGIC = 0x31504b57;
const HEADER = 32;
const KEY = 16;
/** Offsets of a file: 1 TiB. A place is file · OFFSETS + offset, exact in a double for 8,192 files. */
const OFFSETS = 2 ** 40;
const FILES = 2 ** 13;

/** A kept value with its number of tokens. */
export interface Kept {
  readonly tokens: number;
  readonly value: Uint8Array;
}

/** Returns the key of a passage by its token ids. */
export const keyOf = (ids: Int32Array): string =>
  createHash('sha256').update(ids).digest().subarray(0, KEY).toString('latin1');

const checksum = (key: Uint8Array, value: Uint8Array): number => crc32(value, crc32(key));

function record(key: string, { tokens, value }: Kept): Buffer {
  const buffer = Buffer.allocUnsafe(HEADER + value.byteLength);
  const name = Buffer.from(key, 'latin1');
  buffer.writeUInt32LE(MAGIC, 0);
  buffer.writeUInt32LE(tokens, 4);
  name.copy(buffer, 8);
  buffer.writeUInt32LE(value.byteLength, 24);
  buffer.writeUInt32LE(checksum(name, value), 28);
  buffer.set(value, HEADER);
  return buffer;
}

/** Returns a record that is whole; undefined for any other bytes. */
function parsed(buffer: Buffer, key: string): Kept | undefined {
  if (buffer.byteLength < HEADER || buffer.readUInt32LE(0) !== MAGIC) return undefined;
  const name = buffer.subarray(8, 8 + KEY);
  const value = buffer.subarray(HEADER);
  const isWhole = buffer.readUInt32LE(24) === value.byteLength && buffer.readUInt32LE(28) === checksum(name, value);
  return isWhole && name.toString('latin1') === key ? { tokens: buffer.readUInt32LE(4), value } : undefined;
}

/** Where records lie, by key. One number and one length a passage are in memory. */
type Index = Map<string, { readonly place: number; readonly bytes: number }>;

/** Reads the headers of a file up to its first incomplete record. */
async function readIndex(file: FileHandle, number: number, index: Index): Promise<void> {
  const { size } = await file.stat();
  const header = Buffer.alloc(HEADER);
  for (let offset = 0; offset + HEADER <= size; ) {
    await file.read(header, 0, HEADER, offset);
    if (header.readUInt32LE(0) !== MAGIC) return;
    const bytes = HEADER + header.readUInt32LE(24);
    if (offset + bytes > size) return;
    index.set(header.subarray(8, 8 + KEY).toString('latin1'), { place: number * OFFSETS + offset, bytes });
    offset += bytes;
  }
}

async function writeAll(file: FileHandle, bytes: Buffer, at: number): Promise<void> {
  for (let done = 0; done < bytes.byteLength; )
    done += (await file.write(bytes, done, bytes.byteLength - done, at + done)).bytesWritten;
}

/** Kept values on disk, by key. */
interface KeptFile {
  /** Number of keys. */
  readonly size: number;
  has(key: string): boolean;
  /** Returns a value; undefined where there is none or its record is damaged, which is then forgotten. */
  read(key: string): Promise<Kept | undefined>;
  /** Appends values in one write. */
  append(values: ReadonlyMap<string, Kept>): Promise<void>;
  close(): Promise<void>;
}

/** Opens the kept values of a folder, which is created. Several processes may have it open: none sees what others append meanwhile. */
export async function openKeptFile(folder: string): Promise<KeptFile> {
  await mkdir(folder, { recursive: true });
  const index: Index = new Map();
  const files: FileHandle[] = [];
  const names = (await readdir(folder)).filter((name) => name.endsWith('.kept')).sort();
  for (const name of names.slice(0, FILES - 1)) {
    const file = await open(join(folder, name), 'r');
    await readIndex(file, files.push(file) - 1, index);
  }
  let own: { readonly file: FileHandle; readonly number: number; end: number } | undefined;
  const ownFile = async () => {
    if (own) return own;
    const file = await open(join(folder, `${randomBytes(8).toString('hex')}.kept`), 'wx+');
    own = { file, number: files.push(file) - 1, end: 0 };
    return own;
  };
  return {
    get size() {
      return index.size;
    },
    has: (key) => index.has(key),
    async read(key) {
      const found = index.get(key);
      if (!found) return undefined;
      const { place, bytes } = found;
      const buffer = Buffer.allocUnsafe(bytes);
      const { bytesRead } = await files[Math.floor(place / OFFSETS)]!.read(buffer, 0, bytes, place % OFFSETS);
      const kept = parsed(buffer.subarray(0, bytesRead), key);
      if (!kept) index.delete(key);
      return kept;
    },
    async append(values) {
      const target = await ownFile();
      const records = [...values].map(([key, kept]) => [key, record(key, kept)] as const);
      await writeAll(target.file, Buffer.concat(records.map(([, bytes]) => bytes)), target.end);
      for (const [key, { byteLength }] of records) {
        index.set(key, { place: target.number * OFFSETS + target.end, bytes: byteLength });
        target.end += byteLength;
      }
    },
    async close() {
      for (const file of files) await file.close();
    },
  };
}
