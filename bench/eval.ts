import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Bm25Index } from '../src/evaluation/first-stage/index/bm25-index.ts';
import { buildIndex } from '../src/evaluation/first-stage/index/build-index.ts';
import { startProgress } from '../src/util/progress.ts';
import { createRandom, type Random } from '../src/util/random.ts';
import { readFlags } from './load/flags.ts';

const ABOUT = `
Offline evaluation at the size of MS MARCO, on synthetic passages whose words follow Zipf's law. Each part runs in a process of its own.

Prints three results: the time to build a BM25 index (seconds without the generation of texts, peak memory, bytes on disk, terms,
passages a second); searching it (seconds, queries a second, median milliseconds, peak memory); and what bench:measures prints for one
round, with ir_measures if the Python interpreter has it.

A Python for it: python3 -m venv venv && venv/bin/pip install ir_measures==0.4.3
`;

const options = readFlags('eval', ABOUT, {
  passages: { type: 'string', help: 'Passages to index (default: 1000000, with --quick 20000).' },
  queries: { type: 'string', help: 'Queries to search (default: 1000, with --quick 50).' },
  depth: { type: 'string', default: '1000', help: 'Passages to retrieve per query.' },
  quick: { type: 'boolean', default: false, help: 'Use small sizes.' },
  python: { type: 'string', default: process.env.WINNOW_PYTHON ?? 'python3', help: 'Python with ir_measures.' },
  child: { type: 'string' },
  folder: { type: 'string' },
});

const passages = Number(options.passages ?? (options.quick ? 20_000 : 1_000_000));
const queries = Number(options.queries ?? (options.quick ? 50 : 1000));
const depth = Number(options.depth);

/** Distinct words, and mean words of a passage: MS MARCO has about 55. */
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

/** Returns the word of a rank: short for frequent ones, distinct for all. */
function wordAt(rank: number): string {
  let word = '';
  for (let rest = rank + 1; rest > 0; rest = Math.floor(rest / SYLLABLES.length))
    word += SYLLABLES[rest % SYLLABLES.length];
  return word;
}

const words = Array.from({ length: VOCABULARY }, (_, rank) => wordAt(rank));

/** Draws a word by Zipf's law with exponent 1: the logarithm of its rank is uniform. */
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

/** Generates queries of six words, without the thirty most frequent words, which would be stop words. */
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

/** Times the generation of texts alone: it takes as long as indexing and is subtracted. */
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
function runPart(part: string, folder: string): Outcome {
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
    const generated = runPart('generate', path);
    const built = runPart('build', path);
    const searched = runPart('query', path);
    const own = built.seconds - generated.seconds;
    const characters = generated.facts.characters!;
    console.log(`${passages} passages of ${(characters / passages).toFixed(0)} characters; ${cpus()[0]?.model}`);
    console.log(
      `index   ${own.toFixed(1)} s (and ${generated.seconds.toFixed(1)} s of text generation), ${built.megabytes.toFixed(0)} MB at most, ` +
        `${(built.facts.bytes! / 1e6).toFixed(0)} MB on disk, ${built.facts.terms} terms, ${(passages / own / 1000).toFixed(1)} thousand passages/s`,
    );
    console.log(
      `query   ${queries} × top ${depth}: ${searched.seconds.toFixed(1)} s, ${(queries / searched.seconds).toFixed(0)} queries/s, ` +
        `median ${searched.facts.median!.toFixed(2)} ms, ${searched.megabytes.toFixed(0)} MB at most`,
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
