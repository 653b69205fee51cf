import { homedir } from 'node:os';
import { join } from 'node:path';

/**
 * Returns a program's folder for what can be made again, by the XDG base directory specification.
 * @param program Default: Winnow.
 */
export const cacheFolder = (env: Readonly<Record<string, string | undefined>>, program = 'winnow'): string =>
  join(env.XDG_CACHE_HOME || join(env.HOME || homedir(), '.cache'), program);
