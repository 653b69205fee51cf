import type { Exposure, Outcome } from '../../src/experiments/records.ts';
import { openStore } from '../../src/experiments/store/store.ts';
import { createRandom } from '../../src/util/random.ts';

/*
 * Experiments with users who click at known rates, written into a log as the server writes it.
 */

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

interface World {
  readonly exposures: Exposure[];
  readonly outcomes: Outcome[];
  /** Milliseconds since 1970 at which everything has happened. */
  readonly now: number;
  readonly random: ReturnType<typeof createRandom>;
}

type Details = Pick<Exposure, 'experiment' | 'mode' | 'arm'> & Partial<Exposure>;

function expose({ exposures, now, random }: World, unit: string, details: Details): Exposure {
  const exposure: Exposure = {
    requestId: `${details.experiment}-${exposures.length}`,
    at: Math.floor(now - random.next() * 240 * HOUR_MS),
    ...{ configHash: 'simulated', unitKind: 'user', hashVersion: 2, forced: false, failed: false, truncated: 0 },
    ...{ unit, models: { [details.arm]: 'm@1' }, latencyMs: 20 + 30 * random.next(), items: [] },
    ...details,
  };
  exposures.push(exposure);
  return exposure;
}

function react({ outcomes, now }: World, { requestId, at }: Exposure, metric: string, item?: number): void {
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

/** Half of the users each; clicks on 30 % of answers in control and 36 % in the other arm, reformulations on 20 % in both. */
function split(world: World, users: number): void {
  const rates: Readonly<Record<string, number>> = { pointwise: 0.3, listwise: 0.36 };
  for (let user = 0; user < users; user++) {
    const arm = user % 2 === 0 ? 'pointwise' : 'listwise';
    for (let request = 0; request < 2; request++) {
      const exposure = expose(world, `user ${user}`, { experiment: 'listwise-loss', mode: 'split', arm });
      if (world.random.next() < rates[arm]!) react(world, exposure, 'clicks');
      if (world.random.next() < 0.2) react(world, exposure, 'reformulations');
    }
  }
}

/** Every third user of one arm has gone missing. */
function lost(world: World, users: number): void {
  for (let user = 0; user < users; user++)
    if (user % 2 === 0 || user % 3 !== 0)
      expose(world, `user ${user}`, { experiment: 'lost-units', mode: 'split', arm: user % 2 === 0 ? 'old' : 'new' });
}

/** One item of each team; the second's is clicked twice as often. */
function interleaved(world: World, answers: number): void {
  for (let i = 0; i < answers; i++) {
    const items = ['first', 'second'].map((team, index) => ({
      digest: `${index}`.repeat(16),
      index,
      score: 1 - index,
      team,
      ranks: { [team]: 0 },
    }));
    const exposure = expose(world, `user ${i}`, {
      experiment: 'drafted',
      mode: 'interleave',
      arm: 'interleaved',
      items,
    });
    react(world, exposure, 'clicks', world.random.next() < 2 / 3 ? 1 : 0);
  }
}

function shadowed(world: World, answers: number): void {
  for (let i = 0; i < answers; i++) {
    const figures = { kendall_tau: 0.8 + 0.1 * world.random.next(), top1_flip: world.random.next() < 0.1 ? 1 : 0 };
    expose(world, `user ${i}`, { experiment: 'beside', mode: 'shadow', arm: 'seen', shadow: { unseen: figures } });
  }
}

/** Fills a log with ten days up to `now`. The same seed gives the same clicks. */
export async function simulate(
  database: string,
  { now, users }: { readonly now: number; readonly users: number },
): Promise<void> {
  const world: World = { exposures: [], outcomes: [], now, random: createRandom(20_261) };
  split(world, users);
  lost(world, users / 4);
  interleaved(world, users / 4);
  shadowed(world, 100);
  const store = await openStore(database);
  await store.addExposures(world.exposures);
  await store.addOutcomes(world.outcomes);
  await store.close();
}
