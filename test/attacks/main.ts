import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type ServerProcess, startServerProcess } from '../../bench/load/server.ts';
import { DRILLS } from './drills.ts';
import { fuzz, fuzzRegistry } from './fuzz.ts';
import { limitMemory } from './harness/cgroup.ts';
import type { Drill, Outcome, Target } from './harness/drill.ts';
import { trackStarts } from './harness/starts.ts';
import { watch } from './harness/witness.ts';
import { soak } from './soak.ts';

const ROOT = join(import.meta.dirname, '../..');
const MEMORY = 3 * 2 ** 30;
/** What one drill may make a server grow by. */
const GROWTH_MIB = 600;

const HELP = `Attacks a server of our own on this machine and says what held.

  npm run test:attacks                      every drill, a few minutes
  npm run test:attacks -- --only json,reader
  npm run test:attacks -- --scale 3         each drill three times as long
  npm run test:attacks -- --fuzz 100000     requests made from openapi.yaml, all routes
  npm run test:attacks -- --soak 30         drills together, again and again, for 30 minutes

Each drill prints its tries and failures; the exit code is 1 where something failed. The server runs in a memory cgroup of 3 GiB where one can
be made, and an ordinary client asks four times a second throughout.
`;

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    scale: { type: 'string', default: '1' },
    fuzz: { type: 'string' },
    seed: { type: 'string', default: '20261128' },
    soak: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});

type Report = Outcome & { readonly name: string };

/** Runs one drill with a folder and further servers of its own, and an ordinary client beside it. */
async function run(drill: Drill, server: ServerProcess, scale: number, start: Target['start']): Promise<Report> {
  const folder = mkdtempSync(join(tmpdir(), 'winnow-drill-'));
  const servers = trackStarts(start);
  const witness = watch(server.url);
  try {
    const outcome = await drill.run(
      {
        server,
        folder,
        growthMiB: GROWTH_MIB,
        patienceMs: 2000,
        start: servers.start,
      },
      scale,
    );
    const { requests, failures, slowestMs } = await witness.stop();
    const beside = `${requests} ordinary requests beside it, slowest ${slowestMs.toFixed(0)} ms`;
    return {
      ...outcome,
      name: drill.name,
      failures: [...outcome.failures, ...failures.map((failure) => `ordinary request: ${failure}`)],
      seen: `${outcome.seen}; ${beside}`,
    };
  } catch (error) {
    return { name: drill.name, tries: 0, failures: [`the drill itself failed: ${(error as Error).stack}`], seen: '' };
  } finally {
    await witness.stop();
    await servers.stopAll();
    rmSync(folder, { recursive: true, force: true });
  }
}

function print({ name, tries, failures, seen }: Report): void {
  process.stdout.write(
    `${name.padEnd(12)} ${String(tries).padStart(6)} tries ${String(failures.length).padStart(4)} failures  ${seen}\n`,
  );
  for (const failure of failures.slice(0, 10)) process.stdout.write(`             - ${failure}\n`);
}

/** Stops a server; returns 1, and says so, if it does not end well. */
async function stopped(server: ServerProcess): Promise<number> {
  const code = await server.stop();
  if (code === 0) return 0;
  process.stdout.write(`             - the server ended with ${code} instead of 0\n`);
  return 1;
}

async function runDrills(start: Target['start'], names: readonly string[] | undefined): Promise<number> {
  let failed = 0;
  for (const drill of DRILLS.filter(({ name }) => names?.includes(name) ?? true)) {
    const reason = drill.skip?.();
    if (reason) {
      process.stdout.write(`${drill.name.padEnd(12)} skipped: ${reason}\n`);
      continue;
    }
    const server = await start();
    const report = await run(drill, server, Number(values.scale), start);
    print(report);
    failed += report.failures.length + (await stopped(server));
  }
  return failed;
}

async function runFuzz(start: Target['start']): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'winnow-fuzz-'));
  try {
    const server = await start({ flags: ['--models', fuzzRegistry(folder)] });
    const { tries, failures } = await fuzz(server, Number(values.fuzz), Number(values.seed));
    print({ name: 'fuzz', tries, failures, seen: `seed ${values.seed}` });
    return failures.length + (await stopped(server));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Drills that attack the server they are given, and so may run together. */
const TOGETHER: readonly string[] = ['json', 'reader', 'upload', 'marks', 'browser'];

async function runSoak(start: Target['start']): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'winnow-soak-'));
  const server = await start();
  const drills = DRILLS.filter(({ name, skip }) => TOGETHER.includes(name) && skip?.() === undefined);
  // Two of them fill memory: readers and uploads.
  const target: Target = { server, folder, start, growthMiB: 2 * GROWTH_MIB, patienceMs: 5000 };
  try {
    const { rounds, failures, seen } = await soak(server, drills, target, Number(values.soak));
    print({ name: 'soak', tries: rounds, failures, seen });
    return failures.length + (await stopped(server));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function main(): Promise<number> {
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const names = values.only?.split(',');
  const unknown = names?.find((name) => !DRILLS.some((drill) => drill.name === name));
  if (unknown) throw new Error(`expected drills of ${DRILLS.map(({ name }) => name).join(', ')}, got ${unknown}`);
  const group = limitMemory(MEMORY);
  if (typeof group === 'string') process.stdout.write(`without a limit of memory: ${group}\n`);
  const command = [process.execPath, join(ROOT, 'bin/winnow.mjs'), 'serve', '--host', '127.0.0.1'];
  const start: Target['start'] = (options = {}) =>
    startServerProcess({ ...options, ...(typeof group === 'string' ? {} : { command: group.wrap(command) }) });
  let failed: number;
  if (values.fuzz) failed = await runFuzz(start);
  else if (values.soak) failed = await runSoak(start);
  else failed = await runDrills(start, names);
  if (typeof group !== 'string') {
    process.stdout.write(
      `peak memory of the cgroup: ${(group.peak() / 2 ** 20).toFixed(0)} MiB of ${MEMORY / 2 ** 20}\n`,
    );
    group.remove();
  }
  return failed > 0 ? 1 : 0;
}

process.exitCode = await main();
