import type { Config } from '../config/config-schema.ts';
import type { Metrics } from '../telemetry/instruments.ts';
import type { Logger } from '../telemetry/logger.ts';
import { Mutex } from '../util/mutex.ts';
import type { ReadResult } from '../util/watched-file.ts';

/** The setting that takes effect without a restart. */
const LOG_LEVEL = 'telemetry.logLevel';

/** Returns the settings that differ, as `section.key`. */
function changedSettings(before: Config, after: Config): string[] {
  const flat = (config: Config) =>
    Object.entries(config).flatMap(([section, values]) =>
      Object.entries(values).map(([key, value]) => [`${section}.${key}`, JSON.stringify(value)] as const),
    );
  const old = new Map(flat(before));
  return flat(after).flatMap(([path, value]) => (old.get(path) === value ? [] : [path]));
}

interface ReloadParts {
  readonly logger: Logger;
  readonly metrics: Pick<Metrics, 'reloads'>;
  /** The settings that the server was started with. */
  readonly config: Config;
  /** Reads flags, variables and file again. @throws WinnowError `invalid_config`. Absent: settings stay. */
  readonly reread?: (() => Config) | undefined;
  /** Reads a file again. Neither rejects. */
  readonly keys: () => Promise<ReadResult>;
  readonly experiments: () => Promise<ReadResult>;
}

/** Applies the log level, and warns of every other setting that differs: it needs a restart. */
function reloadSettings({ logger, metrics, config, reread }: ReloadParts): ReadResult {
  if (!reread) return 'unchanged';
  try {
    const after = reread();
    const needRestart = changedSettings(config, after).filter((path) => path !== LOG_LEVEL);
    if (needRestart.length > 0) logger.warn({ settings: needRestart }, 'changed settings need a restart');
    const { logLevel } = after.telemetry;
    if (logger.level === logLevel) return 'unchanged';
    logger.level = logLevel;
    metrics.reloads.inc({ what: 'settings', result: 'applied' });
    return 'changed';
  } catch (error) {
    metrics.reloads.inc({ what: 'settings', result: 'failed' });
    logger.error({ reason: (error as Error).message }, 'settings not read: those in effect stay');
    return 'failed';
  }
}

/** Creates the reload of what may change while a server runs: log level, keys, experiments. One runs at a time; it never rejects. */
export function createReload(parts: ReloadParts): () => Promise<void> {
  const turns = new Mutex();
  return () =>
    turns.run(async () => {
      const settings = reloadSettings(parts);
      const [keys, experiments] = await Promise.all([parts.keys(), parts.experiments()]);
      const isWhole = [settings, keys, experiments].every((result) => result !== 'failed');
      parts.logger[isWhole ? 'info' : 'warn']({ settings, keys, experiments }, 'reloaded');
    });
}
