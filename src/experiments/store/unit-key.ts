import { randomBytes, randomUUID } from 'node:crypto';
import { link, open, readFile, rename, rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { SqlConnection } from './sql.ts';
import { MEMORY } from './sqlite.ts';

/** 256 random bits as text. */
const freshKey = () => randomBytes(32).toString('hex');

async function keyInTable(db: SqlConnection): Promise<string | undefined> {
  const [row] = await db.lookup({ sql: "SELECT value FROM winnow_secrets WHERE name = 'unit'", values: [] });
  return row === undefined ? undefined : String(row.value);
}

/** Returns the key of the table. The first server to ask makes it; others, such as replicas on PostgreSQL, read the same. */
async function sharedKey(db: SqlConnection): Promise<string> {
  await db.transaction([
    {
      sql: "INSERT INTO winnow_secrets (name, value) VALUES ('unit', ?) ON CONFLICT DO NOTHING",
      values: [freshKey()],
    },
  ]);
  return (await keyInTable(db))!;
}

async function readKey(file: string): Promise<string | undefined> {
  try {
    const key = (await readFile(file, 'utf8')).trim();
    if (key !== '') return key;
    throw new Error(`${file}: expected the key of the unit hashes, got an empty file`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Writes the file for its owner only, unless it is there already. It appears complete and on disk. */
async function writeKey(file: string, key: string): Promise<void> {
  const temporary = `${file}.${randomUUID()}.tmp`;
  try {
    const handle = await open(temporary, 'wx', 0o600);
    try {
      await handle.writeFile(`${key}\n`);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await link(temporary, file).catch(async (error: NodeJS.ErrnoException) => {
      // Some file systems have no hard links.
      if (error.code !== 'EEXIST') await rename(temporary, file);
    });
  } finally {
    await rm(temporary, { force: true });
  }
}

/** Returns the key of a SQLite file, which is in a file beside it. A key that is in the database, as it was once, is moved there. */
async function keyInFile(db: SqlConnection, file: string): Promise<string> {
  const stored = await keyInTable(db);
  if ((await readKey(file)) === undefined) await writeKey(file, stored ?? freshKey());
  const key = (await readKey(file))!;
  if (stored === undefined) return key;
  if (stored !== key)
    throw new Error(
      `${file}: expected the key that the database has in winnow_secrets, got another; remove one of them`,
    );
  // Without it the key would stay readable in free pages of the file.
  await db.transaction([
    { sql: 'PRAGMA secure_delete = ON', values: [] },
    { sql: "DELETE FROM winnow_secrets WHERE name = 'unit'", values: [] },
  ]);
  await db.lookup({ sql: 'PRAGMA wal_checkpoint(TRUNCATE)', values: [] });
  return key;
}

/** Returns the key of unit hashes and passage digests; makes one at random where there is none. */
export function unitKey(db: SqlConnection, target: string): Promise<string> {
  return db.kind === 'postgres' || target === MEMORY ? sharedKey(db) : keyInFile(db, `${resolve(target)}.key`);
}
