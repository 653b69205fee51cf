import { once } from 'node:events';
import { createServer } from 'node:net';
import type { Config } from '../config/config.ts';
import { WinnowError } from '../errors.ts';
import { loadKeys } from '../http/keys.ts';

/** Whether the address is free, by taking it for a moment. */
async function checkAddress({ host, port }: Config['server']): Promise<void> {
  const server = createServer();
  server.listen(port, host);
  await once(server, 'listening');
  server.close();
  await once(server, 'close');
}

function told(where: string, error: unknown): string[] {
  if (error instanceof WinnowError && error.code === 'invalid_config') return String(error.params.faults).split('\n');
  return [`  - ${where}: ${(error as Error).message}`];
}

/**
 * Looks at what the settings point to before anything is started.
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
    result.status === 'rejected' ? told(checks[i]![0], result.reason) : [],
  );
  if (faults.length > 0) throw new WinnowError('invalid_config', { count: faults.length, faults: faults.join('\n') });
}
