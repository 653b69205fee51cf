import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { childrenOf } from './processes.ts';

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
  /** Ends the server as a crash would: no session hears a goodbye. */
  kill(): Promise<void>;
  /** Starts it again on the same data. */
  start(): Promise<void>;
  /** Stops or continues the processes of all sessions, and that which accepts new ones. */
  signal(signal: 'SIGSTOP' | 'SIGCONT'): void;
  stop(): Promise<void>;
}

interface Who {
  readonly uid?: number;
  readonly gid?: number;
  readonly cwd: string;
}

/** Its programs refuse to run as root, so root runs them as `postgres`. */
function ownerOf(folder: string): Who {
  if (process.getuid?.() !== 0) return { cwd: folder };
  const id = (flag: string) => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }));
  const [uid, gid] = [id('-u'), id('-g')];
  chownSync(folder, uid, gid);
  return { uid, gid, cwd: folder };
}

async function run(bin: string, folder: string, who: Who): Promise<ChildProcess> {
  const flags = ['-D', join(folder, 'data'), '-k', folder, '-c', 'listen_addresses=', '-c', 'fsync=off'];
  const server = spawn(join(bin, 'postgres'), flags, { ...who, stdio: ['ignore', 'ignore', 'pipe'] });
  await new Promise<void>((resolve, reject) => {
    server.stderr.on('data', (text: Buffer) => text.includes('ready to accept connections') && resolve());
    server.once('exit', (code) => reject(new Error(`postgres ended with ${code}`)));
  });
  return server;
}

/** Starts a server on a socket in a temporary folder. */
export async function startPostgres(bin: string): Promise<PostgresServer> {
  const folder = mkdtempSync(join(tmpdir(), 'winnow-pg-'));
  const who = ownerOf(folder);
  const init = ['-D', join(folder, 'data'), '-A', 'trust', '-U', 'winnow', '--no-sync'];
  execFileSync(join(bin, 'initdb'), init, { ...who, stdio: 'ignore' });
  let server = await run(bin, folder, who);
  const end = async (signal: NodeJS.Signals) => {
    if (server.exitCode !== null || server.signalCode !== null) return;
    const exited = once(server, 'exit');
    server.kill(signal);
    await exited;
  };
  const signalAll = (signal: NodeJS.Signals) => {
    for (const pid of [server.pid!, ...childrenOf(server.pid!)])
      try {
        process.kill(pid, signal);
      } catch (error) {
        // A worker of the server may have ended meanwhile.
        if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
      }
  };
  return {
    url: `postgres://winnow@/postgres?host=${encodeURIComponent(folder)}`,
    kill: () => end('SIGQUIT'),
    async start() {
      server = await run(bin, folder, who);
    },
    signal: signalAll,
    async stop() {
      if (server.exitCode === null && server.signalCode === null) signalAll('SIGCONT');
      await end('SIGINT');
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
