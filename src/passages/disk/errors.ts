/** Why a file cannot be used. */
export type FileFault =
  /** Another process has it open. */
  | 'locked'
  /** Something else made it. */
  | 'foreign'
  /** It is not what was written. */
  | 'damaged'
  /** It is not the file at its path any more. */
  | 'lost'
  /** It cannot be opened: no permission, no file. */
  | 'refused'
  /** The file system fails: no space, a broken disk. */
  | 'failed';

/** What a file is that something else made. */
export const FOREIGN = 'a file of another kind';

export class FileError extends Error {
  readonly fault: FileFault;

  constructor(fault: FileFault, message: string, options?: ErrorOptions) {
    super(message, options);
    this.fault = fault;
  }
}

/** What SQLite's primary result codes mean; every other one shows damage. */
const FAULTS: Readonly<Record<number, FileFault>> = {
  3: 'refused', // PERM
  5: 'locked', // BUSY
  7: 'failed', // NOMEM
  8: 'refused', // READONLY
  10: 'failed', // IOERR
  13: 'failed', // FULL
  14: 'refused', // CANTOPEN
};

/** What the file system answers for as long as space or disk are missing. */
const PASSING = ['ENOSPC', 'EDQUOT', 'EIO', 'EMFILE', 'ENFILE', 'EFBIG'];

/** Returns a failure of the file system or of SQLite with what it means for the file. */
export function fileError(error: unknown): FileError {
  if (error instanceof FileError) return error;
  const { message, code, errcode } = error as Error & { readonly code?: string; readonly errcode?: number };
  const options = { cause: error };
  if (code !== 'ERR_SQLITE_ERROR' || errcode === undefined)
    return new FileError(PASSING.includes(code ?? '') ? 'failed' : 'refused', message, options);
  return new FileError(FAULTS[errcode & 0xff] ?? 'damaged', message, options);
}

/** Does `work` and throws what fails as FileError. */
export function guarded<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw fileError(error);
  }
}
