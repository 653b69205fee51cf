import { existsSync } from 'node:fs';
import { percent } from '../src/reports/format.ts';
import type { Budget } from '../src/scheduling/batch-draft.ts';
import { type Batch, formBatch } from '../src/scheduling/batch-former.ts';
import { batchMs, type Cost } from '../src/scheduling/cost-model.ts';
import { createQueuedJob, workRate } from '../src/scheduling/queued-job.ts';
import { WaitingJobs } from '../src/scheduling/waiting-jobs.ts';
import { createRandom } from '../src/util/random.ts';
import { serveClosed } from './load/closed-queue.ts';
import { encodeRequests } from './load/engine.ts';
import { readFlags } from './load/flags.ts';
import { loadTopics, PAIR_FLAGS } from './load/requests.ts';

const ABOUT = `
What forming batches costs and what it saves. Query-passage pairs with real lengths (TREC-DL 2019 with BM25 candidates; drawn from a
log-normal distribution if the collection is missing) wait in the queue as requests of 1, 10, 100, 1000 or all passages.

Prints a table per engine: microseconds to form a batch (p50, p99), milliseconds per row, the share of the engine's time, mean tokens of
a batch, and the padding, next to the padding of two other orders of the same rows: first in first out up to the token budget, and all
rows sorted by length (the least possible padding, with the longest waiting time). "vs FIFO" is the engine's time of FIFO over ours.

Then the same in simulated time with a few requests always in progress, on two runners: rows and padded tokens of a batch, the padding, the
engine's time against all rows sorted into batches of 384 tokens, and how long a request takes.
`;

const options = readFlags('scheduler', ABOUT, {
  ...PAIR_FLAGS,
  rows: { type: 'string', default: '10000', help: 'Rows in the queue.' },
  rounds: { type: 'string', default: '5', help: 'Repetitions; the last one is printed.' },
});

interface Engine {
  readonly name: string;
  readonly cost: Cost;
  readonly budget: Budget;
}

const ENGINES: readonly Engine[] = [
  {
    name: 'CPU (90 µs a token)',
    cost: { fixed: 1.5, perToken: 0.09, perSquare: 2e-4 },
    budget: { tokens: 4096, rows: 64 },
  },
  {
    name: 'accelerator (0.6 µs a token)',
    cost: { fixed: 2, perToken: 6e-4, perSquare: 1e-6 },
    budget: { tokens: 16_384, rows: 256 },
  },
];

/** Returns the lengths of real pairs, request by request, repeated up to `count`. */
async function realLengths(count: number): Promise<readonly number[]> {
  const rows = await encodeRequests(options.model, loadTopics(options.data).topics, 512);
  return Array.from({ length: count }, (_, i) => rows[i % rows.length]!.ids.length);
}

function drawnLengths(count: number): readonly number[] {
  const random = createRandom(1);
  const draw = () => Math.round(Math.min(268, Math.max(20, Math.exp(Math.log(84) + 0.5 * random.normal()))));
  return Array.from({ length: count }, draw);
}

interface Shape {
  readonly rows: number;
  readonly length: number;
  readonly tokens: number;
}

/** Cuts rows into batches in the order given, each as large as the budget allows. */
function inOrder(lengths: readonly number[], budget: Budget): Shape[] {
  const shapes: Shape[] = [];
  let [rows, length, tokens] = [0, 0, 0];
  for (const next of lengths) {
    const longest = Math.max(length, next);
    if (rows > 0 && (longest * (rows + 1) > budget.tokens || rows === budget.rows)) {
      shapes.push({ rows, length, tokens });
      [rows, length, tokens] = [0, 0, 0];
    }
    rows++;
    length = Math.max(length, next);
    tokens += next;
  }
  shapes.push({ rows, length, tokens });
  return shapes;
}

function queueOf(lengths: readonly number[], size: number, { cost }: Engine): WaitingJobs<number> {
  const waiting = new WaitingJobs<number>(2000);
  const load = { now: 0, speed: 1, idle: true, inFlight: 0 };
  for (let at = 0, sequence = 0; at < lengths.length; at += size, sequence++) {
    const facts = { owner: sequence, sequence, key: 'm', lane: 'interactive', priority: 0, arrived: 0 } as const;
    const rest = { deadline: 60_000_000, lengths: lengths.slice(at, at + size), rate: workRate(cost, 512) };
    waiting.add(createQueuedJob({ ...facts, ...rest }), load);
  }
  return waiting;
}

const quantile = (sorted: readonly number[], q: number) =>
  sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]!;

interface Formed {
  readonly batches: readonly Batch<number>[];
  /** Microseconds a batch, ascending. */
  readonly micros: readonly number[];
  readonly queueMs: number;
}

function drain(lengths: readonly number[], size: number, engine: Engine): Formed {
  const before = performance.now();
  const waiting = queueOf(lengths, size, engine);
  const queueMs = performance.now() - before;
  const batches: Batch<number>[] = [];
  const micros: number[] = [];
  const load = { now: 0, speed: 1, idle: true, inFlight: 0 };
  for (;;) {
    const start = performance.now();
    const batch = formBatch(waiting, engine.budget, () => engine.cost, load);
    micros.push((performance.now() - start) * 1000);
    if (!batch) break;
    batches.push(batch);
  }
  return { batches, micros: micros.sort((a, b) => a - b), queueMs };
}

const total = (shapes: readonly Shape[], of: (shape: Shape) => number) =>
  shapes.reduce((sum, shape) => sum + of(shape), 0);
const padding = (shapes: readonly Shape[]) =>
  1 - total(shapes, ({ tokens }) => tokens) / total(shapes, ({ rows, length }) => rows * length);
const engineMs = (shapes: readonly Shape[], cost: Cost) =>
  total(shapes, ({ rows, length }) => batchMs(cost, rows, length));

function report(lengths: readonly number[], size: number, engine: Engine): readonly string[] {
  const rounds = Array.from({ length: Number(options.rounds) }, () => drain(lengths, size, engine));
  const { batches, micros, queueMs } = rounds.at(-1)!;
  const shapes = batches.map(({ rows, length, tokens }) => ({ rows: rows.length, length, tokens }));
  const fifo = inOrder(lengths, engine.budget);
  const sorted = inOrder(
    lengths.toSorted((a, b) => b - a),
    engine.budget,
  );
  const ms = engineMs(shapes, engine.cost);
  const forming = micros.reduce((sum, one) => sum + one, 0) / 1000 + queueMs;
  return [
    String(size),
    quantile(micros, 0.5).toFixed(0),
    quantile(micros, 0.99).toFixed(0),
    `${(forming / lengths.length).toFixed(4)} ms`,
    percent(forming / ms),
    (total(shapes, ({ tokens }) => tokens) / shapes.length).toFixed(0),
    percent(padding(shapes)),
    percent(padding(fifo)),
    percent(padding(sorted)),
    `${(engineMs(fifo, engine.cost) / ms).toFixed(2)}x`,
  ];
}

/** Requests always in progress: passages of each, and how many. */
const CLOSED = [
  [20, 2],
  [20, 8],
  [20, 16],
  [10, 8],
  [100, 8],
] as const;

function closedReport(lengths: readonly number[], passages: number, inFlight: number): readonly string[] {
  // int8 on one core of Zen 4.
  const cost: Cost = { fixed: 0.6, perToken: 0.052, perSquare: 2e-5 };
  const budget = { tokens: 4096, rows: 64 };
  const { batches, waits, engineMs: ms } = serveClosed({ lengths, passages, inFlight, runners: 2, cost, budget });
  const shapes = batches.map(({ rows, length, tokens }) => ({ rows: rows.length, length, tokens }));
  const sorted = inOrder(
    lengths.toSorted((a, b) => b - a),
    { tokens: 384, rows: 64 },
  );
  return [
    `${passages} × ${inFlight}`,
    (lengths.length / shapes.length).toFixed(2),
    (total(shapes, ({ rows, length }) => rows * length) / shapes.length).toFixed(0),
    percent(padding(shapes)),
    percent(engineMs(sorted, cost) / ms),
    `${(waits.reduce((sum, wait) => sum + wait, 0) / waits.length).toFixed(0)} ms`,
    `${quantile(waits, 0.95).toFixed(0)} ms`,
  ];
}

const count = Number(options.rows);
const real = existsSync(options.data);
const lengths = real ? await realLengths(count) : drawnLengths(count);
const mean = lengths.reduce((sum, length) => sum + length, 0) / count;
console.log(`${count} rows, ${real ? 'real' : 'drawn'} lengths, mean ${mean.toFixed(0)} tokens`);
const HEAD = ['passages', 'µs p50', 'µs p99', 'a row', 'of engine', 'tokens', 'padding', 'FIFO', 'sorted', 'vs FIFO'];
for (const engine of ENGINES) {
  console.log(`\n${engine.name}`);
  const lines = [HEAD, ...[1, 10, 100, 1000, count].map((size) => report(lengths, size, engine))];
  for (const line of lines) console.log(line.map((cell) => cell.padStart(10)).join(''));
}

console.log('\nrequests in progress, two runners of 52 µs a token');
const CLOSED_HEAD = ['requests', 'rows', 'padded', 'padding', 'of sorted', 'mean', 'p95'];
const closed = CLOSED.map(([passages, inFlight]) => closedReport(lengths, passages, inFlight));
for (const line of [CLOSED_HEAD, ...closed]) console.log(line.map((cell) => cell.padStart(10)).join(''));
