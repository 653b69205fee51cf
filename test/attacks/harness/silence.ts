import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text as readText } from 'node:stream/consumers';

/** What a command did in a network, a home folder and a folder of temporary files of its own. */
export interface Traces {
  /** Names it looked up. */
  readonly names: readonly string[];
  /** Files and folders it left. */
  readonly files: readonly string[];
  readonly code: number | null;
  readonly signal: string | null;
  readonly output: string;
}

const OWN_SPACES = process.getuid?.() === 0 ? ['--net', '--mount'] : ['--user', '--map-root-user', '--net', '--mount'];

/** Brings loopback up and replaces the list of name servers by `$0`. */
const ENTER = 'ip link set lo up && mount --bind "$0" /etc/resolv.conf && exec "$@"';

const withSpaces = (resolvConf: string, command: readonly string[]): string[] => [
  ...OWN_SPACES,
  '/bin/sh',
  '-c',
  ENTER,
  resolvConf,
  ...command,
];

/** Says why no namespaces can be made here; undefined where they can. */
export function noSilence(): string | undefined {
  const { status, error, stderr } = spawnSync('unshare', withSpaces('/etc/hosts', ['true']), { encoding: 'utf8' });
  return status === 0 ? undefined : `no network and mount namespace can be made: ${error?.message ?? stderr.trim()}`;
}

/** Node's cache of compiled modules, which `bin/winnow.mjs` turns on: the one thing that is kept between runs. */
const COMPILE_CACHE = 'tmp/node-compile-cache';

function filesIn(own: string): string[] {
  const all = readdirSync(own, { recursive: true, encoding: 'utf8' });
  return all.filter((name) => name.includes('/') && !name.startsWith(COMPILE_CACHE)).toSorted();
}

/** Runs a command for some seconds, without `CI` and other variables, and returns what it asked for and left behind. */
export async function tracesOf(folder: string, seconds: number, command: readonly string[]): Promise<Traces> {
  const own = join(folder, 'own');
  for (const name of ['home', 'tmp', 'work']) mkdirSync(join(own, name), { recursive: true });
  const resolvConf = join(folder, 'resolv.conf');
  writeFileSync(resolvConf, 'nameserver 127.0.0.1\noptions timeout:1 attempts:1\n');
  const listener = [process.execPath, join(import.meta.dirname, 'listen-for-names.ts'), String(seconds)];
  const child = spawn('unshare', withSpaces(resolvConf, [...listener, ...command]), {
    cwd: join(own, 'work'),
    env: { PATH: process.env.PATH, HOME: join(own, 'home'), TMPDIR: join(own, 'tmp') },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: (seconds + 60) * 1000,
    killSignal: 'SIGKILL',
  });
  const [said, errors] = await Promise.all([readText(child.stdout), readText(child.stderr)]);
  const line = said.trim();
  if (line === '') throw new Error(`expected a report of names, got none: ${errors}`);
  return { ...JSON.parse(line), files: filesIn(own) };
}
