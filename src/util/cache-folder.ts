import { homedir } from 'node:os';
import { join } from 'node:path';

/** Returns the folder for what can be made again, by the XDG base directory specification. */
export const cacheFolder = (env: Readonly<Record<string, string | undefined>>): string =>
  join(env.XDG_CACHE_HOME || join(env.HOME || homedir(), '.cache'), 'winnow');
