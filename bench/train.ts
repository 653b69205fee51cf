import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { cpuBudget } from '../src/inference/cgroup.ts';
import { type Batch, formBatch } from '../src/training/data/batches.ts';
import { parseRecipe } from '../src/training/recipe/recipe.ts';
import { loadBackbone } from '../src/training/step/backbone.ts';
import { openSessions } from '../src/training/step/sessions.ts';
import { createRandom } from '../src/util/random.ts';
import { median } from './load/figures.ts';
import { readFlags } from './load/flags.ts';
import { cpuSeconds } from './load/processes.ts';
import { Side } from './load/side.ts';
import { loraSide, saveRandom } from './load/torch-sides.ts';

const ROOT = resolve(import.meta.dirname, '..');
const ABOUT = `
One training step of a MiniLM-L6: milliseconds and peak memory, compared with PyTorch's eager step if --python is given. Each side is a
process of its own, so that peak memory is its own, and the two alternate step by step, so that other load affects both.

Prints a line per round (median milliseconds, processor time and peak memory, and the machine's load average), and per case the ratio of times,
processor times and memories. Under other load, both ratios of time say little: PyTorch's threads use processor time while they wait.

With --python the last line is a ModernBERT-base (150 million random weights) with adapters of rank --lora beside all matrices of the encoder.

  npm run bench:train -- --python venv/bin/python
  npm run bench:train -- --shapes 32x64 --rounds 1 --steps 5
  npm run bench:train -- --shapes 32x128 --fill 0.65        # a third of the places is padding, as where lists are drawn at random
`;

const flags = readFlags('train', ABOUT, {
  backbone: { type: 'string', default: join(ROOT, '../shared/backbones/all-minilm-l6-v2'), help: 'Backbone folder.' },
  peers: { type: 'string', default: join(ROOT, '../shared/peers'), help: 'Folder of the PyTorch step.' },
  python: { type: 'string', default: process.env.WINNOW_PYTHON ?? '', help: 'Python with PyTorch and transformers.' },
  shapes: { type: 'string', default: '32x64,32x128', help: 'Rows × tokens of a step, comma-separated.' },
  words: { type: 'string', default: 'frozen,trained', help: 'Word embeddings: frozen, trained or both.' },
  lora: { type: 'string', default: '16', help: 'Rank of the adapters of the large model; 0 leaves it out.' },
  large: { type: 'string', default: '32x64', help: 'Rows × tokens of a step of the large model.' },
  place: { type: 'string', default: 'auto', help: "The recipe's optimizer.place." },
  steps: { type: 'string', default: '12', help: 'Timed steps per round.' },
  rounds: { type: 'string', default: '2', help: 'Rounds per case.' },
  threads: { type: 'string', default: String(cpuBudget()), help: 'Threads of each side.' },
  fill: { type: 'string', default: '1', help: 'Mean length of the rows ÷ tokens of a step; PyTorch gets full rows.' },
  dropout: { type: 'string', default: '0.1' },
  'warm-up': { type: 'string', default: '3' },
  parts: { type: 'string', default: '1' },
  one: { type: 'string' },
});

interface Case {
  readonly shape: string;
  /** `frozen` or `trained` word embeddings, or `lora`. */
  readonly words: string;
}

const LIST = 4;

const DROPOUT = flags.dropout === 'config' ? 'config' : { hidden: 0.1, attention: 0.1, classifier: 0.1 };

/** Builds a batch of full rows, without padding, as in the peer's step; with `--fill` below 1 of rows of equally spread lengths, the first one full. */
function batchOf(rows: number, length: number): Batch {
  const random = createRandom(1);
  const fill = Number(flags.fill);
  if (!(fill > 0.5 && fill <= 1)) throw new Error(`--fill: expected more than 0.5, at most 1, got ${flags.fill}`);
  const shortest = Math.max(1, Math.round((2 * fill - 1) * length));
  let made = 0;
  const relevance = Array.from({ length: LIST }, (_, p) => +(p === 0));
  const list = { qid: '', query: '', passages: relevance.map(String), relevance, teacher: relevance };
  const row = () => ({
    ids: Int32Array.from(
      { length: made++ === 0 ? length : shortest + random.below(length - shortest + 1) },
      () => 1000 + random.below(29000),
    ),
    secondSegment: 12,
    truncated: false,
  });
  return formBatch(Array.from({ length: rows / LIST }, () => ({ list, rows: relevance.map(row) })));
}

/** Runs one side of the comparison: writes `ready`, then runs a step per input line and writes its milliseconds, at the end its memory. */
async function stepOnDemand({ shape, words }: Case): Promise<void> {
  const [rows, length] = shape.split('x').map(Number) as [number, number];
  const recipe = parseRecipe(
    {
      name: 'bench',
      backbone: flags.backbone,
      objective: 'BCE',
      data: { train: [{ format: 'jsonl', path: 'none' }] },
      freeze: words === 'frozen' ? ['word_embeddings'] : [],
      ...(words === 'lora'
        ? { lora: { rank: Number(flags.lora), alpha: 2 * Number(flags.lora) } }
        : { dropout: DROPOUT }),
      threads: Number(flags.threads),
      optimizer: { place: flags.place },
    },
    'bench',
  );
  const sessions = await openSessions(await loadBackbone(flags.backbone, recipe), recipe, 0);
  const parts = Array.from({ length: Number(flags.parts) }, () => batchOf(rows / Number(flags.parts), length));
  const writeLine = (line: string | number) => process.stdout.write(`${line}\n`);
  let count = 0;
  const step = async (): Promise<number> => {
    const from = performance.now();
    const number = ++count;
    await sessions.stepper.step(parts, number, { backbone: 2e-5, head: 2e-5 }, (b) => sessions.dropout(b, number));
    return performance.now() - from;
  };
  while (count < Number(flags['warm-up'])) await step();
  writeLine('ready');
  for await (const _turn of createInterface({ input: process.stdin })) writeLine(await step());
  writeLine(process.resourceUsage().maxRSS / 1024);
  await sessions.close();
}

function run(command: string, args: readonly string[]): void {
  const done = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 1 << 26 });
  if (done.status !== 0) throw new Error(`${command} failed: ${done.stderr.trim().split('\n').at(-1) ?? ''}`);
}

/** Saves the same architecture with random weights: only the time of a step matters. */
const SAVE_MODEL = `
import sys
from transformers import BertConfig, BertForSequenceClassification
BertForSequenceClassification(BertConfig.from_pretrained(sys.argv[1], num_labels=1)).save_pretrained(sys.argv[2])`;

/** Runs the peer's step, with frozen word embeddings if requested. It waits for its turn where it reads the clock before a timed step. */
const PEER_STEP = `
import json, pathlib, sys, time, types
peers, model, shape, words, threads, steps = sys.argv[1:]
sys.path.insert(0, peers)
import transformers, train_step
kind = transformers.BertForSequenceClassification
load = kind.from_pretrained
def loaded(*a, **k):
    m = load(*a, **k)
    m.bert.embeddings.word_embeddings.weight.requires_grad_(words != "frozen")
    return m
kind.from_pretrained = loaded
def say(what):
    print(what, flush=True)
looks, before = 0, 0.0
def clock():
    global looks, before
    looks += 1
    timed = looks - 2
    if timed > 0 and timed % 2 == 1:
        if timed == 1:
            say("ready")
        sys.stdin.readline()
    now = time.perf_counter()
    if timed > 0 and timed % 2 == 0:
        say(1000 * (now - before))
    before = now
    return now
train_step.time = types.SimpleNamespace(perf_counter=clock)
rows, length = map(int, shape.split("x"))
say(train_step.step_times(pathlib.Path(model), "eager", rows, length, int(threads), int(steps))["rss_mb"])`;

const ours = (c: Case, model: string | undefined): Side =>
  new Side(process.execPath, [
    import.meta.filename,
    ...['place', 'threads', 'lora', 'fill'].map((f) => `--${f}=${flags[f as 'threads']}`),
    `--backbone=${c.words === 'lora' ? model : flags.backbone}`,
    `--one=${c.shape},${c.words}`,
  ]);

const peer = (c: Case, model: string): Side =>
  c.words === 'lora'
    ? loraSide(flags.python, model, c.shape, { threads: flags.threads, rank: flags.lora, warmUp: 3, parts: 1 })
    : new Side(flags.python, ['-c', PEER_STEP, flags.peers, model, c.shape, c.words, flags.threads, flags.steps]);

const SIDES = ['winnow', 'PyTorch'];

interface Ratios {
  readonly time: number;
  readonly cpu: number;
  readonly memory: number;
}

async function round(c: Case, model: string | undefined, name: string): Promise<Ratios> {
  const load = loadavg()[0]!.toFixed(1);
  const sides = [ours(c, model), ...(model === undefined ? [] : [peer(c, model)])];
  for (const side of sides) await side.ready();
  const used = new Map(sides.map((side) => [side, [] as number[]]));
  for (let i = 0; i < Number(flags.steps); i++)
    for (const side of i % 2 ? sides.toReversed() : sides) {
      const before = cpuSeconds(side.pid);
      await side.step();
      used.get(side)!.push(1000 * (cpuSeconds(side.pid) - before));
    }
  const found = await Promise.all(sides.map((side) => side.end()));
  const cpu = sides.map((side) => used.get(side)!);
  const words = found.map(
    ({ times, mb }, i) =>
      `${SIDES[i]} ${median(times).toFixed(0)} ms (processor ${median(cpu[i]!).toFixed(0)} ms) ${mb.toFixed(0)} MB`,
  );
  process.stdout.write(`${name}: ${words.join(', ')}, load ${load} → ${loadavg()[0]!.toFixed(1)}\n`);
  const [mine, other = mine] = found as [(typeof found)[0], (typeof found)[0]?];
  const [own, others = own] = cpu as [number[], number[]?];
  return {
    time: median(mine.times.map((ms, i) => ms / other.times[i]!)),
    cpu: median(own.map((ms, i) => ms / others[i]!)),
    memory: mine.mb / other.mb,
  };
}

async function compare(c: Case, model: string | undefined): Promise<void> {
  const label = `${c.shape} ${c.words}`;
  const rounds: Awaited<ReturnType<typeof round>>[] = [];
  for (let i = 1; i <= Number(flags.rounds); i++) rounds.push(await round(c, model, `${label} round ${i}`));
  if (model === undefined) return;
  const [time, cpu, memory] = (['time', 'cpu', 'memory'] as const).map((key) => rounds.map((r) => r[key])) as [
    number[],
    number[],
    number[],
  ];
  process.stdout.write(
    `${label}: ${median(time).toFixed(2)}x PyTorch's time (${time.map((t) => t.toFixed(2)).join(', ')}), ${median(cpu).toFixed(2)}x its processor time, ${median(memory).toFixed(2)}x its memory\n`,
  );
}

async function main(): Promise<void> {
  const cases = flags.shapes.split(',').flatMap((shape) => flags.words.split(',').map((words) => ({ shape, words })));
  const folder = mkdtempSync(join(tmpdir(), 'winnow-bench-train-'));
  try {
    const model = flags.python && existsSync(flags.python) ? join(folder, 'model') : undefined;
    if (model) run(flags.python, ['-c', SAVE_MODEL, flags.backbone, model]);
    else process.stdout.write('no Python given (--python or WINNOW_PYTHON): PyTorch is not measured\n');
    process.stdout.write(
      `${flags.threads} threads, ${readFileSync('/proc/cpuinfo', 'utf8').match(/model name\s*: (.*)/)?.[1] ?? ''}\n`,
    );
    for (const c of cases) await compare(c, model);
    if (model === undefined || Number(flags.lora) === 0) return;
    const large = join(folder, 'large');
    saveRandom(flags.python, { model_type: 'modernbert' }, large);
    for (const file of ['tokenizer.json', 'tokenizer_config.json'])
      copyFileSync(join(flags.backbone, file), join(large, file));
    await compare({ shape: flags.large, words: 'lora' }, large);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

if (flags.one) {
  const [shape, words] = flags.one.split(',') as [string, string];
  await stepOnDemand({ shape, words });
} else await main();
