import { existsSync } from 'node:fs';
import { WinnowError } from '../errors.ts';
import { DEFAULT_DATABASE } from './experiment-options.ts';
import { checkTarget, isPostgres, openStore } from './store/store.ts';

/** SQLite's result codes for a file that another process uses (sqlite.org/rescode.html): it will be free again. */
const IN_USE = new Set([5, 6]);

interface DatabaseSettings {
  /** A SQLite file or a `postgres://` URL; empty: DEFAULT_DATABASE. */
  readonly database: string;
  /** Key of unit hashes; empty: the one that is kept with the database. */
  readonly unitSecret: string;
  /** Whether an experiment is defined. */
  readonly isNeeded: boolean;
}

/**
 * Checks before a start that the database of experiments can be used: a SQLite file is opened and its key is read, a PostgreSQL URL is parsed.
 * A server that cannot be reached is no fault, because it may come later. A default file that is neither there nor needed is not made.
 * @throws WinnowError `invalid_input`.
 */
export async function checkDatabase({ database, unitSecret, isNeeded }: DatabaseSettings): Promise<void> {
  const target = database || DEFAULT_DATABASE;
  await checkTarget(target);
  if (isPostgres(target) || !(database || isNeeded || existsSync(target))) return;
  try {
    const store = await openStore(target, { readApart: false });
    try {
      if (!unitSecret) await store.secret();
    } finally {
      await store.close();
    }
  } catch (error) {
    const { message, errcode } = error as Error & { readonly errcode?: number };
    if (errcode !== undefined && IN_USE.has(errcode & 0xff)) return;
    const expected = `a SQLite file that can be opened and written at ${target}`;
    throw new WinnowError('invalid_input', { where: 'experiments.database', expected, got: message }, { cause: error });
  }
}
