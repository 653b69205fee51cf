import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type InferenceSession, Tensor } from 'onnxruntime-node';
import { differentiate } from '../src/autodiff/differentiate.ts';
import { insertDropout } from '../src/autodiff/dropout/insert.ts';
import { fillDropoutMask } from '../src/autodiff/dropout/mask.ts';
import { NO_DROPOUT, overrideRates } from '../src/autodiff/dropout/rates.ts';
import { sessionOptions } from '../src/inference/providers.ts';
import { GraphBuilder, modelOf } from '../src/onnx/builder.ts';
import type { Model } from '../src/onnx/graph.ts';
import { openModel } from '../src/onnx/open-model.ts';
import { probeFeeds, probeShapes } from '../src/onnx/probe.ts';
import { type Feeds, toOrt } from '../src/onnx/runner.ts';
import { sizeOf, tensor } from '../src/onnx/tensor.ts';
import { unfrozen, weightsToInputs } from '../src/onnx/weights.ts';
import { loadBackbone } from '../src/training/step/backbone.ts';
import { median } from './load/figures.ts';
import { readFlags } from './load/flags.ts';

type Kind = 'product' | 'forward' | 'gradients';

interface Contender {
  readonly kind: Kind;
  readonly level: 'basic' | 'extended' | 'all';
}

interface Job extends Contender {
  readonly model: string;
  readonly rows: number;
  readonly length: number;
  readonly threads: number;
  readonly dropout: boolean;
  readonly words: boolean;
}

interface Round {
  readonly ms: number;
  readonly cpuMs: number;
  readonly gflop: number;
  readonly peakMb: number;
}

const ABOUT = `
What the backward pass costs: MiniLM-L6 (or another backbone) with a fresh head, forward alone against forward and all gradients, at the
engine's optimization levels, next to one large matrix product. Every contender is a process of its own with its session open; rounds
alternate between them, so that other load affects all.

Prints a table per shape: best and median milliseconds, processor milliseconds (which other programs disturb less), their ratio to the
forward pass, GFLOP a second of the best round and a processor second, and peak memory.
`;

const options = readFlags('gradients', ABOUT, {
  model: {
    type: 'string',
    default: join(import.meta.dirname, '..', '..', 'shared/backbones/all-minilm-l6-v2'),
    help: 'Backbone folder.',
  },
  shapes: { type: 'string', default: '32x64,32x128', help: 'Rows × tokens, comma-separated.' },
  rounds: { type: 'string', default: '5', help: 'Timed rounds.' },
  threads: { type: 'string', default: '2', help: 'Threads of each session.' },
  dropout: { type: 'boolean', default: false, help: 'Insert dropout.' },
  words: { type: 'boolean', default: false, help: 'Train the word embeddings too.' },
  child: { type: 'boolean', default: false },
});

const PRODUCTS: ReadonlySet<string> = new Set(['MatMul', 'FusedMatMul', 'Gemm']);

/** Counts multiplications and additions of the matrix products of one forward pass: those of one row, by its shapes, times the rows. */
async function forwardGflop(model: Model, rows: number, length: number): Promise<number> {
  const shapes = await probeShapes(model, probeFeeds(model.graph.inputs, 1, length));
  const products = model.graph.nodes.filter((n) => PRODUCTS.has(n.op));
  const row = products.reduce((sum, node) => {
    const [left, made] = [shapes.get(node.inputs[0]!)!.dims, shapes.get(node.outputs[0]!)!.dims];
    return sum + 2 * sizeOf(made) * left.at(-1)!;
  }, 0);
  return (rows * row) / 1e9;
}

interface Work {
  readonly session: InferenceSession;
  readonly feeds: Readonly<Record<string, Tensor>>;
  readonly gflop: number;
}

const open = (model: ReturnType<typeof modelOf>, { level, threads }: Job): Promise<InferenceSession> =>
  openModel(model, {
    ...sessionOptions({ threads, optimization: level, memoryPattern: false }),
  });

const toEngine = (feeds: Feeds): Record<string, Tensor> =>
  Object.fromEntries(Object.entries(feeds).map(([name, t]) => [name, toOrt(t)]));

/** Prepares one square matrix product, large enough for the engine's peak rate. */
async function productWork(job: Job): Promise<Work> {
  const n = 1536;
  const g = new GraphBuilder();
  g.output(g.matmul(g.input('a', 'float32', [n, n]), g.input('b', 'float32', [n, n])), 'float32', [n, n]);
  const matrix = () => new Tensor('float32', new Float32Array(n * n).fill(0.5), [n, n]);
  return {
    session: await open(modelOf(g.build()), job),
    feeds: { a: matrix(), b: matrix() },
    gflop: (2 * n ** 3) / 1e9,
  };
}

async function encoderWork(job: Job): Promise<Work> {
  const { model, weights: found, logits } = await loadBackbone(job.model, { head: 'auto', seed: 1, freeze: [] });
  const weights = found.map((w) => ({ tensor: w.name, name: w.parameter, dims: w.value.dims, decay: w.decays }));
  const rates = overrideRates(NO_DROPOUT, job.dropout ? { hidden: 0.1, attention: 0.1, classifier: 0.1 } : {});
  const { model: dropping, parts } = await insertDropout(model, weights, rates, logits);
  const ids = tensor(
    'int64',
    [job.rows, job.length],
    Array.from({ length: job.rows * job.length }, (_, i) => 1000 + ((i * 7919) % 20000)),
  );
  const ones = tensor('int64', [job.rows, job.length], new Array(job.rows * job.length).fill(1));
  const feeds: Record<string, ReturnType<typeof tensor>> = {
    ...probeFeeds(model.graph.inputs, job.rows, job.length),
    input_ids: ids,
    attention_mask: ones,
  };
  const gflop = await forwardGflop(model, job.rows, job.length);
  if (job.kind === 'forward') return { session: await open(model, job), feeds: toEngine(feeds), gflop };
  const trained = unfrozen(weights, job.words ? [] : ['word_embeddings']).map((w) => w.tensor);
  const g = GraphBuilder.from(dropping.graph, { outputs: false });
  const loss = g.output(g.reduceMean(g.mul(logits, logits), undefined, false), 'float32', []);
  const shapes = await probeShapes({ ...dropping, graph: g.build() });
  const { graph, gradients } = differentiate(g.build(), { of: loss, wrt: trained, shapes });
  const out = GraphBuilder.from(weightsToInputs(graph, trained));
  for (const value of gradients.values()) out.output(value);
  for (const name of trained) feeds[name] = model.graph.initializers.get(name)!;
  Object.assign(feeds, fillDropoutMask(parts, job.rows, job.length, 1, 1));
  return { session: await open({ ...dropping, graph: out.build() }, job), feeds: toEngine(feeds), gflop: 3 * gflop };
}

async function child(): Promise<void> {
  const [job] = (await once(process, 'message')) as [Job];
  const { session, feeds, gflop } = await (job.kind === 'product' ? productWork(job) : encoderWork(job));
  await session.run(feeds);
  process.on('message', async () => {
    const before = process.cpuUsage();
    const start = performance.now();
    await session.run(feeds);
    const ms = performance.now() - start;
    const { user, system } = process.cpuUsage(before);
    const round: Round = { ms, cpuMs: (user + system) / 1000, gflop, peakMb: process.resourceUsage().maxRSS / 1024 };
    process.send!(round);
  });
  process.send!('ready');
}

async function start(job: Job): Promise<ChildProcess> {
  const process = fork(fileURLToPath(import.meta.url), ['--child']);
  process.send(job);
  await once(process, 'message');
  return process;
}

const CONTENDERS: readonly Contender[] = [
  { kind: 'product', level: 'all' },
  { kind: 'forward', level: 'all' },
  { kind: 'gradients', level: 'basic' },
  { kind: 'gradients', level: 'extended' },
  { kind: 'gradients', level: 'all' },
];

async function measure(shape: string): Promise<void> {
  const [rows, length] = shape.split('x').map(Number) as [number, number];
  const job = {
    model: options.model,
    rows,
    length,
    threads: Number(options.threads),
    dropout: options.dropout,
    words: options.words,
  };
  const processes: ChildProcess[] = [];
  for (const contender of CONTENDERS) processes.push(await start({ ...job, ...contender }));
  const rounds: Round[][] = CONTENDERS.map(() => []);
  for (let i = 0; i < Number(options.rounds); i++)
    for (const [c, process] of processes.entries()) {
      process.send('go');
      rounds[c]!.push(((await once(process, 'message')) as [Round])[0]);
    }
  for (const process of processes) process.kill();
  const forward = median(rounds[1]!.map((r) => r.cpuMs));
  console.log(
    `\n${shape} tokens${options.dropout ? ', dropout' : ''}${options.words ? ', word embeddings trained' : ''}`,
  );
  console.log('                      best ms  median ms  cpu ms  cpu/forward  GFLOP/s best  per cpu s  peak MB');
  for (const [c, { kind, level }] of CONTENDERS.entries()) {
    const own = rounds[c]!;
    const [best, cpu] = [Math.min(...own.map((r) => r.ms)), median(own.map((r) => r.cpuMs))];
    const cells = [best.toFixed(0), median(own.map((r) => r.ms)).toFixed(0), cpu.toFixed(0)];
    const ratio = kind === 'product' ? '' : (cpu / forward).toFixed(2);
    const rates = [((own[0]!.gflop / best) * 1000).toFixed(0), ((own[0]!.gflop / cpu) * 1000).toFixed(0)];
    const widths = [9, 11, 8, 13, 14, 11, 9];
    const line = [...cells, ratio, ...rates, own.at(-1)!.peakMb.toFixed(0)].map((cell, i) => cell.padStart(widths[i]!));
    console.log(`${`${kind} (${level})`.padEnd(20)}${line.join('')}`);
  }
}

if (options.child) await child();
else for (const shape of options.shapes.split(',')) await measure(shape);
