import type { FileHandle } from 'node:fs/promises';
import { refusePickle } from './pickle.ts';
import { readExactly } from './stored.ts';

/*
 * The zip container of `torch.save` (since PyTorch 1.6): every file in it is stored as it is. Compressed ones are refused, so that nothing
 * in an archive is larger than the archive. Source: PKWARE's APPNOTE, sections 4.3 and 4.5.3.
 */

/** A file of an archive. */
interface Member {
  /** Where its local header begins in the directory's entry; where its bytes begin once it is found. */
  readonly at: number;
  readonly bytes: number;
}

export interface Archive {
  readonly members: ReadonlyMap<string, Member>;
  /** Where the directory begins, and with it the end of the last member. */
  readonly end: number;
}

/** Bytes of the longest directory; that of a model with 10,000 tensors has one. */
const DIRECTORY_LIMIT = 16 * 1024 * 1024;
const TAIL = 22 + 65_535;
const MAX_32 = 0xffff_ffff;

type Bytes = Uint8Array<ArrayBuffer>;

const viewOf = (bytes: Bytes): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Returns 64 bits as a number; what no file can hold comes back as infinity, which fails every check of a size. */
function wide(view: DataView, at: number): number {
  const value = Number(view.getBigUint64(at, true));
  return Number.isSafeInteger(value) ? value : Number.POSITIVE_INFINITY;
}

/** Finds the directory: [offset, bytes]. */
async function findDirectory(file: FileHandle, path: string, size: number): Promise<readonly [number, number]> {
  const from = Math.max(0, size - TAIL);
  const tail = viewOf(await readExactly(file, path, from, size - from));
  let at = tail.byteLength - 22;
  while (
    at >= 0 &&
    !(tail.getUint32(at, true) === 0x06054b50 && at + 22 + tail.getUint16(at + 20, true) === tail.byteLength)
  )
    at--;
  if (at < 0) throw refusePickle(path, 'a zip archive or older file of torch.save', 'a file that is neither');
  const place = [tail.getUint32(at + 16, true), tail.getUint32(at + 12, true)] as const;
  if (!place.includes(MAX_32)) return place;
  // The 64-bit end record: a locator stands before the 32-bit one.
  if (at < 20 || tail.getUint32(at - 20, true) !== 0x07064b50)
    throw refusePickle(path, 'a 64-bit directory', 'no locator of one');
  const record = wide(tail, at - 12);
  if (record + 56 > size) throw refusePickle(path, 'a 64-bit directory', `one at ${record} in a file of ${size} bytes`);
  const end = viewOf(await readExactly(file, path, record, 56));
  if (end.getUint32(0, true) !== 0x06064b50) throw refusePickle(path, 'a 64-bit directory', 'other bytes');
  return [wide(end, 48), wide(end, 40)];
}

/** Returns size and offset from the 64-bit field of an entry, for those that do not fit 32 bits. */
function wideFields(extra: DataView, bytes: number, at: number): Member {
  for (let i = 0; i + 4 <= extra.byteLength; i += 4 + extra.getUint16(i + 2, true)) {
    if (extra.getUint16(i, true) !== 1) continue;
    let next = i + 4;
    const take = (value: number): number => {
      if (value !== MAX_32) return value;
      next += 8;
      return next <= extra.byteLength ? wide(extra, next - 8) : Number.POSITIVE_INFINITY;
    };
    // Uncompressed size, compressed size, offset; the first two are equal.
    const whole = take(bytes);
    if (bytes === MAX_32) take(bytes);
    return { bytes: whole, at: take(at) };
  }
  return { bytes, at };
}

/** Reads an entry of the directory. */
function readEntry(path: string, view: DataView, at: number): { name: string; member: Member; next: number } {
  const fits = at + 46 <= view.byteLength && view.getUint32(at, true) === 0x02014b50;
  if (!fits) throw refusePickle(path, 'an entry of a zip directory', `other bytes at ${at} of it`);
  const [nameBytes, extraBytes, comment] = [28, 30, 32].map((field) => view.getUint16(at + field, true)) as [
    number,
    number,
    number,
  ];
  const next = at + 46 + nameBytes + extraBytes + comment;
  if (next > view.byteLength) throw refusePickle(path, 'an entry of a zip directory', 'one that is cut');
  const name = new TextDecoder().decode(new Uint8Array(view.buffer, view.byteOffset + at + 46, nameBytes));
  const stored = view.getUint16(at + 10, true) === 0 && (view.getUint16(at + 8, true) & 1) === 0;
  const bytes = view.getUint32(at + 24, true);
  if (!stored || bytes !== view.getUint32(at + 20, true))
    throw refusePickle(path, 'files that are stored, not compressed or encrypted, as torch.save writes them', name);
  const extra = new DataView(view.buffer, view.byteOffset + at + 46 + nameBytes, extraBytes);
  return { name, member: wideFields(extra, bytes, view.getUint32(at + 42, true)), next };
}

/** Reads the directory of an archive. @throws WinnowError `invalid_graph` for what is no archive of stored files. */
export async function readArchive(file: FileHandle, path: string): Promise<Archive> {
  const { size } = await file.stat();
  const [end, bytes] = await findDirectory(file, path, size);
  if (bytes > DIRECTORY_LIMIT || end + bytes > size)
    throw refusePickle(path, 'a zip directory', `one of ${bytes} bytes at ${end} in a file of ${size}`);
  const view = viewOf(await readExactly(file, path, end, bytes));
  const members = new Map<string, Member>();
  for (let at = 0; at < bytes; ) {
    const { name, member, next } = readEntry(path, view, at);
    if (members.has(name)) throw refusePickle(path, 'each file once', `${name} twice`);
    if (member.at + 30 + member.bytes > end)
      throw refusePickle(`${path}: ${name}`, 'a file within the archive', `${member.bytes} bytes`);
    members.set(name, member);
    at = next;
  }
  return { members, end };
}

/** Finds the bytes of a file of an archive. @throws WinnowError `invalid_graph` where it is missing or not where the directory says. */
export async function findMember(file: FileHandle, path: string, archive: Archive, name: string): Promise<Member> {
  const member = archive.members.get(name);
  if (!member) throw refusePickle(path, `a file ${name}`, `${archive.members.size} files without it`);
  const header = viewOf(await readExactly(file, path, member.at, 30));
  const start = member.at + 30 + header.getUint16(26, true) + header.getUint16(28, true);
  if (header.getUint32(0, true) !== 0x04034b50 || start + member.bytes > archive.end)
    throw refusePickle(`${path}: ${name}`, 'a stored file where the directory says', 'other bytes');
  return { at: start, bytes: member.bytes };
}

/** Reads a file of an archive. @throws WinnowError `invalid_graph` as `findMember`. */
export async function readMember(file: FileHandle, path: string, archive: Archive, name: string): Promise<Bytes> {
  const { at, bytes } = await findMember(file, path, archive, name);
  return readExactly(file, path, at, bytes);
}
