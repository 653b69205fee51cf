import { KeyFile } from '../http/key-file.ts';
import { type ApiKey, separatesOutcomes } from '../http/keys.ts';
import type { Metrics } from '../telemetry/instruments.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { ReadResult } from '../util/watched-file.ts';

/** The API keys of a server. */
export interface Keys {
  /** Those in effect now; none where no file is configured. */
  readonly current: () => readonly ApiKey[];
  /** Reads the file now. Never rejects. */
  reload(): Promise<ReadResult>;
  close(): void;
}

/** Warns of what is allowed without keys, or by a file of keys from before scope `outcomes`. */
function warnOfAccess(keys: readonly ApiKey[], logger: Pick<Logger, 'warn'>): void {
  if (keys.length === 0)
    logger.warn(
      { setting: 'auth.keysFile' },
      'no keys: every client may score and send outcomes; admin routes answer this machine only',
    );
  else if (!separatesOutcomes(keys))
    logger.warn(
      { setting: 'auth.keysFile' },
      'no key has scope outcomes: every key with scope rerank may send outcomes; give the scope to one key to end this',
    );
}

/**
 * Reads the file of keys and watches it: changes are logged by name and counted, and so is a file that cannot be used.
 * @throws WinnowError `invalid_config`.
 */
export async function openKeys(
  path: string | undefined,
  { logger, metrics }: { readonly logger: Logger; readonly metrics: Metrics },
): Promise<Keys> {
  if (path === undefined) {
    warnOfAccess([], logger);
    return { current: () => [], reload: async () => 'unchanged', close: () => {} };
  }
  const file = new KeyFile({
    path,
    onChange(change) {
      metrics.reloads.inc({ what: 'keys', result: 'applied' });
      logger.info({ file: path, ...change }, 'keys in effect changed');
      warnOfAccess(file.keys, logger);
    },
    onProblem(reason) {
      metrics.reloads.inc({ what: 'keys', result: 'failed' });
      logger.error({ file: path, reason }, 'keys not read: those in effect stay');
    },
  });
  warnOfAccess(file.keys, logger);
  await file.watch();
  return { current: () => file.keys, reload: () => file.read(), close: () => file.close() };
}
