import type { Exposure, Outcome } from '../../src/experiments/records.ts';
import { openStore } from '../../src/experiments/store/store.ts';
import { createRandom } from '../../src/util/random.ts';

/* Experiments with users who click at known rates, written to a store as the server writes them. */

const HOUR_MS = 3_600_000;

export const DEFINITIONS = {
  experiments: [
    {
      name: 'listwise-loss',
      arms: [
        { name: 'pointwise', model: 'm@1' },
        { name: 'listwise', model: 'm@2' },
      ],
      control: 'pointwise',
      metrics: [{ name: 'clicks' }, { name: 'reformulations', direction: 'down' }],
      guardrails: [{ metric: 'errors', max: 0.02 }],
    },
    {
      name: 'lost-units',
      arms: [
        { name: 'old', model: 'm@1' },
        { name: 'new', model: 'm@2' },
      ],
      control: 'old',
      metrics: [{ name: 'clicks' }],
    },
    {
      name: 'drafted',
      mode: 'interleave',
      arms: [
        { name: 'first', model: 'm@1' },
        { name: 'second', model: 'm@2' },
      ],
      control: 'first',
      metrics: [{ name: 'clicks' }],
    },
    {
      name: 'beside',
      mode: 'shadow',
      arms: [
        { name: 'seen', model: 'm@1' },
        { name: 'unseen', model: 'm@2' },
      ],
      control: 'seen',
      metrics: [{ name: 'clicks' }],
    },
  ],
} as const;

interface Log {
  readonly exposures: Exposure[];
  readonly outcomes: Outcome[];
  /** End of the simulated time, in milliseconds since 1970. */
  readonly now: number;
  readonly random: ReturnType<typeof createRandom>;
}

type Details = Pick<Exposure, 'experiment' | 'mode' | 'arm'> & Partial<Exposure>;

/** Returns which versions the definition lets answer: those of all arms where rankings are interleaved. */
function modelsOf({ experiment, arm, mode }: Details): Exposure['models'] {
  const arms = DEFINITIONS.experiments.find(({ name }) => name === experiment)?.arms ?? [];
  const answering = arms.filter(({ name }) => mode === 'interleave' || name === arm);
  return Object.fromEntries(answering.map(({ name, model }) => [name, model]));
}

function expose({ exposures, now, random }: Log, unit: string, details: Details): Exposure {
  const exposure: Exposure = {
    requestId: `${details.experiment}-${exposures.length}`,
    at: Math.floor(now - random.next() * 240 * HOUR_MS),
    configHash: 'simulated',
    unitKind: 'user',
    hashVersion: 2,
    forced: false,
    failed: false,
    truncated: 0,
    unit,
    models: modelsOf(details),
    latencyMs: 20 + 30 * random.next(),
    items: [],
    ...details,
  };
  exposures.push(exposure);
  return exposure;
}

function react({ outcomes, now }: Log, { requestId, at }: Exposure, metric: string, item?: number): void {
  const place = item === undefined ? {} : { item };
  outcomes.push({
    key: `${requestId}-${metric}`,
    at: Math.min(now, at + 60_000),
    metric,
    value: 1,
    requestId,
    ...place,
  });
}

/** Half of the users per arm; clicks on 30 % of answers in control and 36 % in the other arm, reformulations on 20 % in both. */
function split(log: Log, users: number): void {
  const rates: Readonly<Record<string, number>> = { pointwise: 0.3, listwise: 0.36 };
  for (let user = 0; user < users; user++) {
    const arm = user % 2 === 0 ? 'pointwise' : 'listwise';
    for (let request = 0; request < 2; request++) {
      const exposure = expose(log, `user ${user}`, { experiment: 'listwise-loss', mode: 'split', arm });
      if (log.random.next() < rates[arm]!) react(log, exposure, 'clicks');
      if (log.random.next() < 0.2) react(log, exposure, 'reformulations');
    }
  }
}

/** Every third user of one arm is missing. */
function lost(log: Log, users: number): void {
  for (let user = 0; user < users; user++)
    if (user % 2 === 0 || user % 3 !== 0)
      expose(log, `user ${user}`, { experiment: 'lost-units', mode: 'split', arm: user % 2 === 0 ? 'old' : 'new' });
}

/** One item from each team; that of the second is clicked twice as often. */
function interleaved(log: Log, answers: number): void {
  for (let i = 0; i < answers; i++) {
    const items = ['first', 'second'].map((team, index) => ({
      digest: `${index}`.repeat(16),
      index,
      score: 1 - index,
      team,
      ranks: { [team]: 0 },
    }));
    const exposure = expose(log, `user ${i}`, {
      experiment: 'drafted',
      mode: 'interleave',
      arm: 'interleaved',
      items,
    });
    react(log, exposure, 'clicks', log.random.next() < 2 / 3 ? 1 : 0);
  }
}

function shadowed(log: Log, answers: number): void {
  for (let i = 0; i < answers; i++) {
    const figures = { kendall_tau: 0.8 + 0.1 * log.random.next(), top1_flip: log.random.next() < 0.1 ? 1 : 0 };
    expose(log, `user ${i}`, { experiment: 'beside', mode: 'shadow', arm: 'seen', shadow: { unseen: figures } });
  }
}

/** Writes ten days of exposures and outcomes up to `now`. Clicks are the same in every run. */
export async function simulate(
  database: string,
  { now, users }: { readonly now: number; readonly users: number },
): Promise<void> {
  const log: Log = { exposures: [], outcomes: [], now, random: createRandom(20_261) };
  split(log, users);
  lost(log, users / 4);
  interleaved(log, users / 4);
  shadowed(log, 100);
  const store = await openStore(database);
  await store.addExposures(log.exposures);
  await store.addOutcomes(log.outcomes);
  await store.close();
}
