import { readFileSync } from 'node:fs';
import { createLoadClient } from './load/client.ts';
import { table } from './load/figures.ts';
import { readFlags } from './load/flags.ts';
import { closedLoop } from './load/loops.ts';
import { loadTopics, requestStream } from './load/requests.ts';
import { startServerProcess } from './load/server.ts';

const ABOUT = `
Measures how much processor time the front process (HTTP, tokenization, scheduler) takes beside its busy inference hosts, as a share of theirs.
With as many hosts as cores, that share times the hosts is what the front process needs of a machine. Linux only.

Prints a Markdown table: passages of a request, requests answered, processor time of the front process ÷ that of all hosts.
`;

const options = readFlags('front', ABOUT, {
  passages: { type: 'string', default: '20,100', help: 'Passages per request, one or several numbers.' },
  hosts: { type: 'string', default: '2', help: 'Inference hosts of one thread.' },
  seconds: { type: 'string', default: '12', help: 'Time of each measurement.' },
  cache: { type: 'string', default: '0', help: 'Bytes of the token cache.' },
});

/** Clock ticks of processor time of a process with its threads. */
function ticks(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  return Number(fields[11]) + Number(fields[12]);
}

async function measure(passages: number) {
  const layout = ['--inference-hosts', options.hosts, '--inference-threads', '1'];
  const server = await startServerProcess({ flags: [...layout, '--tokenization-cache-bytes', options.cache] });
  const client = createLoadClient(server.url);
  try {
    const hosts = server.log.filter(({ msg }) => msg === 'inference host: ready');
    const pids = [server.pid, ...hosts.map(({ pid }) => Number(pid))];
    const before = pids.map(ticks);
    const end = performance.now() + Number(options.seconds) * 1000;
    const { topics } = loadTopics();
    const stream = requestStream(topics, passages, 5);
    const { samples } = await closedLoop(client, stream, { concurrency: 8, until: () => performance.now() > end });
    const [front = 0, ...others] = pids.map((pid, i) => ticks(pid) - before[i]!);
    const share = front / others.reduce((sum, each) => sum + each, 0);
    return [String(passages), String(samples.length), `${(100 * share).toFixed(1)} %`];
  } finally {
    client.close();
    await server.stop();
  }
}

const rows: string[][] = [];
for (const passages of options.passages.split(',')) rows.push(await measure(Number(passages)));
process.stdout.write(`${table(['passages', 'requests', 'front process ÷ hosts'], rows)}\n`);
