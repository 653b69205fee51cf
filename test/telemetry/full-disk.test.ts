import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';

it.skipIf(!existsSync('/dev/full'))(
  'a log that cannot be written, as on a full disk, does not end the process',
  async () => {
    const script = `
    import { createLogger } from '${join(import.meta.dirname, '../../src/telemetry/logger.ts')}';
    const logger = createLogger('info');
    for (let i = 0; i < 5; i++) logger.info('line');
    setTimeout(() => { logger.info('later'); process.exit(7); }, 100);`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', openSync('/dev/full', 'w'), 'inherit'],
      timeout: 30_000,
      killSignal: 'SIGKILL',
    });
    expect((await once(child, 'exit'))[0]).toBe(7);
  },
);
