import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type Ran, run } from './tools.ts';

/** A Kubernetes API server with its controllers. */
export interface Cluster {
  /** Path of its kubeconfig. */
  readonly kubeconfig: string;
  /** Runs kubectl against it. @throws Error with kubectl's message. */
  kubectl(args: readonly string[], input?: string): Ran;
  stop(): Promise<void>;
}

/** Calls kubectl with the given kubeconfig. */
export const clusterOf = (kubeconfig: string, stop = async (): Promise<void> => {}): Cluster => ({
  kubeconfig,
  kubectl: (args, input) =>
    run('kubectl', args, {
      env: { ...process.env, KUBECONFIG: kubeconfig },
      ...(input === undefined ? {} : { input }),
    }),
  stop,
});

/** A first build of the API server and the controllers takes minutes of two cores. */
const BUILD_MS = 3_600_000;

const STOP_MS = 60_000;

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

/** Ends what `start.sh FOLDER` began and waits for it: a server that still closes holds its port. */
async function end(scripts: string, folder: string): Promise<void> {
  const file = join(folder, 'pids');
  if (!existsSync(file)) return;
  const pids = readFileSync(file, 'utf8').trim().split('\n').filter(Boolean).map(Number);
  run('bash', [join(scripts, 'stop.sh'), folder]);
  const limit = performance.now() + STOP_MS;
  while (pids.some(isAlive) && performance.now() < limit) await delay(100);
  for (const pid of pids.filter(isAlive)) process.kill(pid, 'SIGKILL');
}

/** Checks that the ports of the scripts are free. @throws Error that names the variable to set. */
async function checkPorts(): Promise<void> {
  const wanted = { K8S_PORT: '16443', ETCD_PORT: '12379' };
  for (const [name, standard] of Object.entries(wanted)) {
    const port = Number(process.env[name] ?? standard);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const server = createServer().once('error', reject).listen(port, '127.0.0.1', resolve);
    await promise.catch((error: unknown) => {
      throw new Error(`expected port ${port} to be free (${name} names another), got ${error}`);
    });
    server.close();
  }
}

/**
 * Starts etcd, API server and controllers by the scripts of a folder: `build.sh`, `start.sh FOLDER` (prints a kubeconfig), `stop.sh FOLDER`.
 * @throws Error if one of them fails.
 */
export async function startCluster(scripts: string): Promise<Cluster> {
  await checkPorts();
  const folder = mkdtempSync(join(tmpdir(), 'winnow-cluster-'));
  const stop = async () => {
    await end(scripts, folder);
    rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 250 });
  };
  try {
    run('bash', [join(scripts, 'build.sh'), 'kube-apiserver', 'kube-controller-manager'], { timeoutMs: BUILD_MS });
    const { stdout } = run('bash', [join(scripts, 'start.sh'), folder], { timeoutMs: 300_000 });
    return clusterOf(stdout.trim().split('\n').at(-1)!, stop);
  } catch (error) {
    await stop();
    throw error;
  }
}
