import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { join, resolve } from 'node:path';
import { cpuBudget } from '../src/inference/cgroup.ts';
import { readFlags } from './load/flags.ts';
import { processTree, watchOthers } from './load/processes.ts';
import { peersSvg } from './peers/chart.ts';
import { Entry, note } from './peers/entry.ts';
import { makeModel } from './peers/make-model.ts';
import { preparePeers } from './peers/prepare.ts';
import { type Found, markdown } from './peers/report.ts';
import { BASELINE, ROWS, type Row, type Scene } from './peers/rows.ts';
import { accuracyOf, readWork, TREC_DL, type Work } from './peers/work.ts';

const ROOT = resolve(import.meta.dirname, '..');
const ABOUT = `
Winnow beside what else re-ranks on this processor, with the same weights: onnxruntime, OpenVINO, sentence-transformers, transformers.js.
All programs are open at once, score the same pairs and take turns, so that other load affects them alike; each has as many processes
of one thread as there are cores. A program that is not installed, or fails, is a row with the reason.

Engines (onnxruntime, OpenVINO, "engine") are given tensors, sorted by length into batches; the others are given texts, and the service
requests over HTTP with its caches off. The model reads the first token: bench/peers/model.yaml, which --make trains. Python, with what
test/clients/peers/prepare.py imports, writes the plain export, the dynamic int8 file and NNCF's.

Prints a table: pairs a second (median, range of the rounds); how many times as fast as float32 by onnxruntime in batches of 1,024 tokens,
by the clock (ratios within a round) and by processor time, which other load hardly changes; nDCG@10 on TREC-DL 2019 (BM25's first 40
candidates); the root mean square difference from float32 scores; the largest change of a score between a batch of its own and one with
other pairs, of like length and of any; the memory of all its processes. Then the service beside the fastest other program.

  npm run bench:peers -- --make --python venv/bin/python     # trains the model first, ten minutes
  npm run bench:peers -- --python venv/bin/python
`;

const flags = readFlags('peers', ABOUT, {
  python: { type: 'string', default: process.env.WINNOW_PYTHON ?? '', help: 'Python with openvino, nncf, torch, …' },
  model: { type: 'string', default: join(ROOT, 'runs/peers/registry/peers/1'), help: 'Version folder of the model.' },
  make: { type: 'boolean', default: false, help: 'Train the model if it is not there.' },
  data: { type: 'string', default: TREC_DL, help: 'Folder of TREC-DL 2019.' },
  rounds: { type: 'string', default: '6', help: 'Timed rounds.' },
  depth: { type: 'string', default: '40', help: "First candidates of each query that are re-ranked (BM25's 100)." },
  lists: { type: 'string', default: '12', help: 'Candidate lists of a timed round.' },
  alone: { type: 'string', default: '129', help: 'Pairs that are also scored alone.' },
  processes: { type: 'string', default: String(cpuBudget()), help: 'Processes of each program.' },
  threads: { type: 'string', default: '1', help: 'Threads of each process.' },
  passages: { type: 'string', default: '20', help: 'Passages of a request to the service.' },
  'in-flight': { type: 'string', default: '16', help: 'Requests in flight.' },
  only: { type: 'string', default: '', help: 'Rows by id, comma-separated; the baseline is always there.' },
  accuracy: {
    type: 'string',
    default: '',
    help: 'JSON of an earlier run (--json): its nDCG, error and drift are shown.',
  },
  deadline: { type: 'string', default: '300', help: 'Seconds that a program may take to start, or for a round.' },
  json: { type: 'string', help: 'File to write all results to.' },
  markdown: { type: 'string', help: 'File to write the table to.' },
  svg: { type: 'string', help: 'File to draw the bars to.' },
});

/** Instructions that int8 and bf16 need to be fast. */
const INSTRUCTIONS = ['avx2', 'avx_vnni', 'avx512_vnni', 'avx512_bf16', 'amx_int8'];

/** Says what this machine is. */
function machine(): string {
  const info = existsSync('/proc/cpuinfo') ? readFileSync('/proc/cpuinfo', 'utf8') : '';
  const has = new Set(/^flags\s*:(.*)$/m.exec(info)?.[1]?.split(' '));
  const fast = INSTRUCTIONS.filter((name) => has.has(name)).join(', ');
  return `${cpus()[0]?.model} (${fast}), ${cpuBudget()} cores, Linux ${release()}, node ${process.version}`;
}

const DEADLINE_MS = 1000 * Number(flags.deadline);
/** Programs that are started at the same time. */
const STARTS = 4;

/** Returns the rows that were asked for. @throws Error for an id that no row has. */
function chosen(): readonly Row[] {
  if (flags.only === '') return ROWS;
  const ids = flags.only.split(',').map((id) => id.trim());
  const known = ROWS.map(({ id }) => id);
  for (const id of ids)
    if (!known.includes(id)) throw new Error(`--only: expected ids of ${known.join(', ')}, got ${id}`);
  return ROWS.filter(({ id }) => id === BASELINE || ids.includes(id));
}

async function openScene(): Promise<Scene> {
  const version = resolve(flags.model);
  if (!existsSync(join(version, 'model.json'))) {
    if (!flags.make) throw new Error(`expected a model in ${version}, found none: --make trains it`);
    await makeModel(resolve(flags.data));
  }
  const { maxLength } = JSON.parse(readFileSync(join(version, 'model.json'), 'utf8')) as { maxLength: number };
  const size = { depth: Number(flags.depth), lists: Number(flags.lists), alone: Number(flags.alone) };
  const work = await readWork(resolve(flags.data), version, maxLength, size);
  const plain = join(version, '../../../plain');
  return {
    work,
    layout: { processes: Number(flags.processes), threads: Number(flags.threads) },
    version,
    registry: join(version, '../..'),
    plain,
    why: await preparePeers(flags.python, version, plain, work),
    python: flags.python,
    load: { passages: Number(flags.passages), inFlight: Number(flags['in-flight']) },
    deadlineMs: DEADLINE_MS,
  };
}

async function openAll(entries: readonly Entry[], scene: Scene): Promise<void> {
  const waiting = [...entries];
  const one = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) await next.open(scene);
  };
  await Promise.all(Array.from({ length: STARTS }, one));
}

/** Shows the accuracy of an earlier run in place of measuring it. */
function readAccuracy(entries: readonly Entry[], file: string): void {
  const { results } = JSON.parse(readFileSync(file, 'utf8')) as Found;
  for (const entry of entries) entry.accuracy = results.find(({ id }) => id === entry.row.id)?.accuracy;
}

/** Scores all pairs with each contestant in turn. */
async function measureAccuracy(entries: readonly Entry[], work: Work): Promise<void> {
  let exact: Float64Array | undefined;
  const twin = ({ row }: Entry) => entries.find((other) => other.row.id === row.scoresAs && other.contestant);
  for (const entry of entries.filter((one) => twin(one) === undefined))
    await entry.attempt(async (contestant) => {
      const together = await contestant.together();
      if (entry.row.id === BASELINE) exact = together;
      const scores = { alone: await contestant.alone(), mixed: await contestant.mixed() };
      entry.accuracy = accuracyOf(work, together, scores, exact);
      const { ndcg, drift, mixedDrift } = entry.accuracy;
      note(`${entry.row.title}: nDCG@10 ${ndcg.toFixed(4)}, drift ${drift}, ${mixedDrift} among mixed lengths`);
    });
  for (const entry of entries) entry.accuracy ??= twin(entry)?.accuracy;
}

/** Lets contestants take turns, every other round in the opposite order. */
async function race(entries: readonly Entry[], rounds: number): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    for (const entry of round % 2 ? entries.toReversed() : entries) await entry.time();
    note(`round ${round + 1} of ${rounds}`);
  }
}

function write(found: Found): void {
  const text = markdown(found);
  process.stdout.write(`${text}\n`);
  if (flags.markdown) writeFileSync(flags.markdown, `${text}\n`);
  if (flags.json) writeFileSync(flags.json, `${JSON.stringify(found, null, 1)}\n`);
}

/** Ends every process that was started, also those of a program that failed to start and after Ctrl-C. */
function endWithAll(): void {
  process.once('SIGINT', () => process.exit(130));
  process.once('SIGTERM', () => process.exit(143));
  process.once('exit', () => {
    for (const pid of processTree(process.pid).slice(1)) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended meanwhile.
      }
    }
  });
}

async function main(): Promise<void> {
  endWithAll();
  const scene = await openScene();
  const { work, layout, load } = scene;
  const entries = chosen().map((row) => new Entry(row));
  try {
    await openAll(entries, scene);
    if (flags.accuracy) readAccuracy(entries, flags.accuracy);
    else await measureAccuracy(entries, work);
    const pids = entries.flatMap(({ contestant }) => contestant?.pids ?? []);
    const others = watchOthers(pids);
    await race(entries, Number(flags.rounds));
    const tokens = work.speed.reduce((sum, place) => sum + work.rows[place]!.ids.length, 0) / work.speed.length;
    const found: Found = {
      machine: machine(),
      pairs: work.speed.length,
      tokens: Math.round(tokens),
      layout: `${layout.processes} processes of ${layout.threads} thread`,
      load: `the service gets ${load.passages} passages a request, ${load.inFlight} requests in flight`,
      otherCpu: others(),
      results: entries.map((entry) => entry.result()),
    };
    write(found);
    if (flags.svg) writeFileSync(flags.svg, await peersSvg(found));
  } finally {
    await Promise.all(entries.map(({ contestant }) => contestant?.close()));
  }
}

await main();
