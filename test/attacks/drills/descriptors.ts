import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { Agent, request } from 'node:http';
import type { Socket } from 'node:net';
import { text as readText } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import type { ServerProcess } from '../../../bench/load/server.ts';
import { childrenOf } from '../../support/processes.ts';
import type { Drill } from '../harness/drill.ts';
import { open } from '../harness/raw.ts';
import { msUntil } from '../harness/recovery.ts';
import { ordinary } from '../harness/witness.ts';

/** Descriptors that are free when the attack begins; each connection takes one. */
const FREE = 24;
const CONNECTIONS = 300;
const KEPT_REQUESTS = 20;
/** How soon ordinary requests over new connections are answered after the attack, in milliseconds. */
const PASSED_MS = 10_000;

function limitDescriptors(pid: number, count: number): void {
  const { status, stderr } = spawnSync('prlimit', ['--pid', `${pid}`, `--nofile=${count}:`]);
  if (status !== 0) throw new Error(`prlimit: ${stderr}`);
}

/** Sends a request over the connection that the agent keeps. */
async function askKept(url: string, agent: Agent): Promise<number> {
  const body = JSON.stringify({ query: 'how long does a flea live', texts: ['A flea can live up to a year.'] });
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
  return new Promise((resolve) => {
    const sent = request(`${url}/rerank`, { method: 'POST', agent, headers, timeout: 5000 }, (answer) => {
      readText(answer).then(
        () => resolve(answer.statusCode ?? 0),
        () => resolve(0),
      );
    });
    sent.on('error', () => resolve(0));
    sent.on('timeout', () => sent.destroy());
    sent.end(body);
  });
}

/** Ends one inference host, which the server then has to replace without a free descriptor. */
function endOneHost({ pid }: ServerProcess): void {
  const [host] = childrenOf(pid);
  if (host) process.kill(host, 'SIGKILL');
}

export const descriptors: Drill = {
  name: 'descriptors',
  attack: `${CONNECTIONS} connections to a server with ${FREE} free file descriptors (EMFILE), and a host that dies meanwhile`,
  skip: () => (spawnSync('prlimit', ['--version']).status === 0 ? undefined : 'prlimit (util-linux) is not installed'),
  async run({ start }, scale) {
    const failures: string[] = [];
    // Two processes on one core too: while one is replaced, the other answers.
    const server = await start({ flags: ['--inference-hosts', '2'] });
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const first = await askKept(server.url, agent);
    if (first !== 200) failures.push(`the first request got ${first}`);
    const most = readdirSync(`/proc/${server.pid}/fd`).length + FREE;
    limitDescriptors(server.pid, most);
    const sockets: Socket[] = Array.from({ length: CONNECTIONS * scale }, () => open(server.url));
    await delay(500);
    const held = readdirSync(`/proc/${server.pid}/fd`).length;
    const statuses: number[] = [];
    for (let i = 0; i < KEPT_REQUESTS; i++) {
      if (i === KEPT_REQUESTS / 2) endOneHost(server);
      statuses.push(await askKept(server.url, agent));
    }
    const unanswered = statuses.filter((status) => status !== 200);
    if (unanswered.length > 0) failures.push(`requests over a kept connection got ${unanswered.join(', ')}`);
    for (const socket of sockets) socket.destroy();
    limitDescriptors(server.pid, 4096);
    const isAnswered = async () => typeof (await ordinary(server.url, 2000)) === 'number';
    const passedMs = await msUntil(isAnswered, { limitMs: PASSED_MS });
    if (passedMs === undefined) failures.push(`no new connection was answered ${PASSED_MS / 1000} s after the attack`);
    agent.destroy();
    return {
      tries: sockets.length + statuses.length,
      failures,
      seen: `${held} of ${most} descriptors held; ${statuses.length} requests over a kept connection; ended in ${((passedMs ?? Number.NaN) / 1000).toFixed(1)} s`,
    };
  },
};
