import { extname } from 'node:path';

/**
 * Returns the URL of a module that a worker thread or a child process starts from. `name` is its path without an extension, relative to
 * `base` (an `import.meta.url`). The extension is that of `base`: `.ts` when run from source, `.js` when built.
 */
export function workerEntry(name: string, base: string): URL {
  return new URL(`${name}${extname(base)}`, base);
}
