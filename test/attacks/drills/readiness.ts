import { cpSync, readdirSync, renameSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import type { ServerProcess } from '../../../bench/load/server.ts';
import { MODELS, SHIPPED_NAME } from '../../../bench/load/shipped.ts';
import { childrenOf } from '../../support/processes.ts';
import type { Drill } from '../harness/drill.ts';
import { msUntil, stopMs } from '../harness/recovery.ts';

/** How soon a fault must show, and how soon its end, in milliseconds. */
const SHOWN_MS = 10_000;
const PASSED_MS = 20_000;

async function isReady(url: string): Promise<boolean> {
  const answer = await fetch(`${url}/health/ready`, { signal: AbortSignal.timeout(3000) }).catch(() => undefined);
  await answer?.body?.cancel();
  return answer?.status === 200;
}

/** Milliseconds until readiness is `wanted`; undefined if it is not within the limit. */
const becomes = (wanted: boolean, url: string, limitMs: number): Promise<number | undefined> =>
  msUntil(async () => (await isReady(url)) === wanted, { limitMs });

interface Fault {
  readonly begin: () => unknown;
  readonly end: () => unknown;
}

async function admin(server: ServerProcess, path: string): Promise<void> {
  const headers = { 'content-type': 'application/json' };
  const answer = await fetch(`${server.url}${path}`, { method: 'POST', headers, body: '{}' });
  if (!answer.ok) throw new Error(`POST ${path}: ${answer.status} ${await answer.text()}`);
}

/** What may befall a server whose only model is `m`, in the folder `registry`. */
function faultsOf(server: ServerProcess, registry: string): Readonly<Record<string, Fault>> {
  const version = join(registry, 'm', '1');
  const aside = `${registry}-aside`;
  const onnx = join(version, 'onnx', readdirSync(join(version, 'onnx')).find((name) => name.endsWith('.onnx'))!);
  const kill = (signal: NodeJS.Signals) => {
    for (const pid of childrenOf(server.pid)) process.kill(pid, signal);
  };
  return {
    'files gone': {
      begin: () => renameSync(onnx, `${registry}.onnx`),
      end: () => renameSync(`${registry}.onnx`, onnx),
    },
    'files broken and hosts restarted': {
      begin() {
        cpSync(onnx, `${registry}.onnx`);
        truncateSync(onnx, 1000);
        kill('SIGKILL');
      },
      end: () => renameSync(`${registry}.onnx`, onnx),
    },
    'model unloaded': {
      begin: () => admin(server, '/v2/repository/models/m/unload'),
      end: () => admin(server, '/v2/repository/models/m/load'),
    },
    'registry mount lost': {
      begin: () => renameSync(registry, aside),
      end: () => renameSync(aside, registry),
    },
    'hosts stopped': { begin: () => kill('SIGSTOP'), end: () => kill('SIGCONT') },
  };
}

export const readiness: Drill = {
  name: 'readiness',
  attack: 'files gone or broken, model unloaded, registry gone, hosts stopped',
  skip: () => (process.platform === 'linux' ? undefined : 'it reads /proc'),
  async run({ folder, start }) {
    const registry = join(folder, 'registry');
    cpSync(join(MODELS, SHIPPED_NAME), join(registry, 'm'), { recursive: true });
    const failures: string[] = [];
    let [shown, passed] = [0, 0];
    const server = await start({ flags: ['--models', registry, '--inference-hosts', '1'] });
    const faults = Object.entries(faultsOf(server, registry));
    for (const [name, { begin, end }] of faults) {
      await begin();
      const fell = await becomes(false, server.url, SHOWN_MS);
      if (fell === undefined) failures.push(`${name}: still ready after ${SHOWN_MS} ms`);
      await end();
      const rose = await becomes(true, server.url, PASSED_MS);
      if (rose === undefined) failures.push(`${name}: not ready ${PASSED_MS} ms after its end`);
      shown = Math.max(shown, fell ?? 0);
      passed = Math.max(passed, rose ?? 0);
    }
    const endMs = await stopMs(server, failures);
    return {
      tries: faults.length,
      failures,
      seen: `slowest to show ${shown.toFixed(0)} ms, to pass ${passed.toFixed(0)} ms; ended in ${endMs.toFixed(0)} ms`,
    };
  },
};
