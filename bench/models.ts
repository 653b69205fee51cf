import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { cpuBudget } from '../src/inference/cgroup.ts';
import { BACKBONES, type BackboneShape } from './load/backbones.ts';
import { alternate, type Contestant, type Figures, ratio } from './load/contest.ts';
import { median, table } from './load/figures.ts';
import { readFlags } from './load/flags.ts';
import { profileOf } from './load/operator-profile.ts';
import { residentBytes } from './load/processes.ts';
import { makeFolders, type RandomFolders, writeInt8 } from './load/random-folders.ts';
import { loadTopics, type Topic } from './load/requests.ts';
import { type ServerProcess, startServerProcess } from './load/server.ts';
import { Side } from './load/side.ts';
import { loraSide, predictSide, trainSide } from './load/torch-sides.ts';

const ROOT = resolve(import.meta.dirname, '..');
const ABOUT = `
The backbones of arXiv 2603.03010 and a decoder at real size with random weights: pairs a second and memory of a server, in float32 and
int8, beside sentence-transformers (PyTorch) on the same pairs, and a training step beside PyTorch's. All sides of a model are open at once
and take turns, so that other load affects them alike; a decoder's step has
adapters and four parts, and its two sides run one after the other. Every model has BERT's tokenizer, so that all score the same tokens. int8 files are
made without the search for accuracy: their scores say nothing.

Prints a table row per model when it is done: parameters, pairs a second and memory, ratios to sentence-transformers, milliseconds and
memory of a step with the ratio to PyTorch (above 1: Winnow is faster). Ratios are those of processor time, which other load hardly changes;
with --threads 1 no thread waits for another, so use that on a busy machine. Below a target (serving 1.2, training 1.0), the time by operator.

  npm run bench:models -- --python venv/bin/python --models ettin-17m,ettin-32m
  npm run bench:models -- --models qwen3-0.6b --pairs 16 --rounds 1
`;

const flags = readFlags('models', ABOUT, {
  python: { type: 'string', default: process.env.WINNOW_PYTHON ?? '', help: 'Python with sentence-transformers.' },
  models: {
    type: 'string',
    default: BACKBONES.filter(({ trains }) => trains === 'all')
      .map(({ name }) => name)
      .join(','),
    help: 'Models, comma-separated; also qwen3-0.6b.',
  },
  tokenizer: { type: 'string', default: join(ROOT, '../shared/tokenizers/bert-uncased'), help: 'Tokenizer folder.' },
  pairs: { type: 'string', default: '128', help: 'Pairs of a round.' },
  rounds: { type: 'string', default: '3', help: 'Rounds of scoring.' },
  shape: { type: 'string', default: '32x128', help: 'Rows × tokens of a training step.' },
  steps: { type: 'string', default: '3', help: 'Timed training steps; 0: none.' },
  minutes: { type: 'string', default: '15', help: 'No model begins after these minutes.' },
  threads: { type: 'string', default: String(cpuBudget()), help: 'Threads of each side; of the server, processes.' },
  profile: { type: 'boolean', default: false, help: 'Always print the time by operator.' },
  int8: { type: 'string' },
});

const THREADS = Number(flags.threads);
const SERVING_TARGET = 1.2;
const TRAINING_TARGET = 1;
const PASSAGES = 32;
/** Large models on busy machines take minutes for a round, for which a server would refuse a request. */
const PATIENCE = { 'x-winnow-deadline-ms': '600000', 'x-winnow-lane': 'batch' };
const PATIENT = ['--server-request-timeout-ms', '1200000', '--inference-batch-timeout-ms', '600000'];
/** Rows that show the ranges of states; speed does not depend on them. */
const CALIBRATION_ROWS = 16;

const print = (line: string) => process.stdout.write(`${line}\n`);

/** Returns the pairs of a round, from the middle of the lists: the lengths of all ranks are alike. */
function workOf(count: number): readonly Topic[] {
  const { topics } = loadTopics();
  const requests = Math.ceil(count / PASSAGES);
  return topics.slice(0, requests).map(({ query, passages }, i) => ({
    query,
    passages: passages.slice(0, Math.min(PASSAGES, count - i * PASSAGES)),
  }));
}

const pairsOf = (work: readonly Topic[]) =>
  work.flatMap(({ query, passages }) => passages.map((p) => [query, p] as const));

/** What ends the processes of a model, also of one that failed. */
const opened: (() => Promise<unknown>)[] = [];

async function askAll({ url }: ServerProcess, work: readonly Topic[]): Promise<number> {
  const begin = performance.now();
  const answers = work.map(async ({ query, passages }) => {
    const body = JSON.stringify({ query, texts: passages });
    const headers = { 'content-type': 'application/json', ...PATIENCE };
    const response = await fetch(`${url}/rerank`, { method: 'POST', headers, body });
    if (!response.ok) throw new Error(`expected scores, got ${response.status}: ${await response.text()}`);
    await response.arrayBuffer();
  });
  await Promise.all(answers);
  return performance.now() - begin;
}

/** Starts `winnow serve --model folder`, without a cache of scores. Memory is that of all its processes, at its peak between rounds. */
async function serving(folder: string, variant: string, at: string, work: readonly Topic[]): Promise<Contestant> {
  const layout = ['--inference-hosts', String(THREADS), '--inference-threads', '1', ...PATIENT];
  const flagsOf = ['--model', folder, '--registry-variant', variant, ...layout];
  const env = { WINNOW_MODELS: '', XDG_CACHE_HOME: join(at, 'cache') };
  const server = await startServerProcess({ flags: flagsOf, env });
  opened.push(() => server.stop());
  let most = 0;
  const round = async () => {
    const ms = await askAll(server, work);
    most = Math.max(most, residentBytes(server.pid));
    return ms;
  };
  await round();
  return {
    pid: server.pid,
    round,
    async end() {
      await server.stop();
      return most / 2 ** 20;
    },
  };
}

const sideOf = async (side: Side): Promise<Contestant> => {
  opened.push(async () => side.kill());
  await side.ready();
  return {
    pid: side.pid,
    round: () => side.step(),
    end: async () => (await side.end()).mb,
  };
};

async function measureServing(folders: RandomFolders, at: string): Promise<readonly Figures[]> {
  const work = workOf(Number(flags.pairs));
  const file = join(at, 'pairs.json');
  writeFileSync(file, JSON.stringify(pairsOf(work)));
  const float = await serving(folders.folder, 'fp32', at, work);
  const int8 = await serving(folders.small, 'int8', at, work);
  const peer = await sideOf(predictSide(flags.python, folders.folder, file, THREADS));
  return alternate([float, int8, peer], Number(flags.rounds));
}

/**
 * A step of a decoder trains adapters of this rank, in parts whose gradients are added. All of its weights with their moments would take more
 * than 9 GB, and 32 x 128 tokens at once 25 GB in PyTorch and 30 GB here.
 */
const RANK = '16';
const PARTS = 4;

async function measureTraining(folder: string, trains: BackboneShape['trains']): Promise<readonly Figures[]> {
  const steps = Number(flags.steps);
  const mine = () =>
    sideOf(
      new Side(process.execPath, [
        join(import.meta.dirname, 'train.ts'),
        `--backbone=${folder}`,
        `--threads=${THREADS}`,
        '--dropout=config',
        '--warm-up=1',
        ...(trains === 'adapters' ? [`--lora=${RANK}`, `--parts=${PARTS}`] : []),
        `--one=${flags.shape},${trains === 'adapters' ? 'lora' : 'trained'}`,
      ]),
    );
  if (trains === 'all')
    return alternate([await mine(), await sideOf(trainSide(flags.python, folder, flags.shape, THREADS))], steps);
  // One after the other: memory has no room for both.
  const first = await alternate([await mine()], steps);
  const peer = loraSide(flags.python, folder, flags.shape, {
    threads: String(THREADS),
    rank: RANK,
    warmUp: 1,
    parts: PARTS,
  });
  return [...first, ...(await alternate([await sideOf(peer)], steps))];
}

const HEAD = [
  'model',
  'parameters',
  'float32 pairs/s',
  'CPU ms/pair',
  'MB',
  'int8 pairs/s',
  'CPU ms/pair',
  'MB',
  's-t pairs/s',
  'CPU ms/pair',
  'MB',
  'float32 / s-t',
  'int8 / s-t',
  'step ms',
  'CPU ms',
  'MB',
  'PyTorch ms',
  'CPU ms',
  'MB',
  'step ratio',
];

async function measure(shape: BackboneShape, at: string): Promise<readonly string[]> {
  const folders = makeFolders(shape, at, {
    python: flags.python,
    tokenizer: flags.tokenizer,
    quantize: [import.meta.filename, '--int8'],
  });
  const pairs = pairsOf(workOf(Number(flags.pairs))).length;
  const [float, int8, peer] = (await measureServing(folders, at)) as [Figures, Figures, Figures];
  const speed = ({ ms }: Figures) => ((1000 * pairs) / median(ms)).toFixed(1);
  const cpu = (one: Figures, each: number) => ((1000 * median(one.cpu)) / each).toFixed(0);
  const memory = ({ mb }: Figures) => mb.toFixed(0);
  const served = ratio(float, peer);
  const isTrained = Number(flags.steps) > 0;
  const steps = isTrained ? ((await measureTraining(folders.folder, shape.trains)) as [Figures, Figures]) : undefined;
  if (flags.profile || served < SERVING_TARGET)
    print(`${shape.name}, float32, time by operator: ${await profileOf(folders.folder, workOf(PASSAGES))}`);
  const trained = steps ? ratio(...steps) : Number.NaN;
  const missed = [
    ...(served < SERVING_TARGET ? [`serving ${served.toFixed(2)} < ${SERVING_TARGET}`] : []),
    ...(trained < TRAINING_TARGET ? [`training ${trained.toFixed(2)} < ${TRAINING_TARGET}`] : []),
  ];
  if (missed.length > 0) print(`${shape.name} misses: ${missed.join(', ')}`);
  const step = ([mine, other]: [Figures, Figures]) => [
    ...[mine, other].flatMap((one) => [median(one.ms).toFixed(0), cpu(one, 1), memory(one)]),
    trained.toFixed(2),
  ];
  return [
    shape.name,
    `${(folders.parameters / 1e6).toFixed(0)} M`,
    ...[float, int8, peer].flatMap((one) => [speed(one), cpu(one, pairs), memory(one)]),
    served.toFixed(2),
    ratio(int8, peer).toFixed(2),
    ...(steps ? step(steps) : ['', '', '', '', '', '', '']),
  ];
}

function chosen(): readonly BackboneShape[] {
  return flags.models.split(',').map((name) => {
    const found = BACKBONES.find((one) => one.name === name.trim());
    if (!found) throw new Error(`--models: expected ${BACKBONES.map((one) => one.name).join(', ')}, got ${name}`);
    return found;
  });
}

async function main(): Promise<void> {
  if (!existsSync(flags.python))
    throw new Error('expected a Python with sentence-transformers (--python or WINNOW_PYTHON): it makes the models');
  const begin = performance.now();
  const rows: (readonly string[])[] = [];
  print(
    `${THREADS} threads, ${cpus()[0]?.model ?? ''}, ${flags.pairs} pairs a round, load ${loadavg()[0]!.toFixed(1)}`,
  );
  for (const shape of chosen()) {
    if (performance.now() - begin > 60_000 * Number(flags.minutes)) {
      print(`${shape.name}: not measured, ${flags.minutes} minutes are over (--minutes)`);
      continue;
    }
    const at = mkdtempSync(join(tmpdir(), 'winnow-bench-models-'));
    try {
      const row = await measure(shape, at);
      rows.push(row);
      print(row.join(' | '));
    } catch (error) {
      print(`${shape.name}: ${error instanceof Error ? error.message : String(error)}`);
      process.exitCode = 1;
    } finally {
      await Promise.all(opened.splice(0).map((close) => close()));
      rmSync(at, { recursive: true, force: true });
    }
  }
  print(table(HEAD, rows));
  print(`load at the end ${loadavg()[0]!.toFixed(1)}`);
}

if (flags.int8) await writeInt8(flags.int8, workOf(CALIBRATION_ROWS));
else await main();
