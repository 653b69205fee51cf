import { randomBytes } from 'node:crypto';
import { closeSync, linkSync, mkdirSync, openSync, renameSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { APPLICATION_ID } from './header.ts';

/** Changes with the layout of the tables; a file of another layout is set aside. */
export const LAYOUT = 1;

const SCHEMA = `
CREATE TABLE spaces (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE passages (
  id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, space INTEGER NOT NULL, tokens INTEGER NOT NULL, sum INTEGER NOT NULL,
  value BLOB NOT NULL
) STRICT;`;

/** The files that SQLite keeps beside its own. */
export const BESIDE = ['-wal', '-shm', '-journal'] as const;

/** Returns the path of the log of a file. */
export const logOf = (path: string): string => `${path}-wal`;

const removeBeside = (path: string) => {
  for (const suffix of BESIDE) rmSync(path + suffix, { force: true });
};

/** Makes an empty file beside its place and moves it there, unless another process was quicker: a file has its whole header from the start. */
export function create(path: string): void {
  // The log of a file that is gone must not be replayed into the new one.
  removeBeside(path);
  const folder = dirname(path);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  // What a kill leaves is removed by the sweep of a later process.
  const temporary = join(folder, `.${basename(path)}.${process.pid}.${randomBytes(4).toString('hex')}.tmp`);
  closeSync(openSync(temporary, 'wx', 0o600));
  const database = new DatabaseSync(temporary);
  try {
    database.exec(`PRAGMA synchronous = OFF; PRAGMA page_size = 16384; PRAGMA auto_vacuum = INCREMENTAL;
      PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${LAYOUT}; ${SCHEMA}`);
  } finally {
    database.close();
  }
  try {
    linkSync(temporary, path);
    rmSync(temporary);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') rmSync(temporary);
    else renameSync(temporary, path);
  }
}

/** Returns where a damaged file is moved. */
export const asideOf = (path: string): string => `${path}.damaged`;

/** Moves a damaged file out of the way. @returns its new path, where an older damaged file is replaced. */
export function setAside(path: string): string {
  const to = asideOf(path);
  renameSync(path, to);
  removeBeside(path);
  return to;
}

/**
 * Opens a file of this kind for this process alone.
 * @param waitMs how long another process may still have it open.
 * @throws SQLite's error.
 */
export function open(path: string, waitMs: number): DatabaseSync {
  const database = new DatabaseSync(path, { timeout: waitMs });
  try {
    // In WAL mode a killed process loses nothing that was committed; a power cut may lose the last transactions.
    database.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA cell_size_check = ON; PRAGMA trusted_schema = OFF');
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA secure_delete = FAST');
    // Takes the lock, which the system gives back however the process ends.
    database.exec('BEGIN IMMEDIATE; COMMIT');
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

export const identityOf = (path: string): string => {
  const { dev, ino } = statSync(path, { throwIfNoEntry: false }) ?? {};
  return `${dev} ${ino}`;
};
