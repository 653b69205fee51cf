import { PassageDisk } from '../passages/passage-disk.ts';
import { openPassageFile, type PassageFileEvent } from '../passages/passage-file.ts';
import type { Metrics } from '../telemetry/instruments.ts';
import type { Logger } from '../telemetry/logger.ts';

interface DiskDeps {
  readonly metrics: Metrics;
  readonly logger: Pick<Logger, 'info' | 'warn' | 'error'>;
}

/** Writes what happens to the file into the log. */
function logEvent(event: PassageFileEvent, path: string, { logger }: DiskDeps): void {
  const { kind, ...more } = event;
  const fields = { path, ...more };
  if (kind === 'failed') logger.error(fields, 'passage file: not written; passages are kept in memory only');
  if (kind === 'recovered') logger.info(fields, 'passage file: written again');
  if (kind === 'set-aside') logger.error(fields, 'passage file: damaged, moved aside; a new one is used');
  if (kind === 'damaged') logger.warn(fields, 'passage file: damaged entries were dropped; they are computed anew');
}

/** Reads the state of the file at each scrape. */
function watchDisk(metrics: Metrics, disk: PassageDisk): void {
  let [unwritten, damaged] = [0, 0];
  metrics.onScrape(() => {
    const now = disk.stats();
    metrics.passageFileEntries.set(now.entries);
    metrics.passageFileBytes.set(now.bytes);
    metrics.passageFileLost.inc({ reason: 'unwritten' }, now.unwritten - unwritten);
    metrics.passageFileLost.inc({ reason: 'damaged' }, now.damaged - damaged);
    ({ unwritten, damaged } = now);
  });
}

/**
 * Opens the file of kept passages.
 * @param limitBytes of all values together.
 * @throws WinnowError `in_use`, `invalid_input`.
 */
export async function openPassageDisk(path: string, limitBytes: number, deps: DiskDeps): Promise<PassageDisk> {
  const onEvent = (event: PassageFileEvent) => logEvent(event, path, deps);
  const disk = new PassageDisk(await openPassageFile({ path, limitBytes, onEvent }));
  watchDisk(deps.metrics, disk);
  return disk;
}
