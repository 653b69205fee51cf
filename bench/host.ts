import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLoadClient } from './load/client.ts';
import { type Period, readProfile } from './load/cpu-profile.ts';
import { table } from './load/figures.ts';
import { readFlags } from './load/flags.ts';
import { closedLoop } from './load/loops.ts';
import { startNullServer } from './load/null-registry.ts';
import type { OwnDelay } from './load/own-delay.ts';
import { type LoadRequest, loadTopics, type Topic } from './load/requests.ts';
import type { ServerProcess } from './load/server.ts';
import { simulate } from './load/simulation.ts';
import { between, STAGES, type StageSeconds, stageSeconds } from './load/threads.ts';

const ABOUT = `
Measures what the front process can do: a server whose inference hosts have no engine (the logit is a hash of the token ids) gets requests
over HTTP. Everything else is real: parsing, tokenizer threads, token cache, scheduler, frames and pipes to child processes, answers.

Measures every kind several times and keeps the round with the least processor time: other programs on the machine only add to it.

Prints Markdown tables by size of the request and state of the token cache: rows a second on this machine (the client included), how long
its own work delayed the event loop (99th percentile, most), and processor time a row by stage; and the rows a second of machines with
other numbers of cores, computed from these times without the client, with the stage that limits them. With --profile also where the event loop spends its time.
`;

const options = readFlags('host', ABOUT, {
  passages: { type: 'string', default: '100,1000', help: 'Passages per request, one or several numbers.' },
  rows: { type: 'string', default: '40000', help: 'Rows of each measurement.' },
  rounds: { type: 'string', default: '3', help: 'Measurements of each kind.' },
  devices: { type: 'string', default: '2', help: 'Devices, each with a host of its own.' },
  cores: { type: 'string', default: '2,8', help: 'Cores of the machines that are simulated, one or several numbers.' },
  tokenizers: {
    type: 'string',
    help: 'Tokenizer threads of these machines (default: as many as a server there starts).',
  },
  'score-cache': { type: 'boolean', default: false, help: 'Turn the score cache on, and ask for known pairs too.' },
  profile: { type: 'boolean', default: false, help: 'Show where the event loop spends its time (slower).' },
  json: { type: 'string', help: 'File to write all results to.' },
});
const counts = {
  passages: options.passages.split(',').map(Number),
  rows: Number(options.rows),
  rounds: Number(options.rounds),
  devices: Number(options.devices),
  cores: options.cores.split(',').map(Number),
};
const { source, topics } = loadTopics();

/** Makes requests with the passages of all topics in turn. `mark`: makes every passage one that was never sent before. */
function requestsOf(all: readonly Topic[], passages: number, count: number, mark?: string): LoadRequest[] {
  const texts = all.flatMap((topic) => topic.passages);
  return Array.from({ length: count }, (_, r) => ({
    query: all[r % all.length]!.query,
    passages: Array.from({ length: passages }, (_, p) => {
      const text = texts[(r * passages + p) % texts.length]!;
      return mark === undefined ? text : `${text} ${mark}${r * passages + p}`;
    }),
  }));
}

interface Measurement {
  readonly passages: number;
  readonly cache: string;
  readonly rowsPerSecond: number;
  /** How long its own work delayed the event loop. */
  readonly delay: OwnDelay;
  /** Seconds of processor time a row. */
  readonly perRow: StageSeconds;
}

/** When the requests that count were sent. */
const periods: Period[] = [];
const microseconds = () => Number(process.hrtime.bigint() / 1000n);

/** Reads the delays of the event loop since the last reading. */
async function readDelay(server: ServerProcess): Promise<OwnDelay> {
  const seen = new Set(server.log);
  const line = server.logged((entry) => entry.msg === 'own delay' && !seen.has(entry));
  server.signal('SIGUSR2');
  const { p99, max } = await line;
  return { p99: Number(p99), max: Number(max) };
}

async function measure(server: ServerProcess, passages: number, cache: string, round: number): Promise<Measurement> {
  const client = createLoadClient(server.url);
  const count = Math.max(8, Math.ceil(counts.rows / passages));
  // As many bytes are in flight for large requests as for small ones.
  const concurrency = Math.max(3, Math.min(16, Math.round(3200 / passages)));
  const known = requestsOf(topics, passages, Math.ceil(4000 / passages));
  const requests =
    cache === 'cold'
      ? requestsOf(topics, passages, count, `${passages}.${round}a`)
      : Array.from({ length: count }, (_, i) => known[i % known.length]!);
  const send = async (list: readonly LoadRequest[]) => {
    const run = await closedLoop(client, list[Symbol.iterator](), { concurrency, until: () => false });
    const failed = run.samples.find(({ status }) => status !== 200);
    if (failed) throw new Error(`a request failed: ${JSON.stringify(failed)}`);
    return run.seconds;
  };
  try {
    // Compiles what will run, and fills the cache; cold texts of the warm-up are not those measured.
    await send(
      cache === 'cold'
        ? requestsOf(topics, passages, Math.ceil(8000 / passages), `${passages}.${round}w`)
        : [...known, ...known],
    );
    await readDelay(server);
    const before = stageSeconds(server.pid);
    const from = microseconds();
    const seconds = await send(requests);
    periods.push({ from, to: microseconds() });
    const used = between(before, stageSeconds(server.pid));
    const delay = await readDelay(server);
    const rows = count * passages;
    const perRow = Object.fromEntries(STAGES.map((stage) => [stage, used[stage] / rows])) as StageSeconds;
    return { passages, cache, rowsPerSecond: rows / seconds, delay, perRow };
  } finally {
    client.close();
  }
}

/** Returns the round with the least processor time. */
async function best(server: ServerProcess, passages: number, cache: string): Promise<Measurement> {
  const rounds: Measurement[] = [];
  for (let round = 0; round < counts.rounds; round++) rounds.push(await measure(server, passages, cache, round));
  const all = ({ perRow }: Measurement) => STAGES.reduce((sum, stage) => sum + perRow[stage], 0);
  return rounds.reduce((least, next) => (all(next) < all(least) ? next : least));
}

/** Writes a rate; a stage with hardly any work has none. */
const rate = (n: number) => (n < 1e8 ? String(Math.round(n)) : '–');
const micros = (seconds: number) => (1e6 * seconds).toFixed(1);
const label = ({ passages, cache }: Measurement) => `${passages} passages, ${cache}`;

function measured(list: readonly Measurement[]): string {
  const head = ['µs of processor a row', 'rows/s here', 'loop delay p99, most', ...STAGES];
  return table(
    head,
    list.map((m) => [
      label(m),
      rate(m.rowsPerSecond),
      `${m.delay.p99.toFixed(1)}, ${m.delay.max.toFixed(1)} ms`,
      ...STAGES.map((stage) => micros(m.perRow[stage])),
    ]),
  );
}

function simulated(list: readonly Measurement[], cores: number): string {
  const tokenizers = Number(options.tokenizers ?? Math.max(1, Math.min(8, Math.floor(cores / 4))));
  const machine = { cores, tokenizers, hosts: counts.devices };
  const head = [`${cores} cores, ${tokenizers} tokenizer threads`, 'rows/s', 'limit', ...STAGES, 'cores'];
  return table(
    head,
    list.map((m) => {
      const { rowsPerSecond, limit, limits } = simulate(m.perRow, machine);
      return [label(m), rate(rowsPerSecond), limit, ...STAGES.map((stage) => rate(limits[stage])), rate(limits.cores)];
    }),
  );
}

function profiled(folder: string): string {
  const { folders, functions } = readProfile(folder, periods);
  const total = [...folders.values()].reduce((sum, ms) => sum + ms, 0);
  const rows = (shares: ReadonlyMap<string, number>, most: number) =>
    [...shares]
      .toSorted((a, b) => b[1] - a[1])
      .slice(0, most)
      .map(([name, ms]) => [name, `${((100 * ms) / total).toFixed(1)} %`]);
  return `${table(['event loop, by place', 'share'], rows(folders, 16))}\n\n${table(['by function', 'share'], rows(functions, 40))}`;
}

const temp = mkdtempSync(join(tmpdir(), 'winnow-bench-host-'));
const profiles = join(temp, 'profiles');
const server = await startNullServer(temp, {
  devices: counts.devices,
  node: options.profile ? ['--cpu-prof', `--cpu-prof-dir=${profiles}`] : [],
  flags: [
    ...['--scheduling-batch-tokens', '16384', '--scheduling-batch-rows', '256'],
    ...(options['score-cache'] ? ['--score-cache-bytes', '256MiB'] : []),
  ],
});
const results: Measurement[] = [];
let tokensPerRow = Number.NaN;
try {
  for (const passages of counts.passages)
    for (const cache of ['cold', 'warm']) {
      results.push(await best(server, passages, cache));
      console.error(`${label(results.at(-1)!)}: ${rate(results.at(-1)!.rowsPerSecond)} rows/s`);
    }
  const rows = await server.metric('winnow_pairs_scored_total{model="model",version="1"}');
  tokensPerRow = (await server.metric('winnow_tokens_total{model="model",version="1"}')) / rows;
} finally {
  await server.stop();
}
console.log(
  `${source}, ${tokensPerRow.toFixed(0)} tokens a row; ${cpus().length} cores of ${cpus()[0]?.model}, ${counts.devices} devices without an engine\n`,
);
console.log([measured(results), ...counts.cores.map((cores) => simulated(results, cores))].join('\n\n'));
if (options.profile) console.log(`\n${profiled(profiles)}`);
if (options.json) writeFileSync(options.json, `${JSON.stringify({ counts, source, results }, null, 1)}\n`);
rmSync(temp, { recursive: true });
