import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WHOLE_READS } from '../src/experiments/analysis/report-desk.ts';
import { inOwnThread } from '../src/experiments/analysis/report-runner.ts';
import { checkExperiment, configHash } from '../src/experiments/definitions/definition.ts';
import type { ExperimentStore, Exposure, Outcome } from '../src/experiments/records.ts';
import { openStore } from '../src/experiments/store/store.ts';
import { createRandom } from '../src/util/random.ts';
import { mean, median } from './load/figures.ts';
import { readFlags } from './load/flags.ts';
import { cpuSecondsNamed } from './load/processes.ts';

const ABOUT = `
Measures what an open console tab costs: processor time of the report (every 5 s) and of the series (every 15 s) of one experiment, while
exposures and outcomes go on arriving.

Prints the first report and series, the median and the largest of the later ones, and the share of a core: that of the reports, and the limit
for what is read as a whole. With --postgres, the processes of the server count too. Ends with exit code 1 if a tab costs more than 1 %.
`;

const flags = readFlags('reports', ABOUT, {
  exposures: {
    type: 'string',
    default: '200000',
    help: 'Exposures at the start; half as many units, a quarter as many outcomes.',
  },
  polls: { type: 'string', default: '24', help: 'Reports after the first; every third with a series.' },
  arriving: {
    type: 'string',
    default: '100',
    help: 'Exposures that arrive between two reports, and half as many outcomes.',
  },
  mode: { type: 'string', default: 'split', help: 'split or interleave.' },
  postgres: { type: 'string', default: '', help: 'postgres:// URL of an empty database; SQLite if absent.' },
});

const mode = flags.mode === 'interleave' ? 'interleave' : 'split';
const experiment = checkExperiment(
  {
    name: 'bench',
    mode,
    arms: [
      { name: 'a', model: 'm' },
      { name: 'b', model: 'n' },
    ],
    control: 'a',
    metrics: [{ name: 'clicks' }, { name: 'ctr', kind: 'ratio', numerator: 'clicks', denominator: 'exposures' }],
  },
  'bench',
);
const hash = configHash(experiment);
const random = createRandom(1);
const count = Number(flags.exposures);
let serial = 0;

function exposure(at: number): Exposure {
  const unit = random.below(Math.max(1, count / 2));
  const items = Array.from({ length: 10 }, (_, index) => ({
    digest: '0123456789abcdef',
    index,
    score: random.next(),
    ...(mode === 'interleave' ? { team: index % 2 === 0 ? 'a' : 'b', ranks: { a: index, b: 9 - index } } : {}),
  }));
  return {
    requestId: `r${++serial}`,
    at,
    experiment: 'bench',
    configHash: hash,
    mode,
    unitKind: 'user',
    unit: `u${unit}`.padEnd(32, '0'),
    hashVersion: 2,
    arm: mode === 'interleave' ? 'interleaved' : unit % 2 === 0 ? 'a' : 'b',
    models: { a: 'm@1' },
    forced: false,
    failed: false,
    latencyMs: 20 + 30 * random.next(),
    truncated: 0,
    items,
    passages: 10,
  };
}

const outcome = (at: number): Outcome => ({
  key: `k${++serial}`,
  at,
  metric: 'clicks',
  value: 1,
  requestId: `r${1 + random.below(serial)}`,
  item: random.below(10),
});

async function fill(store: ExperimentStore, exposures: number, from: number, step: number): Promise<void> {
  for (let done = 0; done < exposures; done += 500) {
    const group = Array.from({ length: Math.min(500, exposures - done) }, (_, i) => exposure(from + (done + i) * step));
    await store.addExposures(group);
    const last = from + (done + group.length) * step;
    await store.addOutcomes(Array.from({ length: group.length >> 2 }, () => outcome(last)));
  }
}

/** Returns the processor time of each process of PostgreSQL servers on this machine, in seconds; none with SQLite. */
const serverSeconds = (): ReadonlyMap<number, number> => (flags.postgres ? cpuSecondsNamed('postgres') : new Map());

/** Runs work. @returns the processor time of all threads, and of the server, in milliseconds. */
async function cost(work: () => Promise<unknown>): Promise<number> {
  const [before, serverBefore] = [process.cpuUsage(), serverSeconds()];
  await work();
  const { user, system } = process.cpuUsage(before);
  let server = 0;
  for (const [pid, seconds] of serverSeconds()) server += seconds - (serverBefore.get(pid) ?? 0);
  return (user + system) / 1000 + 1000 * server;
}

const folder = mkdtempSync(join(tmpdir(), 'winnow-reports-'));
try {
  const target = flags.postgres || join(folder, 'experiments.sqlite');
  const store = await openStore(target);
  const start = Date.now() - 86_400_000;
  await fill(store, count, start, 80_000_000 / count);
  const runner = inOwnThread(target, {});
  const now = () => Date.now();
  const report = () => cost(() => runner.report(experiment, {}));
  const series = () => cost(() => runner.series(experiment, { points: 40, now: now(), until: undefined }));
  const first = [await report(), await series()];
  const reports: number[] = [];
  const drawn: number[] = [];
  for (let poll = 1; poll <= Number(flags.polls); poll++) {
    await fill(store, Number(flags.arriving), now(), 0.01);
    reports.push(await report());
    if (poll % 3 === 0) drawn.push(await series());
  }
  const line = (what: string, at: number, values: readonly number[]) =>
    `${what.padEnd(8)} first ${at.toFixed(0)} ms, then median ${median(values).toFixed(1)} ms, largest ${Math.max(...values).toFixed(1)} ms of processor time`;
  console.log(
    `${count} exposures, ${mode}, ${flags.postgres ? 'PostgreSQL' : 'SQLite'}; ${flags.arriving} more before each report`,
  );
  console.log(line('report', first[0]!, reports));
  console.log(line('series', first[1]!, drawn));
  const share = WHOLE_READS + (mode === 'split' ? mean(reports) / 5000 : 0);
  console.log(
    `one tab: at most ${(100 * share).toFixed(2)} % of a core, of which ${100 * WHOLE_READS} % for series and whole reads`,
  );
  if (share > 0.01) process.exitCode = 1;
  await runner.close();
  await store.close();
} finally {
  rmSync(folder, { recursive: true, force: true });
}
