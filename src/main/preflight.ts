import { once } from 'node:events';
import { createServer } from 'node:net';
import type { Config } from '../config/config-schema.ts';
import { WinnowError } from '../errors.ts';
import { loadKeys } from '../http/keys.ts';

/** Binds the address for a moment. @throws the system's error where it is not free. */
async function checkAddress({ host, port }: Config['server']): Promise<void> {
  const server = createServer();
  server.listen(port, host);
  await once(server, 'listening');
  server.close();
  await once(server, 'close');
}

/** Formats a failed check; the faults of a settings file stay one line each. */
function faultLines(where: string, error: unknown): string[] {
  if (error instanceof WinnowError && error.code === 'invalid_config') return String(error.params.faults).split('\n');
  return [`  - ${where}: ${(error as Error).message}`];
}

/**
 * Checks what the settings point to before anything is started.
 * @throws WinnowError `invalid_config` naming every fault at once.
 */
export async function checkStart(config: Config): Promise<void> {
  const { keysFile } = config.auth;
  const checks: readonly (readonly [string, () => unknown])[] = [
    [`${config.server.host}:${config.server.port}`, () => checkAddress(config.server)],
    ['auth.keysFile', () => keysFile !== undefined && loadKeys(keysFile)],
  ];
  const results = await Promise.allSettled(checks.map(async ([, check]) => check()));
  const faults = results.flatMap((result, i) =>
    result.status === 'rejected' ? faultLines(checks[i]![0], result.reason) : [],
  );
  if (faults.length > 0) throw new WinnowError('invalid_config', { count: faults.length, faults: faults.join('\n') });
}
