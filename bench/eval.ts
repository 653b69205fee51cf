/*
 * Offline evaluation at the size of MS MARCO, on made-up passages whose words follow Zipf's law:
 *   1. a BM25 index of a million passages is built and queried (seconds, peak memory, bytes, queries a second);
 *   2. a run of 6,980 queries × 1,000 passages is measured in one pass, against ir_measures where a Python with it is at hand.
 *
 *   npm run bench:eval -- [--passages 1000000] [--queries 1000] [--depth 1000] [--quick] [--python venv/bin/python]
 *
 * A Python for it: python3 -m venv venv && venv/bin/pip install ir_measures==0.4.3
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Bm25Index } from '../src/evaluation/first-stage/index/bm25-index.ts';
import { buildIndex } from '../src/evaluation/first-stage/index/build-index.ts';
import { startProgress } from '../src/util/progress.ts';
import { createRandom, type Random } from '../src/util/random.ts';

const { values: options } = parseArgs({
  options: {
    passages: { type: 'string' },
    queries: { type: 'string' },
    depth: { type: 'string', default: '1000' },
    quick: { type: 'boolean', default: false },
    python: { type: 'string', default: process.env.WINNOW_PYTHON ?? 'python3' },
    child: { type: 'string' },
    folder: { type: 'string' },
  },
});

const passages = Number(options.passages ?? (options.quick ? 20_000 : 1_000_000));
const queries = Number(options.queries ?? (options.quick ? 50 : 1000));
const depth = Number(options.depth);

/** Distinct words, and words of a passage: MS MARCO has about 55 a passage. */
const VOCABULARY = 400_000;
const LENGTH = 56;

const SYLLABLES = [
  'ka',
  'lo',
  'mi',
  'ru',
  'te',
  'vo',
  'sha',
  'pen',
  'dor',
  'bel',
  'nix',
  'qua',
  'zim',
  'far',
  'gus',
  'hyl',
];

/** A word by its rank: short for frequent ones, distinct for all. */
function wordAt(rank: number): string {
  let word = '';
  for (let rest = rank + 1; rest > 0; rest = Math.floor(rest / SYLLABLES.length))
    word += SYLLABLES[rest % SYLLABLES.length];
  return word;
}

const words = Array.from({ length: VOCABULARY }, (_, rank) => wordAt(rank));

/** A rank under Zipf's law with exponent 1: ranks are evenly spread in their logarithm. */
const zipf = (random: Random, from = 1): string => {
  const rank = from * (VOCABULARY / from) ** random.next();
  return words[Math.min(VOCABULARY - 1, Math.floor(rank) - 1)]!;
};

async function* corpus(count: number): AsyncGenerator<{ id: string; text: string }> {
  const random = createRandom(7);
  for (let i = 0; i < count; i++) {
    const length = 20 + random.below(2 * (LENGTH - 20));
    yield { id: String(7 * i + 1), text: Array.from({ length }, () => zipf(random)).join(' ') };
  }
}

/** Six words a query, none of the thirty most frequent: those would be stop words. */
function queryTexts(count: number): string[] {
  const random = createRandom(11);
  return Array.from({ length: count }, () => Array.from({ length: 6 }, () => zipf(random, 31)).join(' '));
}

interface Outcome {
  readonly seconds: number;
  readonly megabytes: number;
  readonly facts: Readonly<Record<string, number>>;
}

const report = (start: number, facts: Readonly<Record<string, number>>): Outcome => ({
  seconds: (performance.now() - start) / 1000,
  megabytes: process.resourceUsage().maxRSS / 1024,
  facts,
});

/** Making up the texts takes as long as indexing them, so it is timed alone and taken off. */
async function generate(): Promise<Outcome> {
  const start = performance.now();
  let characters = 0;
  for await (const { text } of corpus(passages)) characters += text.length;
  return report(start, { characters });
}

async function build(folder: string): Promise<Outcome> {
  const progress = startProgress('index', passages);
  const start = performance.now();
  const facts = await buildIndex(folder, corpus(passages), {
    onPassage: (count) => {
      if (count % 1000 === 0) progress.update(count);
    },
  });
  progress.stop();
  const bytes = Object.values(facts.bytes).reduce((sum, size) => sum + size, 0);
  return report(start, { bytes, terms: facts.terms, postings: facts.postings });
}

function query(folder: string): Outcome {
  const texts = queryTexts(queries);
  const index = new Bm25Index(folder);
  const start = performance.now();
  const times = texts.map((text) => {
    const at = performance.now();
    index.search(text, depth);
    return performance.now() - at;
  });
  const outcome = report(start, { median: times.toSorted((a, b) => a - b)[times.length >> 1]! });
  index.close();
  return outcome;
}

const CHILDREN: Readonly<Record<string, (folder: string) => Outcome | Promise<Outcome>>> = { generate, build, query };

/** Runs one part in a process of its own, so that its peak memory is its own. */
function measured(part: string, folder: string): Outcome {
  const args = ['--child', part, '--folder', folder, '--passages', String(passages), '--queries', String(queries)];
  const { stdout, status } = spawnSync(process.execPath, [import.meta.filename, ...args, '--depth', String(depth)], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (status !== 0) throw new Error(`${part} failed`);
  return JSON.parse(stdout) as Outcome;
}

function main(): void {
  const folder = mkdtempSync(join(tmpdir(), 'winnow-bench-'));
  try {
    const path = join(folder, 'index');
    const made = measured('generate', path);
    const built = measured('build', path);
    const asked = measured('query', path);
    const own = built.seconds - made.seconds;
    const characters = made.facts.characters!;
    console.log(`${passages} passages of ${(characters / passages).toFixed(0)} characters; ${cpus()[0]?.model}`);
    console.log(
      `index   ${own.toFixed(1)} s (and ${made.seconds.toFixed(1)} s of making up texts), ${built.megabytes.toFixed(0)} MB at most, ` +
        `${(built.facts.bytes! / 1e6).toFixed(0)} MB on disk, ${built.facts.terms} terms, ${(passages / own / 1000).toFixed(1)} thousand passages/s`,
    );
    console.log(
      `query   ${queries} × top ${depth}: ${asked.seconds.toFixed(1)} s, ${(queries / asked.seconds).toFixed(0)} queries/s, ` +
        `median ${asked.facts.median!.toFixed(2)} ms, ${asked.megabytes.toFixed(0)} MB at most`,
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const size = options.quick ? ['--queries', '200', '--rounds', '1'] : ['--rounds', '1'];
  const measures = join(import.meta.dirname, 'measures.ts');
  spawnSync(process.execPath, [measures, ...size, '--python', options.python], { stdio: 'inherit' });
}

if (options.child === undefined) main();
else process.stdout.write(JSON.stringify(await CHILDREN[options.child]!(options.folder!)));
