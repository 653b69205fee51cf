import { closeSync, openSync, readSync } from 'node:fs';

/** What stands in a SQLite file's header for files of this kind: `WnPs`. */
export const APPLICATION_ID = 0x576e_5073;

const MAGIC = Buffer.from('SQLite format 3\0', 'latin1');
/** Where the header has the application's number. */
const ID_AT = 68;
const HEADER_BYTES = 100;

/**
 * What stands at the path of a passage file. `damaged`: one with a broken header, or zeros, as a power cut may leave them; `foreign`: a file
 * that something else made.
 */
type FileState = 'absent' | 'empty' | 'own' | 'damaged' | 'foreign';

/** Returns what a file is by its first bytes. @throws the file system's error where it cannot be read. */
export function fileState(path: string): FileState {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 'absent';
    throw error;
  }
  try {
    const header = Buffer.alloc(HEADER_BYTES);
    const length = readSync(file, header, 0, HEADER_BYTES, 0);
    if (length === 0) return 'empty';
    const hasMagic = header.subarray(0, MAGIC.length).equals(MAGIC);
    const hasId = header.readUInt32BE(ID_AT) === APPLICATION_ID;
    if (hasMagic && hasId && length === HEADER_BYTES) return 'own';
    const isCutShort =
      length < HEADER_BYTES && header.subarray(0, Math.min(length, MAGIC.length)).equals(MAGIC.subarray(0, length));
    return hasId || isCutShort || header.every((byte) => byte === 0) ? 'damaged' : 'foreign';
  } finally {
    closeSync(file);
  }
}
