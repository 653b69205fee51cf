import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { measureFiles } from '../src/evaluation/formats/measure-files.ts';
import { writeLines } from '../src/evaluation/formats/write-lines.ts';
import { parseMeasure } from '../src/evaluation/measures/measure.ts';
import { createRandom, type Random } from '../src/util/random.ts';
import { median } from './load/figures.ts';
import { readFlags } from './load/flags.ts';

const ABOUT = `
Measures a synthetic run of the size of MS MARCO dev (6,980 queries × 1,000 passages) in one pass, and the same files with ir_measures
(the trec_eval code behind pytrec_eval) if the Python interpreter has it. Each side runs in a process of its own, in turn.

Prints, per side, the median seconds, the peak memory and millions of lines a second; then the ratios of time and memory, and the
greatest difference of a mean between the two.

A Python for it: python3 -m venv venv && venv/bin/pip install ir_measures==0.4.3
`;

const options = readFlags('measures', ABOUT, {
  queries: { type: 'string', default: '6980', help: 'Queries of the run.' },
  passages: { type: 'string', default: '1000', help: 'Passages per query.' },
  rounds: { type: 'string', default: '3', help: 'Measurements per side; the median counts.' },
  python: { type: 'string', default: process.env.WINNOW_PYTHON ?? 'python3', help: 'Python with ir_measures.' },
  child: { type: 'string' },
});

const MEASURES = ['nDCG@10', 'RR', 'AP', 'R@1000', 'Success@5'];
const COLLECTION = 8_841_823;

interface Outcome {
  readonly seconds: number;
  readonly megabytes: number;
  readonly values: Readonly<Record<string, number>>;
}

function* ids(random: Random, count: number): Generator<number> {
  const seen = new Set<number>();
  while (seen.size < count) {
    const id = random.below(COLLECTION);
    if (seen.has(id)) continue;
    seen.add(id);
    yield id;
  }
}

/** Generates a run whose scores fall by random whole thousandths, so that 32-bit and 64-bit readers order them alike; some are equal. */
function* runLines(queries: number, passages: number): Generator<string> {
  const random = createRandom(1);
  for (let q = 0; q < queries; q++) {
    let score = 40_000;
    let rank = 0;
    for (const id of ids(random, passages)) {
      score -= random.below(60);
      yield `${300_000 + 7 * q} Q0 ${id} ${++rank} ${(score / 1000).toFixed(3)} bench`;
    }
  }
}

/** Generates one or two relevant passages a query, mostly retrieved ones. */
function* qrelsLines(queries: number, passages: number): Generator<string> {
  const run = createRandom(1);
  const random = createRandom(2);
  for (let q = 0; q < queries; q++) {
    const docids: number[] = [];
    for (const id of ids(run, passages)) {
      docids.push(id);
      run.below(60);
    }
    yield `${300_000 + 7 * q} 0 ${docids[random.below(Math.ceil(passages / (1 + random.below(100))))]} 1`;
    if (random.next() < 0.06) yield `${300_000 + 7 * q} 0 ${COLLECTION + q} 1`;
  }
}

const PYTHON = `
import json, resource, sys, time
import ir_measures
start = time.perf_counter()
measures = [ir_measures.parse_measure(m) for m in sys.argv[3:]]
found = ir_measures.calc_aggregate(measures, ir_measures.read_trec_qrels(sys.argv[1]), ir_measures.read_trec_run(sys.argv[2]))
print(json.dumps({"seconds": time.perf_counter() - start, "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "values": {str(m): v for m, v in found.items()}}))
`;

function spawn(command: string, args: readonly string[]): Outcome {
  const { stdout, stderr, status, error } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(error?.message ?? stderr);
  return JSON.parse(stdout) as Outcome;
}

async function child(folder: string): Promise<void> {
  const start = performance.now();
  const measures = MEASURES.map(parseMeasure);
  const [measured] = await measureFiles(join(folder, 'qrels.txt'), [join(folder, 'run.txt')], measures);
  const outcome: Outcome = {
    seconds: (performance.now() - start) / 1000,
    megabytes: process.resourceUsage().maxRSS / 1024,
    values: Object.fromEntries(measured!.mean),
  };
  process.stdout.write(JSON.stringify(outcome));
}

function show(name: string, outcomes: readonly Outcome[], lines: number): void {
  const seconds = median(outcomes.map((o) => o.seconds));
  const memory = Math.max(...outcomes.map((o) => o.megabytes));
  const rate = (lines / seconds / 1e6).toFixed(2);
  console.log(
    `${name.padEnd(12)} ${seconds.toFixed(2).padStart(7)} s  ${memory.toFixed(0).padStart(6)} MB  ${rate} million lines/s`,
  );
}

function compare(ours: readonly Outcome[], theirs: readonly Outcome[]): void {
  const ratio = (f: (o: Outcome) => number): string => (median(theirs.map(f)) / median(ours.map(f))).toFixed(1);
  console.log(`ir_measures / winnow: ${ratio((o) => o.seconds)} × the time, ${ratio((o) => o.megabytes)} × the memory`);
  const gap = Math.max(...MEASURES.map((name) => Math.abs(ours[0]!.values[name]! - theirs[0]!.values[name]!)));
  console.log(`greatest difference of a mean: ${gap.toExponential(1)}`);
}

async function main(): Promise<void> {
  const [queries, passages, rounds] = [options.queries, options.passages, options.rounds].map(Number) as [
    number,
    number,
    number,
  ];
  const folder = mkdtempSync(join(tmpdir(), 'winnow-bench-'));
  try {
    await writeLines(join(folder, 'run.txt'), runLines(queries, passages));
    await writeLines(join(folder, 'qrels.txt'), qrelsLines(queries, passages));
    const peer = spawnSync(options.python, ['-c', 'import ir_measures']).status === 0;
    const ours: Outcome[] = [];
    const theirs: Outcome[] = [];
    for (let round = 0; round < rounds; round++) {
      ours.push(spawn(process.execPath, [import.meta.filename, '--child', folder]));
      if (peer)
        theirs.push(
          spawn(options.python, ['-c', PYTHON, join(folder, 'qrels.txt'), join(folder, 'run.txt'), ...MEASURES]),
        );
    }
    console.log(
      `${queries} queries × ${passages} passages, ${MEASURES.join(' ')}; median of ${rounds}; ${cpus()[0]?.model}`,
    );
    show('winnow', ours, queries * passages);
    if (peer) {
      show('ir_measures', theirs, queries * passages);
      compare(ours, theirs);
    } else console.log(`no ir_measures in ${options.python}: no ratio`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

await (options.child === undefined ? main() : child(options.child));
