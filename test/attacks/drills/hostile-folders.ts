import { cpSync } from 'node:fs';
import { join } from 'node:path';
import type { ServerProcess } from '../../../bench/load/server.ts';
import { MODELS, SHIPPED_NAME } from '../../../bench/load/shipped.ts';
import type { Drill } from '../harness/drill.ts';
import { watch } from '../harness/witness.ts';
import { dropHostile, HOSTILE } from '../hostile-folders.ts';

/** How long a request for a hostile model may take before the drill goes on, in milliseconds. */
const PATIENCE_MS = 20_000;

/** Asks for a hostile model; returns the status of the answer, 0 without one. */
async function ask(url: string, model: string): Promise<{ readonly status: number; readonly text: string }> {
  const answer = await fetch(`${url}/v1/rerank`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    // Without the letter at which one of them loops for ever: what a text does to a served model is another drill.
    body: JSON.stringify({ model, query: 'honey', documents: ['a bee', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!'] }),
    signal: AbortSignal.timeout(PATIENCE_MS),
  }).catch(() => undefined);
  return { status: answer?.status ?? 0, text: (await answer?.text().catch(() => '')) ?? '' };
}

/** Hosts that were in service and got lost. */
const lostHosts = async (server: ServerProcess): Promise<number> => {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  return text
    .split('\n')
    .filter((line) => line.startsWith('winnow_host_events_total') && line.includes('event="lost"'))
    .reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
};

export const hostileFolders: Drill = {
  name: 'folders',
  attack: `${Object.keys(HOSTILE).length} hostile model folders dropped into the registry and asked for, one host`,
  async run({ folder, start }) {
    const registry = join(folder, 'registry');
    cpSync(join(MODELS, SHIPPED_NAME), join(registry, 'm'), { recursive: true });
    const server = await start({
      flags: ['--models', registry, '--registry-default-model', 'm', '--inference-hosts', '1'],
    });
    const failures: string[] = [];
    const alone = watch(server.url, { everyMs: 100 });
    await new Promise((resolve) => setTimeout(resolve, 5000));
    const base = await alone.stop();
    const beside = watch(server.url, { everyMs: 100 });
    const answers: Record<string, Awaited<ReturnType<typeof ask>>> = {};
    for (const name of Object.keys(HOSTILE)) {
      dropHostile(registry, name);
      const lost = await lostHosts(server);
      const seenBy = performance.now() + PATIENCE_MS;
      // The registry notices a folder a moment after the rename.
      do answers[name] = await ask(server.url, name);
      while (answers[name].status === 404 && performance.now() < seenBy);
      const now = await lostHosts(server);
      if (now > lost) failures.push(`${name}: ${now - lost} serving hosts lost (answer ${answers[name].status})`);
    }
    const { failures: unanswered, slowestMs, requests } = await beside.stop();
    failures.push(...unanswered.map((failure) => `request of another model: ${failure}`));
    const limitMs = Math.max(2000, 4 * base.slowestMs);
    if (slowestMs > limitMs)
      failures.push(`slowest request of another model ${slowestMs.toFixed(0)} ms, expected ${limitMs.toFixed(0)}`);
    const served = Object.entries(answers).filter(([, { status }]) => status === 200);
    return {
      tries: Object.keys(HOSTILE).length,
      failures,
      seen: `${requests} requests of another model, slowest ${slowestMs.toFixed(0)} ms (alone ${base.slowestMs.toFixed(0)}); served after all: ${served.map(([name]) => name).join(', ') || 'none'}`,
    };
  },
};
