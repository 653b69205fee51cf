/*
 * Runs an experiment from end to end, with simulated users whose behavior is known:
 *
 *   npm run simulate:experiment -- [--users 20000] [--lift 0.12] [--out runs/experiment]
 *
 * Starts a real server with the shipped models and experiments.yaml, simulates users who visit once or twice, click and return goods, and
 * prints the report. Users of `margin-mse` click more often by `lift` and return as much as others. The answers are not read: the run checks
 * the experiment, not the models.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { startServerProcess } from '../../bench/load/server.ts';
import { startProgress } from '../../src/util/progress.ts';
import { createRandom } from '../../src/util/random.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const { values: flags } = parseArgs({
  options: {
    users: { type: 'string', default: '20000' },
    lift: { type: 'string', default: '0.12' },
    seed: { type: 'string', default: '1' },
    out: { type: 'string', default: join(ROOT, 'runs/experiment') },
  },
});
const [users, lift] = [Number(flags.users), Number(flags.lift)];
const out = resolve(flags.out);
const database = join(out, 'experiments.sqlite');

/** Outcomes of a visit by a user of control, and share of users who visit twice. */
const CLICKS = 0.3;
const RETURNS = 0.05;
const SECOND_VISIT = 0.25;
const VISITS_AT_ONCE = 16;
const OUTCOMES_PER_CALL = 500;

const QUESTIONS = [
  ['how long does a flea live', 'A flea can live up to a year.', 'Bridges are inspected every five years.'],
  ['opening hours of the museum', 'The museum opens at ten.', 'Fleas bite cats and dogs.'],
  ['how to sharpen a kitchen knife', 'Draw the blade over a whetstone.', 'The committee meets on Thursday.'],
] as const;

interface Outcome {
  readonly request_id: string;
  readonly metric: string;
  readonly item?: number;
}

const random = createRandom(Number(flags.seed));

/** Every user once, some twice, in one order: a user's second visit comes after the first. */
const visits = Array.from({ length: users }, (_, i) => `user-${i}`).flatMap((user) =>
  random.next() < SECOND_VISIT ? [user, user] : [user],
);

async function visit(url: string, user: string, draws: readonly [number, number, number]): Promise<Outcome[]> {
  const [query, ...texts] = QUESTIONS[Math.floor(draws[0] * QUESTIONS.length)]!;
  const answer = await fetch(`${url}/rerank`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-user-id': user },
    body: JSON.stringify({ query, texts }),
  });
  await answer.arrayBuffer();
  if (answer.status !== 200) throw new Error(`expected 200, got ${answer.status}`);
  const request_id = answer.headers.get('x-request-id')!;
  const factor = answer.headers.get('x-winnow-arm') === 'margin-mse' ? 1 + lift : 1;
  const done: Outcome[] = [];
  if (draws[1] < CLICKS * factor) done.push({ request_id, metric: 'clicks', item: 0 });
  if (draws[2] < RETURNS) done.push({ request_id, metric: 'returns' });
  return done;
}

async function sendOutcomes(url: string, outcomes: readonly Outcome[]): Promise<void> {
  for (let at = 0; at < outcomes.length; at += OUTCOMES_PER_CALL) {
    const body = JSON.stringify(outcomes.slice(at, at + OUTCOMES_PER_CALL));
    const headers = { 'content-type': 'application/json' };
    const answer = await fetch(`${url}/v1/outcomes`, { method: 'POST', headers, body });
    if (answer.status !== 200) throw new Error(`outcomes: expected 200, got ${answer.status} ${await answer.text()}`);
  }
}

async function simulate(url: string): Promise<void> {
  const progress = startProgress('visits', visits.length);
  let waiting: Outcome[] = [];
  for (let at = 0; at < visits.length; at += VISITS_AT_ONCE) {
    const group = visits.slice(at, at + VISITS_AT_ONCE);
    const draws = group.map(() => [random.next(), random.next(), random.next()] as const);
    waiting.push(...(await Promise.all(group.map((user, i) => visit(url, user, draws[i]!)))).flat());
    if (waiting.length >= OUTCOMES_PER_CALL) {
      await sendOutcomes(url, waiting);
      waiting = [];
    }
    progress.update(at + group.length, 'visits');
  }
  await sendOutcomes(url, waiting);
  progress.stop();
}

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
const file = join(import.meta.dirname, 'experiments.yaml');
const server = await startServerProcess({ flags: ['--experiments', file, '--experiments-database', database] });
try {
  await simulate(server.url);
} finally {
  await server.stop();
}
const report = ['experiments', 'report', 'new-objective', '--database', database];
spawnSync(process.execPath, [join(ROOT, 'bin/winnow.mjs'), ...report, '--out', join(out, 'report')], { cwd: ROOT });
spawnSync(process.execPath, [join(ROOT, 'bin/winnow.mjs'), ...report], { stdio: 'inherit', cwd: ROOT });
