import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import type { Config } from '../config/config-schema.ts';
import { WinnowError } from '../errors.ts';
import { checkDatabase } from '../experiments/check-database.ts';
import { checkDefinitionFile } from '../experiments/definitions/definition-file.ts';
import { loadKeys } from '../http/keys.ts';
import { checkPassageFile } from '../passages/passage-file.ts';
import { CASCADES_FILE, unreadableReleases } from '../registry/labels.ts';
import { boundTo } from './bound-to.ts';
import { readFolderCascades } from './folder-cascades.ts';

/** Binds the address for a moment. @throws the system's error where it is not free. */
async function checkAddress(host: string, port: number): Promise<void> {
  const server = createServer();
  server.listen({ port, ...boundTo(host) });
  await once(server, 'listening');
  server.close();
  await once(server, 'close');
}

/** Checks the files that say which versions of models are released. @throws WinnowError `invalid_config` naming each that cannot be read. */
async function checkReleases({ folder }: Config['registry']): Promise<void> {
  const found = await unreadableReleases(folder);
  if (found.length === 0) return;
  const faults = found.map(
    ({ path, reason }) => `  - ${path}: ${reason}; correct or remove it, for without it other versions would serve`,
  );
  throw new WinnowError('invalid_config', { count: found.length, faults: faults.join('\n') });
}

/**
 * Checks the file of experiments and the database that they need.
 * @throws WinnowError `invalid_config` where the file is there and cannot be used; `invalid_input` for the database.
 */
async function checkExperiments({ file, database, unitSecret }: Config['experiments']): Promise<void> {
  const defined = file === undefined ? 0 : await checkFile(file);
  await checkDatabase({ database: database.reveal(), unitSecret: unitSecret.reveal(), isNeeded: defined > 0 });
}

/** Returns how many experiments a file defines. */
function checkFile(file: string): Promise<number> {
  return checkDefinitionFile(file).catch((error: Error) => {
    const faults = `  - ${file}: ${error.message}; correct it, for without it requests would get other models`;
    throw new WinnowError('invalid_config', { count: 1, faults });
  });
}

/** Formats a failed check; the faults of a settings file stay one line each. */
function faultLines(where: string, error: unknown): string[] {
  if (error instanceof WinnowError && error.code === 'invalid_config') return String(error.params.faults).split('\n');
  const { message } = error as Error;
  // Such an error names its place itself.
  return [
    error instanceof WinnowError && error.code === 'invalid_input' ? `  - ${message}` : `  - ${where}: ${message}`,
  ];
}

/**
 * Checks what the settings point to before anything is started.
 * @throws WinnowError `invalid_config` naming every fault at once.
 */
export async function checkStart(config: Config): Promise<void> {
  const { keysFile } = config.auth;
  const { passageFile } = config.cache;
  const { host, port, adminPort } = config.server;
  const checks: readonly (readonly [string, () => unknown])[] = [
    [`${host}:${port}`, () => checkAddress(host, port)],
    [`${host}:${adminPort}`, () => adminPort !== undefined && checkAddress(host, adminPort)],
    ['auth.keysFile', () => keysFile !== undefined && loadKeys(keysFile)],
    ['registry.folder', () => checkReleases(config.registry)],
    [join(config.registry.folder, CASCADES_FILE), () => readFolderCascades(config.registry.folder)],
    ['experiments', () => checkExperiments(config.experiments)],
    ['cache.passageFile', () => passageFile !== undefined && checkPassageFile(passageFile)],
  ];
  const results = await Promise.allSettled(checks.map(async ([, check]) => check()));
  const faults = results.flatMap((result, i) =>
    result.status === 'rejected' ? faultLines(checks[i]![0], result.reason) : [],
  );
  if (faults.length > 0) throw new WinnowError('invalid_config', { count: faults.length, faults: faults.join('\n') });
}
