import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

interface Profile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  }[];
  /** Microseconds of the system's monotonic clock. */
  readonly startTime: number;
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

/** Milliseconds of processor time by key. */
export interface Shares {
  readonly folders: ReadonlyMap<string, number>;
  readonly functions: ReadonlyMap<string, number>;
}

const add = (to: Map<string, number>, key: string, ms: number) => to.set(key, (to.get(key) ?? 0) + ms);

/** Returns the folder of `src/`, the package, or `node` that a script belongs to. */
function placeOf(url: string, name: string): string {
  if (name.startsWith('(')) return name;
  const own = /\/src\/(.+)\/[^/]+$/.exec(url) ?? /\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(url);
  return own?.[1] ?? (url.startsWith('node:') ? url.split('/').slice(0, 2).join('/') : 'native');
}

/** A period of the system's monotonic clock, in microseconds. */
export interface Period {
  readonly from: number;
  readonly to: number;
}

/**
 * Reads what the event loop did in some periods from the profile that Node wrote to a folder (`--cpu-prof`). Other threads write theirs beside
 * it. @throws Error without one.
 */
export function readProfile(folder: string, periods: readonly Period[]): Shares {
  const profiles = readdirSync(folder)
    .filter((name) => name.endsWith('.cpuprofile'))
    .map((name) => JSON.parse(readFileSync(join(folder, name), 'utf8')) as Profile)
    .filter(({ nodes }) => nodes.some(({ callFrame }) => callFrame.url.includes('/src/main/')));
  const [profile] = profiles.toSorted((a, b) => b.samples.length - a.samples.length);
  if (!profile) throw new Error(`expected a profile of the server in ${folder}, got none`);
  const frames = new Map(profile.nodes.map(({ id, callFrame }) => [id, callFrame]));
  const [folders, functions] = [new Map<string, number>(), new Map<string, number>()];
  let at = profile.startTime;
  profile.samples.forEach((id, i) => {
    at += profile.timeDeltas[i] ?? 0;
    if (!periods.some(({ from, to }) => at >= from && at <= to)) return;
    const { functionName, url, lineNumber } = frames.get(id)!;
    if (functionName === '(idle)' || functionName === '(program)') return;
    const ms = (profile.timeDeltas[i] ?? 0) / 1000;
    add(folders, placeOf(url, functionName), ms);
    add(functions, `${functionName || '(anonymous)'} ${url.split('/').at(-1)}:${lineNumber + 1}`, ms);
  });
  return { folders, functions };
}
