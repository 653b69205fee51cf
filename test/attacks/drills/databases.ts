import { unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { ServerProcess } from '../../../bench/load/server.ts';
import { SHIPPED_NAME } from '../../../bench/load/shipped.ts';
import { postgresPrograms, startPostgres } from '../../support/postgres.ts';
import type { Drill } from '../harness/drill.ts';
import { msUntil, stopMs } from '../harness/recovery.ts';

/** How long a request under attack, and the recovery after it, may take, in milliseconds. */
const ANSWER_MS = 5000;
const RECOVERY_MS = 20_000;

function definitions(folder: string): string {
  const arms = ['a', 'b'].map((name) => ({ name, model: SHIPPED_NAME }));
  const trial = { name: 'trial', mode: 'split', arms, control: 'a', metrics: [{ name: 'clicks' }] };
  const file = join(folder, 'experiments.yaml');
  writeFileSync(file, stringify({ experiments: [trial] }));
  return file;
}

async function post(server: ServerProcess, path: string, id: string, body: object): Promise<Response | undefined> {
  const headers = { 'content-type': 'application/json', 'x-request-id': id, 'x-user-id': id };
  const signal = AbortSignal.timeout(ANSWER_MS * 4);
  return fetch(`${server.url}${path}`, { method: 'POST', headers, body: JSON.stringify(body), signal }).catch(
    () => undefined,
  );
}

let serial = 0;

/** Asks for one ranking and reports a click on it. @returns the status of each. */
async function use(server: ServerProcess): Promise<{ readonly rank: number; readonly click: string }> {
  const id = `drill-${++serial}`;
  const ranked = await post(server, '/rerank', id, { query: 'q', texts: ['one', 'two'] });
  await ranked?.body?.cancel();
  const clicked = await post(server, '/v1/outcomes', id, { request_id: id, metric: 'clicks' });
  const text = (await clicked?.text()) ?? 'no answer';
  return { rank: ranked?.status ?? 0, click: /stored|duplicate|unknown|store_unavailable/.exec(text)?.[0] ?? text };
}

const recovers = (server: ServerProcess): Promise<number | undefined> =>
  msUntil(async () => (await use(server)).click === 'stored', { limitMs: RECOVERY_MS, everyMs: 200 });

interface Act {
  readonly name: string;
  readonly begin: () => unknown;
  readonly end?: () => unknown;
}

/** Uses a server during and after each act. */
async function endure(server: ServerProcess, acts: readonly Act[]) {
  const failures: string[] = [];
  let slowest = 0;
  if ((await recovers(server)) === undefined) failures.push('no outcome was stored before the attack');
  for (const { name, begin, end } of acts) {
    await begin();
    const { rank, click } = await use(server);
    if (rank !== 200) failures.push(`${name}: a ranking got ${rank || 'no answer'}`);
    if (end && click === 'stored') failures.push(`${name}: an outcome was acknowledged`);
    await end?.();
    const ms = await recovers(server);
    if (ms === undefined) failures.push(`${name}: no outcome stored ${RECOVERY_MS} ms after its end`);
    slowest = Math.max(slowest, ms ?? 0);
  }
  return { failures, slowest };
}

export const postgres: Drill = {
  name: 'postgres',
  attack: 'the database server crashes, stops, and hangs while the service ends',
  skip: () => (postgresPrograms() ? undefined : "it needs Debian's package postgresql"),
  async run({ folder, start }) {
    const database = await startPostgres(postgresPrograms()!);
    try {
      const flags = ['--experiments', definitions(folder), '--experiments-database', database.url];
      const server = await start({ flags: [...flags, '--experiments-database-timeout-ms', '1000'] });
      const acts: Act[] = [
        { name: 'crash', begin: () => database.kill(), end: () => database.start() },
        { name: 'hang', begin: () => database.signal('SIGSTOP'), end: () => database.signal('SIGCONT') },
      ];
      const { failures, slowest } = await endure(server, acts);
      database.signal('SIGSTOP');
      const ms = await stopMs(server, failures);
      database.signal('SIGCONT');
      const seen = `slowest recovery ${slowest.toFixed(0)} ms; ended in ${ms.toFixed(0)} ms while the database hung`;
      return { tries: acts.length + 1, failures, seen };
    } finally {
      await database.stop();
    }
  },
};

export const file: Drill = {
  name: 'file',
  attack: 'the SQLite file is deleted under the service',
  async run({ folder, start }, scale) {
    const database = join(folder, 'experiments.sqlite');
    const flags = ['--experiments', definitions(folder), '--experiments-database', database];
    const server = await start({ flags });
    const acts = Array.from({ length: 3 * Math.ceil(scale) }, (_, i): Act => {
      return { name: `deletion ${i + 1}`, begin: () => unlinkSync(database) };
    });
    const { failures, slowest } = await endure(server, acts);
    // A group of exposures that was under way reports its own failure, with what becomes of it after the reason.
    const logged = server.log.filter(({ reason }) =>
      /was deleted while in use(?!.*next try)/.test(String(reason)),
    ).length;
    if (logged !== acts.length) failures.push(`${acts.length} deletions, ${logged} in the log`);
    const ms = await stopMs(server, failures);
    const seen = `slowest recovery ${slowest.toFixed(0)} ms; ended in ${ms.toFixed(0)} ms`;
    return { tries: acts.length, failures, seen };
  },
};
