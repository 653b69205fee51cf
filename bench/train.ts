/*
 * One training step of MiniLM-L6: milliseconds and peak memory, against PyTorch's eager step on the same machine, in turn. Every measurement
 * is a process of its own, so that peak memory is its own.
 *
 *   npm run bench:train -- --python /path/to/venv/bin/python     (or WINNOW_PYTHON; without it only Winnow is measured)
 *   npm run bench:train -- --shapes 32x64 --rounds 1 --steps 5
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { cpuBudget } from '../src/inference/cgroup.ts';
import { createRandom } from '../src/random.ts';
import { loadBackbone } from '../src/training/backbone.ts';
import { type Batch, formBatch } from '../src/training/data/batches.ts';
import { openEngine } from '../src/training/engine.ts';
import { parseRecipe } from '../src/training/recipe.ts';

const ROOT = resolve(import.meta.dirname, '..');
const { values: flags } = parseArgs({
  options: {
    backbone: { type: 'string', default: join(ROOT, '../shared/backbones/all-minilm-l6-v2') },
    peers: { type: 'string', default: join(ROOT, '../shared/peers') },
    python: { type: 'string', default: process.env.WINNOW_PYTHON ?? '' },
    shapes: { type: 'string', default: '32x64,32x128' },
    words: { type: 'string', default: 'frozen,trained' },
    place: { type: 'string', default: 'auto' },
    steps: { type: 'string', default: '8' },
    rounds: { type: 'string', default: '2' },
    threads: { type: 'string', default: String(cpuBudget()) },
    one: { type: 'string' },
  },
});

interface Case {
  readonly shape: string;
  readonly words: string;
}

interface Measured {
  readonly ms: number;
  readonly mb: number;
}

const WARM_UP = 3;
const LIST = 4;

const median = (x: readonly number[]): number => {
  const sorted = [...x].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
};

/** Full rows: no padding, as in the peer's step. */
function fullBatch(rows: number, length: number): Batch {
  const random = createRandom(1);
  const relevance = Array.from({ length: LIST }, (_, p) => +(p === 0));
  const list = { qid: '', query: '', passages: relevance.map(String), relevance, teacher: relevance };
  const row = () => ({
    ids: Int32Array.from({ length }, () => 1000 + random.below(29000)),
    secondSegment: 12,
    truncated: false,
  });
  return formBatch(Array.from({ length: rows / LIST }, () => ({ list, rows: relevance.map(row) })));
}

async function measureOurs({ shape, words }: Case): Promise<Measured> {
  const [rows, length] = shape.split('x').map(Number) as [number, number];
  const recipe = parseRecipe(
    {
      name: 'bench',
      backbone: flags.backbone,
      objective: 'BCE',
      data: { train: [{ format: 'jsonl', path: 'none' }] },
      freeze: words === 'frozen' ? ['word_embeddings'] : [],
      dropout: { hidden: 0.1, attention: 0.1, classifier: 0.1 },
      threads: Number(flags.threads),
      optimizer: { place: flags.place },
    },
    'bench',
  );
  const engine = await openEngine(await loadBackbone(flags.backbone, recipe), recipe, 0);
  const batch = fullBatch(rows, length);
  const times: number[] = [];
  for (let step = 1; step <= WARM_UP + Number(flags.steps); step++) {
    const from = performance.now();
    await engine.stepper.step([batch], step, { backbone: 2e-5, head: 2e-5 }, (b) => engine.dropout(b, step));
    if (step > WARM_UP) times.push(performance.now() - from);
  }
  await engine.close();
  return { ms: median(times), mb: process.resourceUsage().maxRSS / 1024 };
}

function child(command: string, args: readonly string[]): string {
  const done = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 1 << 26 });
  if (done.status !== 0) throw new Error(`${command} failed: ${done.stderr.trim().split('\n').at(-1) ?? ''}`);
  return done.stdout.trim().split('\n').at(-1)!;
}

const ours = (c: Case): Measured =>
  JSON.parse(
    child(process.execPath, [
      import.meta.filename,
      ...['backbone', 'place', 'steps', 'threads'].map((f) => `--${f}=${flags[f as 'steps']}`),
      `--one=${c.shape},${c.words}`,
    ]),
  ) as Measured;

/** The same architecture with random weights: only the time of a step is asked for. */
const SAVE_MODEL = `
import sys
from transformers import BertConfig, BertForSequenceClassification
BertForSequenceClassification(BertConfig.from_pretrained(sys.argv[1], num_labels=1)).save_pretrained(sys.argv[2])`;

/** The peer's step, with its word embeddings frozen if asked. */
const PEER_STEP = `
import json, pathlib, sys
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
rows, length = map(int, shape.split("x"))
print(json.dumps(train_step.step_times(pathlib.Path(model), "eager", rows, length, int(threads), int(steps))))`;

function peer(c: Case, model: string): Measured {
  const args = ['-c', PEER_STEP, flags.peers, model, c.shape, c.words, flags.threads, flags.steps];
  const { median_ms: ms, rss_mb: mb } = JSON.parse(child(flags.python, args)) as { median_ms: number; rss_mb: number };
  return { ms, mb };
}

const show = (label: string, { ms, mb }: Measured): string => `${label} ${ms.toFixed(0)} ms ${mb.toFixed(0)} MB`;

function compare(c: Case, model: string | undefined): void {
  const rounds = Array.from({ length: Number(flags.rounds) }, (_, round) => {
    const load = loadavg()[0]!.toFixed(1);
    const mine = ours(c);
    const other = model === undefined ? undefined : peer(c, model);
    const words = [show('winnow', mine), other && show('PyTorch', other), `load ${load} → ${loadavg()[0]!.toFixed(1)}`];
    process.stdout.write(`${c.shape} ${c.words} round ${round + 1}: ${words.filter(Boolean).join(', ')}\n`);
    return { mine, other };
  });
  if (model === undefined) return;
  const ratio = (of: (m: Measured) => number): string =>
    median(rounds.map(({ mine, other }) => of(mine) / of(other!))).toFixed(2);
  process.stdout.write(
    `${c.shape} ${c.words}: ${ratio((m) => m.ms)}x PyTorch's time, ${ratio((m) => m.mb)}x its memory\n`,
  );
}

function main(): void {
  const cases = flags.shapes.split(',').flatMap((shape) => flags.words.split(',').map((words) => ({ shape, words })));
  const folder = mkdtempSync(join(tmpdir(), 'winnow-bench-train-'));
  try {
    const model = flags.python && existsSync(flags.python) ? join(folder, 'model') : undefined;
    if (model) child(flags.python, ['-c', `${SAVE_MODEL}\nprint()`, flags.backbone, model]);
    else process.stdout.write('no Python given (--python or WINNOW_PYTHON): PyTorch is not measured\n');
    process.stdout.write(
      `${flags.threads} threads, ${readFileSync('/proc/cpuinfo', 'utf8').match(/model name\s*: (.*)/)?.[1] ?? ''}\n`,
    );
    for (const c of cases) compare(c, model);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

if (flags.one) {
  const [shape, words] = flags.one.split(',') as [string, string];
  process.stdout.write(`${JSON.stringify(await measureOurs({ shape, words }))}\n`);
} else main();
