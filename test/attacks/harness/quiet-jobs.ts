import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { MODELS, SHIPPED_NAMES } from '../../../bench/load/shipped.ts';

/*
 * Trains, publishes and evaluates a little, then goes on with training and evaluation until SIGTERM: what the drill `dns` listens to.
 * `node quiet-jobs.ts FOLDER`: all results are written to FOLDER.
 */

const ROOT = join(import.meta.dirname, '../../..');
const WINNOW = join(ROOT, 'bin/winnow.mjs');
const FIRST_RUN = join(ROOT, 'recipes/first-run');
const [folder] = process.argv.slice(2) as [string];

/** Returns the recipe of the first run with absolute paths, publishing to a registry in the folder. */
const recipe = (): string =>
  readFileSync(join(FIRST_RUN, 'recipe.yaml'), 'utf8')
    .replace('backbone: backbone', `backbone: ${FIRST_RUN}/backbone`)
    .replaceAll('path: data', `path: ${FIRST_RUN}/data`)
    .replaceAll('candidates: data', `candidates: ${FIRST_RUN}/data`)
    .replace('../../runs/first-run/registry', join(folder, 'registry'))
    .replace('queries: 8', 'queries: 2');

/** Returns a suite of all shipped models. */
const suite = (sets: number): string =>
  [
    'name: quiet',
    'depth: 20',
    'measures: [nDCG@10]',
    `models: [${SHIPPED_NAMES.join(', ')}]`,
    'sets:',
    ...Array.from({ length: sets }, (_, i) => `  - { name: set-${i}, path: ${FIRST_RUN}/data, split: test }`),
  ].join('\n');

function winnow(...args: readonly string[]): ChildProcess {
  return spawn(process.execPath, [WINNOW, ...args], {
    env: { ...process.env, WINNOW_MODELS: MODELS },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}

const terminated = once(process, 'SIGTERM');
// A listener of a signal does not keep a process.
const alive = setInterval(() => undefined, 60_000);
mkdirSync(folder, { recursive: true });
const recipePath = join(folder, 'recipe.yaml');
const shortSuite = join(folder, 'short.yaml');
const longSuite = join(folder, 'long.yaml');
writeFileSync(recipePath, recipe());
writeFileSync(shortSuite, suite(1));
// Longer than the drill.
writeFileSync(longSuite, suite(12));
const [[trained], [evaluated]] = await Promise.all([
  once(winnow('train', recipePath, '--steps', '4', '--run', join(folder, 'short')), 'exit'),
  once(winnow('eval', shortSuite, '--quick', '--out', join(folder, 'short-suite')), 'exit'),
]);
const jobs = [
  winnow('train', recipePath, '--steps', '1000000', '--run', join(folder, 'long')),
  winnow('eval', longSuite, '--out', join(folder, 'long-suite')),
];
const ends = Promise.all(jobs.map((job) => once(job, 'exit')));
await terminated;
clearInterval(alive);
const running = jobs.filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null).length;
for (const job of jobs) job.kill('SIGKILL');
await ends;
const published = existsSync(join(folder, 'registry/first-run/1'));
console.log(JSON.stringify({ trained, published, evaluated, running }));
