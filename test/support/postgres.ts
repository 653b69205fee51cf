import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const ROOT = '/usr/lib/postgresql';

/** Folder of the newest server programs, or undefined where Debian's `postgresql` is not installed. */
export function postgresPrograms(): string | undefined {
  if (!existsSync(ROOT)) return undefined;
  return readdirSync(ROOT)
    .sort((a, b) => Number(b) - Number(a))
    .map((version) => join(ROOT, version, 'bin'))
    .find((bin) => existsSync(join(bin, 'initdb')));
}

export interface PostgresServer {
  readonly url: string;
  stop(): Promise<void>;
}

/** Starts a server on a socket in a temporary folder. Its programs refuse to run as root, so root runs them as `postgres`. */
export async function startPostgres(bin: string): Promise<PostgresServer> {
  const folder = mkdtempSync(join(tmpdir(), 'winnow-pg-'));
  const data = join(folder, 'data');
  const root = process.getuid?.() === 0;
  const uid = root ? Number(execFileSync('id', ['-u', 'postgres'], { encoding: 'utf8' })) : undefined;
  const gid = root ? Number(execFileSync('id', ['-g', 'postgres'], { encoding: 'utf8' })) : undefined;
  if (uid !== undefined && gid !== undefined) chownSync(folder, uid, gid);
  const who = { ...(uid === undefined ? {} : { uid }), ...(gid === undefined ? {} : { gid }), cwd: folder };
  execFileSync(join(bin, 'initdb'), ['-D', data, '-A', 'trust', '-U', 'winnow', '--no-sync'], {
    ...who,
    stdio: 'ignore',
  });
  const server = spawn(join(bin, 'postgres'), ['-D', data, '-k', folder, '-c', 'listen_addresses='], {
    ...who,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  await new Promise<void>((resolve, reject) => {
    server.stderr.on('data', (text: Buffer) => text.includes('ready to accept connections') && resolve());
    server.once('exit', (code) => reject(new Error(`postgres ended with ${code}`)));
  });
  return {
    url: `postgres://winnow@/postgres?host=${encodeURIComponent(folder)}`,
    async stop() {
      const exited = once(server, 'exit');
      server.kill('SIGINT');
      await exited;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
