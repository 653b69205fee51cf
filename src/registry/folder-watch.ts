import { relative, sep } from 'node:path';
import { watch } from 'chokidar';
import { MANIFEST_FILE } from './manifest.ts';

export interface FolderWatch {
  /** Resolves when changes are noticed from then on. */
  readonly ready: Promise<void>;
  close(): Promise<void>;
}

interface WatchOptions {
  readonly onChange: () => void;
  readonly onProblem: (reason: string) => void;
  /** Milliseconds between calls of `onChange` without an event, because network file systems send none; 0: never. */
  readonly pollMs: number;
}

/** Whether a path inside the folder of a version (`model/version/…`) is other than its manifest, which `winnow calibrate` and `prune` rewrite. */
function isInVersion(folder: string, path: string): boolean {
  const parts = relative(folder, path).split(sep);
  return parts.length === 3 && parts[2] !== MANIFEST_FILE;
}

/**
 * Watches a registry folder: model folders, version folders and their `model.json`, `labels.json`. Names that start with a dot are unfinished and ignored, so a
 * folder counts from the rename that gives it its name.
 */
export function watchFolder(folder: string, options: WatchOptions): FolderWatch {
  const watcher = watch(folder, {
    depth: 2,
    ignoreInitial: true,
    followSymlinks: false,
    ignored: (path) => path !== folder && ((path.split('/').pop() ?? '').startsWith('.') || isInVersion(folder, path)),
  });
  watcher.on('all', options.onChange);
  watcher.on('error', (error) => options.onProblem((error as Error).message));
  const timer = options.pollMs > 0 ? setInterval(options.onChange, options.pollMs).unref() : undefined;
  return {
    ready: new Promise((resolve) => watcher.on('ready', () => resolve())),
    async close() {
      clearInterval(timer);
      await watcher.close();
    },
  };
}
