import { CommanderError } from 'commander';
import { type ErrorCode, WinnowError } from '../errors.ts';

/** What the exit code of a command says; docs/errors.md has the same table. */
export const EXIT_CODES = {
  0: 'the command did what it was asked to do',
  1: 'the command ran, and the answer is no (a check failed) or something failed on the way',
  2: 'flags, settings or input are wrong; correct what the message names and run the command again',
} as const;

export type ExitCode = keyof typeof EXIT_CODES;

/** Failures that correct flags, settings and input do not prevent. All other codes name something that the user can correct. */
const WHILE_RUNNING: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'training_diverged',
  'optimizer_failed',
  'in_use',
  'inference_failed',
  'host_lost',
  'no_host',
  'not_started',
  'tokenization_failed',
  'not_a_number',
  'model_not_ready',
  'overloaded',
  'too_many_bytes',
  'deadline_exceeded',
  'shutting_down',
  'client_closed',
  'store_unavailable',
  'internal',
]);

/** A path that cannot be used, as the file system reports it. */
const PATH_FAULTS: Readonly<Record<string, string>> = {
  ENOENT: 'none',
  ENOTDIR: 'a file where a folder should be',
  EISDIR: 'a folder where a file should be',
  EACCES: 'one that this user may not use',
  EPERM: 'one that this user may not use',
  EROFS: 'one on a file system that cannot be written',
};

/** Why bytes could not be written, as the file system reports it. */
const DISK_FAULTS: Readonly<Record<string, string>> = {
  ENOSPC: 'a full disk; free space and run the command again',
  EDQUOT: 'a quota that is used up; free space and run the command again',
  EFBIG: 'a limit on the size of files (ulimit -f); raise it and run the command again',
  EIO: 'a fault of the device; check the disk',
};

/** SQLite's result code for a full disk (sqlite.org/rescode.html). */
const SQLITE_FULL = 13;

function diskFault(error: unknown): string | undefined {
  const { code = '', path, errcode } = error as NodeJS.ErrnoException & { readonly errcode?: number };
  const found = DISK_FAULTS[errcode === SQLITE_FULL ? 'ENOSPC' : code];
  return found && `${path ?? 'output'}: expected to write to it, got ${found}`;
}

function pathFault(error: unknown): string | undefined {
  const { code = '', path } = error as NodeJS.ErrnoException;
  const found = PATH_FAULTS[code];
  return found === undefined || path === undefined ? undefined : `${path}: expected a file or folder, got ${found}`;
}

/** Returns the exit code of a command that ends with `error`. */
export function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof WinnowError) return WHILE_RUNNING.has(error.code) ? 1 : 2;
  return pathFault(error) === undefined ? 1 : 2;
}

/** Returns what to print of an error: its message, or the stack of one that is a fault of the program. Commander prints its own. */
export function failureMessage(error: unknown): string | undefined {
  if (error instanceof CommanderError) return undefined;
  return error instanceof WinnowError
    ? error.message
    : (diskFault(error) ?? pathFault(error) ?? (error as Error).stack);
}
