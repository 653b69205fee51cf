import { createHash } from 'node:crypto';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { type ServerProcess, startServerProcess } from '../../bench/load/server.ts';
import type { ExperimentReport } from '../../src/experiments/analysis/report-data.ts';
import type { Series } from '../../src/experiments/analysis/series.ts';
import { createRandom } from '../../src/util/random.ts';
import { type LabModel, openLab } from '../experiments/lab.ts';
import { FLEAS, Scratch } from './support.ts';

const scratch = new Scratch();
afterAll(() => scratch.clear());

const TRIAL = {
  name: 'shorter',
  mode: 'split',
  arms: [
    { name: 'long', model: 'm@1' },
    { name: 'short', model: 'm@2' },
  ],
  control: 'long',
  metrics: [
    { name: 'clicks' },
    { name: 'clicks-a-request', kind: 'ratio', denominator: 'exposures' },
    { name: 'orders' },
  ],
};

describe('a real server', () => {
  const folder = scratch.make();
  const file = join(folder, 'experiments.yaml');
  const KEYS = { admin: 'a secret of admins', shop: 'a secret of the shop' };
  let server: ServerProcess;

  /** Two versions of the shipped model; the second cuts pairs early, so that it ranks by their first words. */
  function registry(): string {
    const models = scratch.registry('1', '2');
    const manifest = join(models, 'm', '2', 'model.json');
    const { selfTest: _selfTest, ...rest } = JSON.parse(readFileSync(manifest, 'utf8'));
    writeFileSync(manifest, JSON.stringify({ ...rest, maxLength: 16 }));
    return models;
  }

  const write = (...experiments: readonly object[]) => {
    writeFileSync(`${file}.new`, stringify({ experiments }));
    renameSync(`${file}.new`, file);
  };

  const sha256 = (key: string) => createHash('sha256').update(key).digest('hex');

  const start = (models: string) =>
    startServerProcess({
      flags: [
        ...['--models', models, '--experiments', file, '--auth-keys-file', join(folder, 'keys.yaml')],
        ...['--experiments-database', join(folder, 'experiments.sqlite'), '--inference-hosts', '1'],
      ],
    });

  let models: string;
  beforeAll(async () => {
    write(TRIAL);
    const keys = [
      { name: 'ada', sha256: sha256(KEYS.admin), scopes: ['admin'] },
      { name: 'shop', sha256: sha256(KEYS.shop), scopes: ['rerank'] },
    ];
    writeFileSync(join(folder, 'keys.yaml'), stringify({ keys }));
    models = registry();
    server = await start(models);
  });
  afterAll(() => server?.stop());

  const call = (method: string, path: string, body?: unknown, headers: Record<string, string> = {}, key = KEYS.admin) =>
    fetch(`${server.url}${path}`, {
      method,
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  const json = async <T>(answer: Promise<Response>) => (await (await answer).json()) as T;
  const rerank = (user: string, headers: Record<string, string> = {}, key = KEYS.shop) =>
    call('POST', '/rerank', { query: FLEAS.query, texts: FLEAS.passages }, { 'x-user-id': user, ...headers }, key);
  const armOf = (answer: Response) => answer.headers.get('x-winnow-arm');
  const report = (name = 'shorter') => json<ExperimentReport>(call('GET', `/v1/experiments/${name}/report`));

  it('splits users between two versions, takes their outcomes, and reports the effect', async () => {
    const random = createRandom(1);
    // Each user's luck is drawn before the first request: answers that arrive in another order change nothing.
    const users = Array.from({ length: 240 }, (_, i) => ({ user: `user-${i}`, luck: random.next() }));
    const outcomes: object[] = [];
    const visit = async ({ user, luck }: { user: string; luck: number }) => {
      const answer = await rerank(user);
      expect(answer.status).toBe(200);
      expect(answer.headers.get('x-winnow-experiment')).toBe('shorter');
      const arm = armOf(answer);
      expect(answer.headers.get('x-winnow-model')).toBe(arm === 'long' ? 'm@1' : 'm@2');
      const request_id = answer.headers.get('x-request-id');
      if (luck < (arm === 'short' ? 0.8 : 0.2)) outcomes.push({ request_id, metric: 'clicks', item: 1 });
      await answer.arrayBuffer();
      return arm;
    };
    const arms: (string | null)[] = [];
    for (let i = 0; i < users.length; i += 8) arms.push(...(await Promise.all(users.slice(i, i + 8).map(visit))));
    const taken = await json<{ stored: number }>(call('POST', '/v1/outcomes', outcomes, {}, KEYS.shop));
    expect(taken.stored).toBe(outcomes.length);
    // Everybody who comes back gets the same arm.
    for (const i of [0, 7, 100]) expect(armOf(await rerank(users[i]!.user))).toBe(arms[i]);

    const seen = await report();
    expect(seen.sampleRatio!.ok).toBe(true);
    expect(seen.arms.map(({ units }) => units)).toEqual(
      ['long', 'short'].map((name) => arms.filter((arm) => arm === name).length),
    );
    const [clicks] = seen.metrics;
    expect(clicks!.comparisons[0]!.alwaysValid.interval[0]).toBeGreaterThan(0);
    expect(Math.abs(clicks!.comparisons[0]!.difference - 0.6)).toBeLessThan(0.15);
    expect(seen.verdict).toMatchObject({ state: 'win', winner: 'short' });
    const series = await json<Series>(call('GET', '/v1/experiments/shorter/series?points=4'));
    expect(series.points).toHaveLength(4);
  });

  it('metrics, log and exposures name arm and version', async () => {
    const labels = 'experiment="shorter",arm="short",model="m",version="2",status="200"';
    expect(await server.metric(`winnow_arm_requests_total{${labels}}`)).toBeGreaterThan(50);
    expect(await server.metric('winnow_exposures_stored_total')).toBeGreaterThanOrEqual(240);
    expect(await server.metric('winnow_experiments{state="running"}')).toBe(1);
    const line = await server.logged(({ msg, experiment }) => msg === 'request' && experiment !== undefined);
    expect(line.experiment).toMatchObject({ name: 'shorter' });
    expect(JSON.stringify(server.log)).not.toContain('user-17');
  });

  it('an arm can be forced by an admin only; an exact version is outside', async () => {
    const forced = await rerank('user-1', { 'x-winnow-arm': 'short' }, KEYS.admin);
    expect([armOf(forced), forced.headers.get('x-winnow-model')]).toEqual(['short', 'm@2']);
    expect((await rerank('user-1', { 'x-winnow-arm': 'short' })).status).toBe(403);
    const exact = await call('POST', '/rerank', { query: 'q', texts: ['a'], model: 'm@1' }, { 'x-user-id': 'user-1' });
    expect(armOf(exact)).toBeNull();
  });

  it('unknown requests are answered clearly, and only admins see results', async () => {
    const unknown = await call('POST', '/v1/outcomes', { request_id: 'nobody', metric: 'clicks' }, {}, KEYS.shop);
    expect(unknown.status).toBe(404);
    expect(await unknown.json()).toMatchObject({
      code: 'unknown_request',
      message: expect.stringContaining('90 days'),
    });
    expect((await call('GET', '/v1/experiments/shorter/report', undefined, {}, KEYS.shop)).status).toBe(403);
  });

  it('warns of keys with rerank that may send outcomes, because no key has the scope', () => {
    expect(server.log.filter(({ setting }) => setting === 'auth.keysFile')).toMatchObject([
      { level: 'warn', msg: expect.stringContaining('scope outcomes') },
    ]);
  });

  it('a changed file takes effect: interleaved answers tell their teams; the audit says who and what', async () => {
    write({ ...TRIAL, enabled: false }, { ...TRIAL, name: 'mixed', mode: 'interleave' });
    let answer = await rerank('user-1');
    while (answer.headers.get('x-winnow-experiment') !== 'mixed') answer = await rerank('user-1');
    expect(armOf(answer)).toBe('interleaved');
    const items = (await answer.json()) as { index: number }[];
    expect(items.map(({ index }) => index).toSorted()).toEqual([0, 1, 2, 3, 4]);
    expect(new Set(answer.headers.get('x-winnow-teams')?.split(', '))).toEqual(new Set(['long', 'short']));
    const sent = { request_id: answer.headers.get('x-request-id'), metric: 'clicks', item: items[0]!.index };
    expect((await call('POST', '/v1/outcomes', sent)).status).toBe(200);
    const credit = (await report('mixed')).credit[0]!;
    expect(credit.requests).toBe(1);
    const audits = async () => (await json<{ audits: object[] }>(call('GET', '/v1/experiments/shorter/audits'))).audits;
    while ((await audits()).length < 2);
    expect((await audits()).at(-1)).toMatchObject({
      action: 'changed',
      diff: '- enabled: true\n+ enabled: false',
      who: expect.stringMatching(/^experiments\.yaml/),
    });
    const refused = await call('PUT', '/v1/experiments/mixed', { ...TRIAL, name: 'mixed' });
    expect([refused.status, ((await refused.json()) as { code: string }).code]).toEqual([409, 'experiment_in_file']);
  });

  it('shadow arms made by the API are scored behind the answer', async () => {
    const { name: _name, ...definition } = TRIAL;
    write();
    const put = await call('PUT', '/v1/experiments/dark', { ...definition, mode: 'shadow' });
    expect(put.status).toBe(201);
    while (armOf(await rerank('user-1')) !== 'long');
    let shadow: ExperimentReport['shadow'] = {};
    while (!shadow.short) ({ shadow } = await report('dark'));
    expect(Object.keys(shadow.short)).toEqual(['kendall_tau', 'rbo', 'overlap_at_10', 'top_1_flip', 'score_drift']);
    const { audits } = await json<{ audits: object[] }>(call('GET', '/v1/experiments/dark/audits'));
    expect(audits).toMatchObject([{ who: 'ada', action: 'created' }]);
    expect((await call('DELETE', '/v1/experiments/dark')).status).toBe(204);
    expect((await call('GET', '/v1/experiments/dark')).status).toBe(404);
  });

  it('kill -9 loses no acknowledged outcome', async () => {
    write(TRIAL);
    while ((await rerank('user-1')).headers.get('x-winnow-experiment') !== 'shorter');
    const acknowledged: string[] = [];
    for (let i = 0; i < 20; i++) {
      const answer = await rerank(`killed-${i}`);
      const request_id = answer.headers.get('x-request-id')!;
      const taken = await call('POST', '/v1/outcomes', { request_id, metric: 'orders', key: request_id });
      expect(taken.status).toBe(200);
      acknowledged.push(request_id);
    }
    server.signal('SIGKILL');
    await server.ended;
    server = await start(models);
    const again = acknowledged.map((request_id) => ({ request_id, metric: 'orders', key: request_id }));
    const { duplicates } = await json<{ duplicates: number }>(call('POST', '/v1/outcomes', again));
    expect(duplicates).toBe(acknowledged.length);
    const changed = { ...again[0]!, value: 77 };
    const { conflicts } = await json<{ conflicts: number }>(call('POST', '/v1/outcomes', [changed]));
    expect(conflicts).toBe(1);
    const alone = await call('POST', '/v1/outcomes', changed);
    expect([alone.status, ((await alone.json()) as { code: string }).code]).toEqual([409, 'outcome_conflict']);
  });
});

describe('20,000 simulated users of a known effect', () => {
  const USERS = 20_000;
  /** Chance of a click by the place of the passage that answers the question. */
  const CLICKS = [0.4, 0.32, 0.25, 0.2, 0.15];
  /** `sharp` puts the best passage first, `blunt` second. */
  const models: Readonly<Record<string, LabModel>> = {
    blunt: (grade) => (grade === 5 ? 3.5 : grade),
    sharp: (grade) => grade,
  };
  const TRUE_LIFT = CLICKS[0]! / CLICKS[1]! - 1;

  it('the report finds it, its intervals hold it, the ratio is clean, and what has no effect shows none', async () => {
    const lab = await openLab(models);
    const definition = {
      mode: 'split',
      arms: [
        { name: 'old', model: 'blunt' },
        { name: 'new', model: 'sharp' },
      ],
      control: 'old',
      metrics: [
        { name: 'clicks' },
        { name: 'ctr', kind: 'ratio', denominator: 'exposures' },
        { name: 'returns', direction: 'down' },
      ],
      guardrails: [{ metric: 'errors', max: 0.05 }],
    };
    await lab.api.put('known', definition, 'ada');
    const random = createRandom(20_000);
    const outcomes: { request_id: string; metric: string }[] = [];
    let requests = 0;
    for (let i = 0; i < USERS; i++) {
      // Every fourth user comes twice, so that requests are no independent units.
      for (let visit = 0; visit < (i % 4 === 0 ? 2 : 1); visit++) {
        const { ranking } = await lab.ask(`user ${i}`, [2, 5, 1, 4, 3]);
        const request_id = `r${++requests}`;
        if (random.next() < CLICKS[ranking.findIndex(({ index }) => index === 1)]!)
          for (const metric of ['clicks', 'ctr']) outcomes.push({ request_id, metric });
        if (random.next() < 0.05) outcomes.push({ request_id, metric: 'returns' });
      }
      if (i % 500 === 0) lab.clock.advance(60_000);
    }
    for (let i = 0; i < outcomes.length; i += 5000) await lab.api.addOutcomes(outcomes.slice(i, i + 5000));
    const report = await lab.api.report('known');
    expect(lab.reported.lost).toEqual([]);
    expect(report.arms.reduce((sum, arm) => sum + arm.requests, 0)).toBe(requests);
    expect(report.sampleRatio!.ok).toBe(true);
    expect(report.crossed).toBe(0);
    for (const metric of report.metrics.slice(0, 2)) {
      const [comparison] = metric.comparisons;
      expect(comparison!.effect).toBe('better');
      for (const { liftInterval } of [comparison!.fixed, comparison!.alwaysValid]) {
        expect(liftInterval![0]).toBeGreaterThan(0);
        expect(liftInterval![0]).toBeLessThan(TRUE_LIFT);
        expect(liftInterval![1]).toBeGreaterThan(TRUE_LIFT);
      }
    }
    expect(report.metrics[2]!.comparisons[0]!.effect).toBe('none');
    expect(report.verdict).toMatchObject({ state: 'win', winner: 'new' });
    const { points } = await lab.api.series('known', 10);
    const lifts = points.map(({ comparisons }) => comparisons.find(({ metric }) => metric === 'clicks')?.lift ?? 0);
    expect(Math.abs(lifts.at(-1)! - TRUE_LIFT)).toBeLessThan(0.08);
    await lab.close();
  }, 120_000);
});
