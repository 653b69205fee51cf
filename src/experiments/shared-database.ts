import { DEFAULT_DATABASE } from './experiment-options.ts';
import { isPostgres } from './store/store.ts';

/**
 * Returns why experiments break where several processes serve the same requests, or undefined where they do not: each process would keep
 * its own SQLite file, with its own part of exposures and outcomes, definitions of its own, and another key of unit hashes.
 * @param database SQLite file or `postgres://` URL; the default file if absent or empty.
 */
export function unsharedDatabase(database: string | undefined, replicas: number): string | undefined {
  const target = database || DEFAULT_DATABASE;
  if (replicas <= 1 || isPostgres(target)) return undefined;
  return `expected experiments.database to be a postgres:// URL, which ${replicas} replicas (server.replicas) can share, got the SQLite file ${target}: each replica would have its own exposures, outcomes and definitions, and reports would show one part of them`;
}
