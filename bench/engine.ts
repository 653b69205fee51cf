/*
 * What the pool of inference hosts costs over the bare engine: the same pre-tokenized, length-sorted batches of real TREC-DL pairs, once
 * by onnxruntime-node alone (one process a host, tensors ready made), once through the pool (rows over pipes, padding, supervision).
 * Short rounds alternate, so that what else the machine does falls on both. Beside pairs a second (best and median round) it prints the
 * processor time a pair takes, hosts and front process together, which other programs disturb less.
 *
 *   npm run bench:engine -- [--model FOLDER] [--layouts 1x2,2x1] [--queries 1] [--tokens 1024] [--rounds 10]
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { createHostPool } from '../src/inference/host-pool.ts';
import type { InferenceRow } from '../src/inference/inference-types.ts';
import { INPUTS, Padder } from '../src/inference/padding.ts';
import { sessionOptions } from '../src/inference/providers.ts';
import { loadTokenizer } from '../src/tokenization/load.ts';
import { SHIPPED } from './load/shipped.ts';

type PlainRow = readonly [ids: number[], secondSegment: number];

interface BareJob {
  readonly file: string;
  readonly threads: number;
  readonly batches: readonly (readonly PlainRow[])[];
}

const root = join(import.meta.dirname, '..');
const { values: options } = parseArgs({
  options: {
    model: { type: 'string', default: SHIPPED },
    data: { type: 'string', default: join(root, '../shared/data/trec-dl/BM25.dl19.top100.json') },
    layouts: { type: 'string', default: '1x2,2x1' },
    queries: { type: 'string', default: '1' },
    tokens: { type: 'string', default: '1024' },
    rounds: { type: 'string', default: '10' },
    bare: { type: 'boolean', default: false },
  },
});

/** `[CLS] query [SEP] passage [SEP]`, cut to 192 tokens. */
async function encodePairs(): Promise<InferenceRow[]> {
  const tokenizer = await loadTokenizer(options.model);
  const topics = JSON.parse(readFileSync(options.data, 'utf8')) as { query: string; hits: { content: string }[] }[];
  const [cls, sep] = [101, 102];
  return topics.slice(0, Number(options.queries)).flatMap(({ query, hits }) => {
    const head = [cls, ...tokenizer.encodeText(query), sep];
    return hits.map(({ content }) => {
      const ids = [...head, ...tokenizer.encodeText(content)].slice(0, 191);
      return { ids: Int32Array.from([...ids, sep]), secondSegment: head.length };
    });
  });
}

/** Longest first, cut where one more row would take the padded batch over the budget. */
function batchesOf(rows: readonly InferenceRow[], budget: number): InferenceRow[][] {
  const batches: InferenceRow[][] = [];
  for (const row of rows.toSorted((a, b) => b.ids.length - a.ids.length)) {
    const last = batches.at(-1);
    if (last && (last.length + 1) * last[0]!.ids.length <= budget) last.push(row);
    else batches.push([row]);
  }
  return batches;
}

/** The engine alone: tensors are made before the clock starts. */
async function bare(): Promise<void> {
  const [{ file, threads, batches }] = (await once(process, 'message')) as [BareJob];
  const session = await InferenceSession.create(file, sessionOptions({ threads }));
  const inputs = session.inputNames.filter((name) => name in INPUTS).map((name) => ({ name, type: 'int64' as const }));
  const feeds = batches.map((batch) => {
    const rows = batch.map(([ids, secondSegment]) => ({ ids: Int32Array.from(ids), secondSegment }));
    const padded = new Padder().pad(rows, inputs, 0);
    return Object.fromEntries(
      Object.entries(padded).map(([name, { data, dims }]) => [name, new Tensor('int64', data, dims)]),
    );
  });
  for (const feed of feeds.slice(0, 3)) await session.run(feed);
  process.send!('ready');
  for await (const _ of turns()) {
    for (const feed of feeds) await session.run(feed);
    process.send!('done');
  }
}

/** Every message is one round. */
async function* turns(): AsyncGenerator<void> {
  const messages: unknown[] = [];
  let wake = () => {};
  process.on('message', (message) => {
    messages.push(message);
    wake();
  });
  for (;;) {
    if (messages.length === 0) await new Promise<void>((resolve) => (wake = resolve));
    messages.shift();
    yield;
  }
}

async function startBare(file: string, hosts: number, threads: number, batches: readonly InferenceRow[][]) {
  const plain = batches.map((batch) => batch.map(({ ids, secondSegment }): PlainRow => [[...ids], secondSegment]));
  const children: ChildProcess[] = Array.from({ length: hosts }, () =>
    fork(fileURLToPath(import.meta.url), ['--bare']),
  );
  children.forEach((child, i) => {
    child.send({ file, threads, batches: plain.filter((_, b) => b % hosts === i) } satisfies BareJob);
  });
  await Promise.all(children.map((child) => once(child, 'message')));
  return {
    pids: children.map((child) => child.pid!),
    async round() {
      const done = children.map((child) => once(child, 'message'));
      for (const child of children) child.send('go');
      await Promise.all(done);
    },
    close: () => children.forEach((child) => void child.kill()),
  };
}

async function startPool(file: string, hosts: number, threads: number, batches: readonly InferenceRow[][]) {
  const pids: number[] = [];
  const pool = await createHostPool({ provider: 'cpu', hosts, threads }, (event) => {
    if (event.kind === 'ready') pids.push(event.pid);
  });
  await pool.load({ key: 'bench', file, padId: 0, maxLength: 512, reduction: { kind: 'single' } });
  await Promise.all(batches.slice(0, 3 * hosts).map((batch) => pool.run('bench', batch)));
  return {
    pids,
    async round() {
      await Promise.all(batches.map((batch) => pool.run('bench', batch)));
    },
    close: () => pool.close(),
  };
}

/** Processor milliseconds the processes have used so far; 0 where there is no /proc. */
function cpuMs(pids: readonly number[]): number {
  if (!existsSync('/proc/self/stat')) return 0;
  const ticks = pids.map((pid) => {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /, '')
      .split(' ');
    return Number(fields[11]) + Number(fields[12]);
  });
  // USER_HZ is 100 on every Linux that Node runs on.
  return 10 * ticks.reduce((sum, t) => sum + t, 0);
}

interface Contestant {
  readonly pids: readonly number[];
  round(): Promise<void>;
}

interface Measured {
  readonly rate: number;
  readonly cpu: number;
}

async function measure({ pids, round }: Contestant, pairs: number): Promise<Measured> {
  const [cpu, own, start] = [cpuMs(pids), process.cpuUsage(), performance.now()];
  await round();
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(own);
  return { rate: pairs / seconds, cpu: (cpuMs(pids) - cpu + (user + system) / 1000) / pairs };
}

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1]!;

function summary(name: string, runs: readonly Measured[]): string {
  const rates = runs.map(({ rate }) => rate);
  const cpu = median(runs.map((run) => run.cpu));
  return `${name} best ${Math.max(...rates).toFixed(1)}, median ${median(rates).toFixed(1)} pairs/s, ${cpu.toFixed(2)} CPU ms/pair`;
}

async function compare(file: string, layout: string, batches: readonly InferenceRow[][]): Promise<void> {
  const [hosts = 1, threads = 1] = layout.split('x').map(Number);
  const pairs = batches.reduce((sum, batch) => sum + batch.length, 0);
  const engine = await startBare(file, hosts, threads, batches);
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

async function main(): Promise<void> {
  if (!existsSync(options.data))
    throw new Error(`expected TREC-DL candidate lists at ${options.data} (--data), got none`);
  const rows = await encodePairs();
  const batches = batchesOf(rows, Number(options.tokens));
  const real = rows.reduce((sum, row) => sum + row.ids.length, 0);
  console.log(
    `node ${process.version}, ${rows.length} pairs, ${real} tokens, ${batches.length} batches of ${options.tokens} tokens`,
  );
  const file = ['onnx/model_int8.onnx', 'onnx/model.onnx'].map((name) => join(options.model, name)).find(existsSync)!;
  for (const layout of options.layouts.split(',')) await compare(file, layout, batches);
}

await (options.bare ? bare() : main());
