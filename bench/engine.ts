import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createHostPool } from '../src/inference/host-pool.ts';
import { sessionOptions } from '../src/inference/providers.ts';
import { type BareRow, encodeRequests, sortedBatches, startBareEngine } from './load/engine.ts';
import { median } from './load/figures.ts';
import { readFlags } from './load/flags.ts';
import { ownCpuSeconds } from './load/processes.ts';
import { baselineOf, compareWithFloat } from './load/ratio.ts';
import { loadTopics, PAIR_FLAGS } from './load/requests.ts';

const ABOUT = `
What the pool of inference hosts costs compared with the bare engine: the same tokenized, length-sorted batches of TREC-DL pairs, once by
onnxruntime-node alone (one process per host, tensors made in advance), once through the pool (rows over pipes, padding, supervision).
Short rounds alternate, so that other load affects both.

First the file of the model is compared with float32 by onnxruntime-node alone, two processes of one thread: both in batches of --tokens
and of 1,024. Ratios are to float32 at 1,024, per round; median and range.

Prints then per layout (hosts × threads) the best and median pairs a second and the processor milliseconds a pair, hosts and front process
together, which other programs disturb less; then the pool's share of the bare engine by each of the three.
`;

const options = readFlags('engine', ABOUT, {
  ...PAIR_FLAGS,
  layouts: { type: 'string', default: '1x2,2x1', help: 'Hosts × threads, comma-separated.' },
  queries: { type: 'string', default: '1', help: 'Queries whose candidates are scored.' },
  tokens: { type: 'string', default: '1024', help: 'Tokens of a padded batch, at most.' },
  baseline: { type: 'string', default: '', help: 'float32 ONNX file (default: that of the model, else MiniLM-L6).' },
  only: { type: 'string', default: 'both', help: '`float32` or `pool` for one of the two comparisons.' },
  length: { type: 'string', default: '0', help: 'Tokens of every pair, by repeating texts; 0 leaves them.' },
  rounds: { type: 'string', default: '10', help: 'Rounds per layout.' },
});

/** Tokens of a pair, at most. */
const MAX_LENGTH = 192;

async function startPool(file: string, hosts: number, threads: number, batches: readonly BareRow[][]) {
  const rows = batches.map((batch) =>
    batch.map(({ ids, secondSegment }) => ({ ids: Int32Array.from(ids), secondSegment })),
  );
  const pids: number[] = [];
  const pool = await createHostPool({ provider: 'cpu', hosts, threads }, (event) => {
    if (event.kind === 'ready') pids.push(event.pid);
  });
  await pool.load({ key: 'bench', file, padId: 0, maxLength: 512, reduction: { kind: 'single' } });
  await Promise.all(rows.slice(0, 3 * hosts).map((batch) => pool.run('bench', batch)));
  return {
    pids,
    async round() {
      await Promise.all(rows.map((batch) => pool.run('bench', batch)));
    },
    close: () => pool.close(),
  };
}

interface Contestant {
  readonly pids: readonly number[];
  round(): Promise<unknown>;
}

interface Measured {
  readonly rate: number;
  readonly cpu: number;
}

async function measure({ pids, round }: Contestant, pairs: number): Promise<Measured> {
  const used = () => 1000 * pids.reduce((sum, pid) => sum + ownCpuSeconds(pid), 0);
  const [cpu, own, start] = [used(), process.cpuUsage(), performance.now()];
  await round();
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(own);
  return { rate: pairs / seconds, cpu: (used() - cpu + (user + system) / 1000) / pairs };
}

function summary(name: string, runs: readonly Measured[]): string {
  const rates = runs.map(({ rate }) => rate);
  const cpu = median(runs.map((run) => run.cpu));
  return `${name} best ${Math.max(...rates).toFixed(1)}, median ${median(rates).toFixed(1)} pairs/s, ${cpu.toFixed(2)} CPU ms/pair`;
}

async function compare(file: string, layout: string, batches: readonly BareRow[][]): Promise<void> {
  const [hosts = 1, threads = 1] = layout.split('x').map(Number);
  const pairs = batches.reduce((sum, batch) => sum + batch.length, 0);
  const engine = await startBareEngine(file, { hosts, threads }, batches, sessionOptions({ threads }));
  const pool = await startPool(file, hosts, threads, batches);
  const runs: { bare: Measured; pool: Measured }[] = [];
  for (let round = 1; round <= Number(options.rounds); round++)
    runs.push(
      round % 2 === 0
        ? { pool: await measure(pool, pairs), bare: await measure(engine, pairs) }
        : { bare: await measure(engine, pairs), pool: await measure(pool, pairs) },
    );
  engine.close();
  await pool.close();
  const [bare, pooled] = [runs.map((run) => run.bare), runs.map((run) => run.pool)];
  const best = (all: readonly Measured[]) => Math.max(...all.map(({ rate }) => rate));
  const cpu = (all: readonly Measured[]) => median(all.map((run) => run.cpu));
  console.log(`${layout} ${summary('bare:', bare)}; ${summary('pool:', pooled)}`);
  const ratios = [
    best(pooled) / best(bare),
    median(runs.map((r) => r.pool.rate / r.bare.rate)),
    cpu(bare) / cpu(pooled),
  ];
  const [a, b, c] = ratios.map((ratio) => ratio.toFixed(3));
  console.log(`${layout} pool/bare: best rounds ${a}, median of rounds ${b}, by processor time ${c} (target 0.95)`);
}

/** Returns the rows with their tokens repeated until each has `length`; the first and the last token stay. */
const stretched = (rows: readonly BareRow[], length: number): readonly BareRow[] =>
  length === 0
    ? rows
    : rows.map(({ ids, secondSegment }) => {
        const inner = ids.slice(1, -1);
        const repeated = Array.from({ length: length - 2 }, (_, i) => inner[i % inner.length]!);
        return { ids: [ids[0]!, ...repeated, ids.at(-1)!], secondSegment: Math.min(secondSegment, length - 1) };
      });

/** Compares the model's file with float32 where there is a baseline. */
async function againstFloat(file: string, rows: readonly BareRow[], tokens: number): Promise<void> {
  const baseline = options.baseline || baselineOf(options.model);
  if (baseline === undefined) {
    console.log('no float32 file to compare with: give one by --baseline');
    return;
  }
  const session = sessionOptions({ threads: 1 });
  const lines = await compareWithFloat({ file, baseline }, rows, { tokens, rounds: Number(options.rounds), session });
  console.log(`${file} against ${baseline}`);
  for (const line of lines) console.log(line);
}

async function main(): Promise<void> {
  const tokens = Number(options.tokens);
  const { source, topics } = loadTopics(options.data);
  const encoded = await encodeRequests(options.model, topics.slice(0, Number(options.queries)), MAX_LENGTH);
  const rows = stretched(encoded, Number(options.length));
  const batches = sortedBatches(rows, { tokens, rows: Number.POSITIVE_INFINITY });
  const real = rows.reduce((sum, row) => sum + row.ids.length, 0);
  console.log(
    `node ${process.version}, ${source}: ${rows.length} pairs, ${real} tokens, ${batches.length} batches of ${tokens} tokens`,
  );
  const file = ['onnx/model_int8.onnx', 'onnx/model.onnx'].map((name) => join(options.model, name)).find(existsSync)!;
  if (options.only !== 'pool') await againstFloat(file, rows, tokens);
  if (options.only === 'float32') return;
  for (const layout of options.layouts.split(',')) await compare(file, layout, batches);
}

await main();
