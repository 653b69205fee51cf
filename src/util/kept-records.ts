import { hash, randomBytes } from 'node:crypto';
import { type FileHandle, mkdir, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { namingPath } from './files.ts';
import { tryLock } from './lock-file.ts';
import { Mutex } from './mutex.ts';

/*
 * What was computed once and is kept for later runs, by key, in files that are only appended to. A process holds the lock of the file that it appends
 * to, one that no other holds, and reads all. A record is complete or is not there: its checksum is read with it, so that what a kill or a disk left
 * half is computed again.
 *
 *   record   "WKP1", note (u32), key (16 bytes), bytes of the value (u32), CRC-32 of key and value (u32), value
 */

const MAGIC = 0x31504b57;
const HEADER = 32;
const KEY = 16;
/** Offsets of a file: 1 TiB. A place is file · OFFSETS + offset, exact in a double for 8,192 files. */
const OFFSETS = 2 ** 40;
const FILES = 2 ** 13;
/** Bytes that are read at once when headers are looked for. */
const BLOCK = 1 << 16;

/** A kept value, and a number that means what its owner says: tokens of a passage, 1 for a text that was cut. */
export interface Kept {
  readonly note: number;
  readonly value: Uint8Array;
}

/** Returns the key of a text, or of a passage by its token ids. */
export const keyOf = (content: string | Int32Array): string =>
  hash('sha256', content, 'buffer').subarray(0, KEY).toString('latin1');

const checksum = (key: Uint8Array, value: Uint8Array): number => crc32(value, crc32(key));

function record(key: string, { note, value }: Kept): Buffer {
  const buffer = Buffer.allocUnsafe(HEADER + value.byteLength);
  const name = Buffer.from(key, 'latin1');
  buffer.writeUInt32LE(MAGIC, 0);
  buffer.writeUInt32LE(note, 4);
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
  return isWhole && name.toString('latin1') === key ? { note: buffer.readUInt32LE(4), value } : undefined;
}

/** Where records lie, by key. One number and one length a record are in memory. */
type Index = Map<string, { readonly place: number; readonly bytes: number }>;

/** Reads the headers of a file up to its first incomplete record. @returns where that begins. */
async function readIndex(file: FileHandle, number: number, index: Index): Promise<number> {
  const { size } = await file.stat();
  const block = Buffer.allocUnsafe(BLOCK);
  let [from, to, offset] = [0, 0, 0];
  while (offset + HEADER <= size) {
    if (offset + HEADER > to) {
      from = offset;
      to = from + (await file.read(block, 0, BLOCK, from)).bytesRead;
    }
    const header = block.subarray(offset - from, offset - from + HEADER);
    if (offset + HEADER > to || header.readUInt32LE(0) !== MAGIC) break;
    const bytes = HEADER + header.readUInt32LE(24);
    if (offset + bytes > size) break;
    index.set(header.toString('latin1', 8, 8 + KEY), { place: number * OFFSETS + offset, bytes });
    offset += bytes;
  }
  return offset;
}

async function writeAll(file: FileHandle, bytes: Buffer, at: number): Promise<void> {
  for (let done = 0; done < bytes.byteLength; )
    done += (await file.write(bytes, done, bytes.byteLength - done, at + done)).bytesWritten;
}

/** Kept values on disk, by key. */
export interface KeptRecords {
  /** Number of keys. */
  readonly size: number;
  /** Returns a value; undefined where there is none or its record is damaged, which is then forgotten. */
  read(key: string): Promise<Kept | undefined>;
  /** Appends values in one write. */
  append(values: ReadonlyMap<string, Kept>): Promise<void>;
  /** Resolves when what was appended is on disk. */
  close(): Promise<void>;
}

/** The file that a process appends to. */
interface OwnFile {
  readonly file: FileHandle;
  readonly number: number;
  readonly release: () => Promise<void>;
  end: number;
}

/** Opens a file whose lock is free; undefined where another process holds it. */
async function takeFile(path: string, flags: 'r+' | 'wx+'): Promise<Pick<OwnFile, 'file' | 'release'> | undefined> {
  const release = await tryLock(`${path}.lock`);
  if (!release) return undefined;
  try {
    return { file: await open(path, flags), release };
  } catch (error) {
    await release();
    throw error;
  }
}

/** Takes the first file that no process appends to, else a new one. */
async function ownFile(folder: string, names: readonly string[], files: FileHandle[], index: Index): Promise<OwnFile> {
  for (const [number, name] of names.entries()) {
    const taken = await takeFile(join(folder, name), 'r+');
    if (!taken) continue;
    const [before] = files.splice(number, 1, taken.file);
    await before?.close();
    // Another process may have appended since the folder was opened.
    const end = await readIndex(taken.file, number, index);
    await taken.file.truncate(end);
    return { ...taken, number, end };
  }
  const taken = await takeFile(join(folder, `${randomBytes(8).toString('hex')}.kept`), 'wx+');
  if (!taken) throw new Error(`${folder}: expected that a new file has no lock, got one`);
  return { ...taken, number: files.push(taken.file) - 1, end: 0 };
}

/**
 * Opens the kept values of a folder, which is created. Several processes may have it open: none sees what others append meanwhile.
 * @throws Error with the path, where the folder cannot be read or written.
 */
export async function openKeptRecords(folder: string): Promise<KeptRecords> {
  await namingPath(folder, mkdir(folder, { recursive: true }));
  const index: Index = new Map();
  const files: FileHandle[] = [];
  await using stack = new AsyncDisposableStack();
  stack.defer(async () => {
    for (const file of files) await file.close();
  });
  const names = (await readdir(folder))
    .filter((name) => name.endsWith('.kept'))
    .sort()
    .slice(0, FILES - 1);
  for (const name of names) {
    const file = await open(join(folder, name), 'r');
    await readIndex(file, files.push(file) - 1, index);
  }
  let own: OwnFile | undefined;
  const turns = new Mutex();
  const append = async (records: readonly (readonly [string, Buffer])[]): Promise<void> => {
    own ??= await ownFile(folder, names, files, index);
    // Where a write fails, the next one begins at the same place: nothing lies behind half a record.
    await namingPath(folder, writeAll(own.file, Buffer.concat(records.map(([, bytes]) => bytes)), own.end));
    for (const [key, { byteLength }] of records) {
      index.set(key, { place: own.number * OFFSETS + own.end, bytes: byteLength });
      own.end += byteLength;
    }
  };
  const opened = stack.move();
  return {
    get size() {
      return index.size;
    },
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
      if (values.size > 0) await turns.run(() => append([...values].map(([key, kept]) => [key, record(key, kept)])));
    },
    async close() {
      await own?.file.datasync();
      await opened.disposeAsync();
      await own?.release();
    },
  };
}
