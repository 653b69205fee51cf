/*
 * Shows what ordinary events do to the verdict of an experiment whose true effect is known:
 *
 *   npm run simulate:events -- [--runs 200] [--units 1000] [--limit 900]
 *
 * Each event is simulated `runs` times with `units` users, in a database in memory. The table gives the verdicts of the same logs by the
 * rules in former-reading.ts and by the present ones. The command fails where experiments without an effect are decided more often than α allows.
 */
import { parseArgs } from 'node:util';
import { analyze } from '../../src/experiments/analysis/analyze.ts';
import {
  assign,
  type PreparedExperiment,
  prepareExperiment,
} from '../../src/experiments/assignment/prepared-experiment.ts';
import { checkExperiment, type Experiment } from '../../src/experiments/definitions/definition.ts';
import { diffOf } from '../../src/experiments/definitions/diff.ts';
import { countsAgainstArm, GuardrailWatch } from '../../src/experiments/recording/guardrails.ts';
import type { ExperimentStore, Exposure, Outcome } from '../../src/experiments/records.ts';
import { openStore } from '../../src/experiments/store/store.ts';
import { textTable } from '../../src/reports/tables.ts';
import { terminalSection } from '../../src/reports/terminal.ts';
import { betaI } from '../../src/statistics/special.ts';
import { startProgress } from '../../src/util/progress.ts';
import { createRandom, deriveSeed, type Random } from '../../src/util/random.ts';
import { formerVerdict } from './former-reading.ts';

const { values: flags } = parseArgs({
  options: {
    runs: { type: 'string', default: '200' },
    units: { type: 'string', default: '1000' },
    limit: { type: 'string', default: '900' },
  },
});
const [runs, units, limitS] = [Number(flags.runs), Number(flags.units), Number(flags.limit)];

const ALPHA = 0.05;
const START = Date.parse('2026-11-01T00:00:00Z');
const MINUTE_MS = 60_000;
/** Mean clicks of a visit in control. */
const CLICKS = 0.5;
/** Clicks of a returning user relative to a new one. */
const RETURNING_ACTIVITY = 4;

/** A stretch of time under one definition. */
interface Stage {
  readonly definition: object;
  /** Clicks in arm b relative to control: 1 is no effect. */
  readonly factor: number;
  /** Version that answers for arm b. */
  readonly version?: string;
  /** New users of this stage, as a share of all. */
  readonly share: number;
  /** Share of the users of earlier stages who come back. */
  readonly returning?: number;
}

interface Event {
  readonly name: string;
  readonly truth: string;
  /** There is no effect: every decision for an arm is false. */
  readonly isNull: boolean;
  readonly stages: readonly Stage[];
  /** How far the clocks of clients are behind, in milliseconds. */
  readonly behindMs?: number;
  /** Clicks and orders of a visit have the same key; the first of the two that is sent is no metric of the verdict. */
  readonly sharedKeys?: boolean;
  /** Share of users of arm b that are lost. */
  readonly lost?: number;
}

const weights = (a: number, b: number, model = 'm@2') => ({
  arms: [
    { name: 'a', model: 'm@1', weight: a },
    { name: 'b', model, weight: b },
  ],
});
const EVEN = weights(1, 1);

const EVENTS: readonly Event[] = [
  { name: 'none', truth: 'no effect', isNull: true, stages: [{ definition: EVEN, factor: 1, share: 1 }] },
  {
    name: 'clocks 2 s behind',
    truth: 'no effect',
    isNull: true,
    behindMs: 2000,
    stages: [{ definition: EVEN, factor: 1, share: 1 }],
  },
  {
    name: 'clocks 2 s behind',
    truth: 'b +108 %',
    isNull: false,
    behindMs: 2000,
    stages: [{ definition: EVEN, factor: 2.08, share: 1 }],
  },
  {
    name: 'b redefined',
    truth: 'first b +150 %, then none',
    isNull: true,
    stages: [
      { definition: EVEN, factor: 2.5, share: 0.5 },
      { definition: weights(1, 1, 'm@3'), factor: 1, version: 'm@3', share: 0.5 },
    ],
  },
  {
    name: 'b redefined',
    truth: 'first b −60 %, then +150 %',
    isNull: false,
    stages: [
      { definition: EVEN, factor: 0.4, share: 0.5 },
      { definition: weights(1, 1, 'm@3'), factor: 2.5, version: 'm@3', share: 0.5 },
    ],
  },
  {
    name: 'weights 9 : 1 → 1 : 1',
    truth: 'no effect',
    isNull: true,
    stages: [
      { definition: weights(9, 1), factor: 1, share: 0.5 },
      { definition: EVEN, factor: 1, share: 0.5, returning: 0.5 },
    ],
  },
  {
    name: 'the same, all users new',
    truth: 'b +108 %',
    isNull: false,
    stages: [
      { definition: weights(9, 1), factor: 2.08, share: 0.4 },
      { definition: EVEN, factor: 2.08, share: 0.6 },
    ],
  },
  {
    name: 'the same, sticky',
    truth: 'no effect',
    isNull: true,
    stages: [
      { definition: { ...weights(9, 1), sticky: true }, factor: 1, share: 0.4 },
      { definition: { ...EVEN, sticky: true }, factor: 1, share: 0.6, returning: 0.5 },
    ],
  },
  {
    name: 'the same, sticky',
    truth: 'b +108 %',
    isNull: false,
    stages: [
      { definition: { ...weights(9, 1), sticky: true }, factor: 2.08, share: 0.4 },
      { definition: { ...EVEN, sticky: true }, factor: 2.08, share: 0.6, returning: 0.5 },
    ],
  },
  {
    name: 'one key for two metrics',
    truth: 'b +108 %',
    isNull: false,
    sharedKeys: true,
    stages: [{ definition: EVEN, factor: 2.08, share: 1 }],
  },
  {
    name: '20 users of 99 : 1',
    truth: 'no effect',
    isNull: true,
    stages: [{ definition: weights(99, 1), factor: 1, share: 20 / units }],
  },
  {
    name: '60 % of the users of b lost',
    truth: 'b +108 %',
    isNull: false,
    lost: 0.6,
    stages: [{ definition: EVEN, factor: 2.08, share: 1 }],
  },
];

function poisson(mean: number, random: Random): number {
  let [count, product] = [0, random.next()];
  for (const floor = Math.exp(-mean); product > floor; product *= random.next()) count++;
  return count;
}

/** The log of one simulated experiment. */
class Log {
  readonly exposures: Exposure[] = [];
  readonly outcomes: Outcome[] = [];
  readonly #firstArms = new Map<string, string>();
  readonly #event: Event;
  readonly #name: string;
  readonly #random: Random;
  at = START;

  constructor(event: Event, name: string, random: Random) {
    this.#event = event;
    this.#name = name;
    this.#random = random;
  }

  /** Adds one visit of a user. @param activity clicks relative to a first visit. */
  visit(user: string, prepared: PreparedExperiment, { factor, version = 'm@2' }: Stage, activity: number): void {
    const { definition } = prepared;
    this.at += MINUTE_MS;
    const drawn = definition.arms[assign(prepared, user)]!.name;
    const arm = (definition.sticky ? this.#firstArms.get(user) : undefined) ?? drawn;
    this.#firstArms.set(user, this.#firstArms.get(user) ?? arm);
    const { lost = 0, sharedKeys, behindMs = 0 } = this.#event;
    if (arm === 'b' && this.#random.next() < lost) return;
    const requestId = `${this.#name}-${this.exposures.length}`;
    const models = { [arm]: arm === 'b' ? version : 'm@1' };
    this.exposures.push({
      ...EXPOSURE,
      requestId,
      at: this.at,
      experiment: this.#name,
      configHash: prepared.hash,
      unit: `${this.#name} ${user}`,
      arm,
      models,
    });
    const clicks = poisson(CLICKS * activity * (arm === 'b' ? factor : 1), this.#random);
    const outcome = { at: this.at + 1000 - behindMs, behindMs: 300_000, requestId };
    const sent = sharedKeys ? ['visits', 'clicks'] : ['clicks'];
    for (const metric of sent)
      if (metric === 'visits' || clicks > 0)
        this.outcomes.push({
          ...outcome,
          key: sharedKeys ? requestId : `${requestId} ${metric}`,
          metric,
          value: metric === 'visits' ? 1 : clicks,
        });
  }
}

const EXPOSURE = {
  mode: 'split',
  unitKind: 'user',
  hashVersion: 2,
  forced: false,
  failed: false,
  latencyMs: 20,
  truncated: 0,
  items: [],
} as const;

async function put(
  store: ExperimentStore,
  before: Experiment | undefined,
  { definition, hash }: PreparedExperiment,
  at: number,
) {
  const { name } = definition;
  const stored = {
    name,
    source: 'api',
    at,
    who: 'simulation',
    configHash: hash,
    definition: JSON.stringify(definition),
  } as const;
  const action = before ? 'changed' : 'created';
  await store.putDefinition(stored, {
    at,
    who: 'simulation',
    experiment: name,
    action,
    configHash: hash,
    diff: diffOf(before, definition),
  });
}

/** Simulates an experiment once. @returns its verdict by the former rules and now. */
async function simulate(
  store: ExperimentStore,
  event: Event,
  run: number,
): Promise<readonly [before: string, now: string]> {
  const name = `trial-${run}`;
  const random = createRandom(deriveSeed(1, event.name, event.truth, run));
  const log = new Log(event, name, random);
  const users: string[] = [];
  let last: Experiment | undefined;
  for (const stage of event.stages) {
    const document = { name, control: 'a', metrics: [{ name: 'clicks' }], ...stage.definition };
    const prepared = prepareExperiment(checkExperiment(document, 'simulation'));
    await put(store, last, prepared, log.at);
    last = prepared.definition;
    const returning = users.filter(() => random.next() < (stage.returning ?? 0));
    const fresh = Array.from({ length: Math.round(units * stage.share) }, (_, i) => `user ${users.length + i}`);
    for (const user of fresh) log.visit(user, prepared, stage, 1);
    // Returning users click more: leaving them out of one arm only would show as an effect.
    for (const user of returning) log.visit(user, prepared, stage, RETURNING_ACTIVITY);
    users.push(...fresh);
  }
  await store.addExposures(log.exposures);
  await store.addOutcomes(log.outcomes);
  const { verdict } = await analyze(store, last!);
  return [formerVerdict(last!, log.exposures, log.outcomes), verdict.state];
}

/** Returns whether 600 requests of both arms with a deadline of 1 ms take arm b out, formerly and now. */
function deadlines(run: number): readonly [before: string, now: string] {
  const definition = {
    name: 'trial',
    control: 'a',
    metrics: [{ name: 'clicks' }],
    guardrails: [{ metric: 'errors', max: 0.02 }],
    ...EVEN,
  };
  const prepared = prepareExperiment(checkExperiment(definition, 'simulation'));
  const random = createRandom(deriveSeed(2, run));
  const watch = new GuardrailWatch();
  let [ofB, failed, trips] = [0, 0, 0];
  for (let i = 0; i < 600; i++) {
    const arm = random.next() < 0.5 ? 'a' : 'b';
    const isLate = random.next() < 0.9;
    if (arm === 'b') ofB++;
    if (arm === 'b' && isLate) failed++;
    // What the client chose is no request of an arm.
    if (isLate && !countsAgainstArm('deadline_exceeded', true)) continue;
    if (watch.record(prepared, arm, { failed: isLate, latencyMs: isLate ? undefined : 1 })) trips++;
  }
  return [ofB >= 200 && failed / ofB > 0.02 ? 'taken out' : 'kept', trips > 0 ? 'taken out' : 'kept'];
}

/** Returns the upper limit of a share of which `k` in `n` were seen, at 95 % one-sided (Clopper and Pearson 1934), by bisection. */
function upperLimit(k: number, n: number): number {
  let [low, high] = [k / n, 1];
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (k === n || betaI(n - k, k + 1, 1 - middle) > 0.05) low = middle;
    else high = middle;
  }
  return high;
}

/** Probability of at least `k` of `n` where each has a chance of α. */
const chanceOf = (k: number, n: number): number => (k === 0 ? 1 : betaI(k, n - k + 1, ALPHA));

const counts = (verdicts: readonly string[]): string =>
  [...Map.groupBy(verdicts, (verdict) => verdict)]
    .map(([verdict, of]) => `${of.length} ${verdict}`)
    .sort()
    .join(', ');

const rows: string[][] = [];
const nulls: { readonly name: string; readonly decided: number; readonly all: number }[] = [];
const startedAt = performance.now();
const progress = startProgress('experiments', runs * EVENTS.length);
let done = 0;
let isCut = false;
for (const event of EVENTS) {
  const store = await openStore(':memory:');
  const verdicts: (readonly [string, string])[] = [];
  for (let run = 0; run < runs && !isCut; run++) {
    verdicts.push(await simulate(store, event, run));
    progress.update(++done, event.name);
    isCut = performance.now() - startedAt > 1000 * limitS;
  }
  await store.close();
  const [before, now] = [0, 1].map((i) => verdicts.map((one) => one[i as 0 | 1]));
  rows.push([event.name, event.truth, counts(before!), counts(now!)]);
  const decided = now!.filter((verdict) => verdict === 'win' || verdict === 'loss').length;
  if (event.isNull) nulls.push({ name: event.name, decided, all: now!.length });
}
progress.stop();
const late = Array.from({ length: runs }, (_, run) => deadlines(run));
rows.push([
  'deadlines of 1 ms',
  'no effect',
  counts(late.map(([before]) => before)),
  counts(late.map(([, now]) => now)),
]);
const head = ['event', 'truth', 'verdicts before', 'verdicts now'];
process.stdout.write(
  terminalSection(textTable({ title: `${runs} experiments of ${units} users an event`, head, rows })),
);
const decided = nulls.reduce((sum, one) => sum + one.decided, 0);
const all = nulls.reduce((sum, one) => sum + one.all, 0);
const limit = (100 * upperLimit(decided, all)).toFixed(1);
process.stdout.write(
  `\nWithout an effect: ${decided} of ${all} decided; at most ${limit} % with 95 % confidence (α = ${100 * ALPHA} %).\n`,
);
const excess = nulls.filter((one) => chanceOf(one.decided, one.all) < 0.01);
for (const one of excess)
  process.stdout.write(`${one.name}: ${one.decided} of ${one.all} decided, more than α allows.\n`);
if (isCut) process.stdout.write(`Stopped after ${limitS} s; rows have fewer experiments.\n`);
if (excess.length > 0 || isCut) process.exitCode = 1;
