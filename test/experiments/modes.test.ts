import { DatabaseSync } from 'node:sqlite';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { pText } from '../../src/console/web/format.ts';
import { rankCredit, teamCredit } from '../../src/experiments/analysis/credit.ts';
import { reportModel } from '../../src/experiments/analysis/report-tables.ts';
import { balanced } from '../../src/experiments/assignment/interleaving.ts';
import { compareRankings, inversions } from '../../src/experiments/recording/shadow-figures.ts';
import { createPassageCache } from '../../src/passages/passage-cache.ts';
import { pStatement, pValue } from '../../src/reports/format.ts';
import { renderTerminal } from '../../src/reports/terminal.ts';
import { kendall } from '../../src/statistics/rank-correlation.ts';
import { createRandom } from '../../src/util/random.ts';
import { balancedCredit } from './balanced-credit.ts';
import { type Lab, MODELS, openLab, SPLIT } from './lab.ts';

let lab: Lab;
afterEach(async () => {
  await lab?.close();
});

const open = async (definition: object, models = MODELS) => {
  lab = await openLab(models);
  await lab.api.put('trial', { ...SPLIT, ...definition }, 'ada');
};

const GRADES = [3, 1, 4, 7, 5, 9, 2, 6];
const [UP, DOWN] = [1, -1].map((sign) => GRADES.map((_, i) => i).sort((x, y) => sign * (GRADES[y]! - GRADES[x]!))) as [
  number[],
  number[],
];

describe('interleaving', () => {
  it.each(['team_draft', 'balanced'])(
    '%s: the answer tells each item’s team, the exposure both rankings',
    async (method) => {
      await open({ mode: 'interleave', method });
      const answer = await lab.ask('u', GRADES);
      expect(answer.experiment).toEqual({ name: 'trial', arm: 'interleaved' });
      expect(answer.ranking.map(({ index }) => index).toSorted((a, b) => a - b)).toEqual(GRADES.map((_, i) => i));
      expect(new Set(answer.ranking.map(({ team }) => team))).toEqual(new Set(['a', 'b']));
      // Clients sort by scores: they never rise along the answer.
      answer.ranking.slice(1).forEach(({ score }, i) => {
        expect(score).toBeLessThanOrEqual(answer.ranking[i]!.score);
      });
      await lab.api.addOutcomes([{ request_id: 'r1', metric: 'clicks', item: 5 }]);
      const store = await lab.service.store();
      for await (const { items } of store.clicks('trial', 'clicks')) {
        expect(items.map(({ index, team }) => [index, team])).toEqual(
          answer.ranking.map(({ index, team }) => [index, team]),
        );
        for (const { index, ranks } of items) expect(ranks).toEqual({ a: UP.indexOf(index), b: DOWN.indexOf(index) });
      }
    },
  );

  it('the exposure tells how much of the query the arms left out', async () => {
    await open({ mode: 'interleave' });
    for (const query of ['q '.repeat(30).trim(), 'a short one'])
      await lab.ask('u', GRADES, { query, requestId: `cut ${query.length}` });
    await lab.service.close();
    const database = new DatabaseSync(`${lab.folder}/experiments.sqlite`);
    const rows = database.prepare('SELECT request_id, query_truncated FROM winnow_exposures ORDER BY request_id').all();
    database.close();
    expect(rows.map(Object.values)).toEqual([
      ['cut 11', 0],
      ['cut 59', 22],
    ]);
  });

  it('the exposure tells how many passages were kept, over both arms', async () => {
    const sharing = { cache: createPassageCache({ bytes: 2 ** 20 }), shared: false };
    lab = await openLab(MODELS, { sharing });
    await lab.api.put('trial', { ...SPLIT, mode: 'interleave' }, 'ada');
    for (const [i, grades] of [GRADES, [...GRADES, 8]].entries())
      await lab.ask('u', grades, { query: '1', requestId: `asked ${i}` });
    await lab.service.close();
    const database = new DatabaseSync(`${lab.folder}/experiments.sqlite`);
    const rows = database.prepare('SELECT request_id, kept_passages FROM winnow_exposures ORDER BY request_id').all();
    database.close();
    expect(rows.map(Object.values)).toEqual([
      ['asked 0', 0],
      ['asked 1', 2 * GRADES.length],
    ]);
  });

  it('both arms are scored from one tokenization', async () => {
    await open({ mode: 'interleave' });
    await lab.ask('u', GRADES);
    expect(lab.encoded).toHaveLength(1);
    expect(lab.batches.toSorted()).toEqual(['interactive down@1', 'interactive up@1']);
  });

  it('the same request is interleaved the same way, others by other coins', async () => {
    await open({ mode: 'interleave' });
    const first = async (requestId: string) => (await lab.ask('u', GRADES, { requestId })).ranking[0]!.team;
    expect(await first('x')).toBe(await first('x'));
    const leads = await Promise.all(Array.from({ length: 100 }, (_, i) => first(`lead ${i}`)));
    const ofA = leads.filter((team) => team === 'a').length;
    expect(ofA).toBeGreaterThan(30);
    expect(ofA).toBeLessThan(70);
  });

  it('more than two arms are multileaved, a missing one leaves control alone', async () => {
    const arms = [...SPLIT.arms, { name: 'c', model: 'odd' }];
    const odd = (grade: number) => (grade % 2) * 10 + grade;
    await open({ mode: 'interleave', arms }, { ...MODELS, odd });
    const answer = await lab.ask('u', GRADES);
    expect(new Set(answer.ranking.map(({ team }) => team))).toEqual(new Set(['a', 'b', 'c']));
    await lab.api.put(
      'trial',
      { ...SPLIT, mode: 'interleave', arms: [...SPLIT.arms, { name: 'c', model: 'gone' }] },
      'ada',
    );
    const alone = await lab.ask('u', GRADES);
    expect(alone.experiment?.arm).toBe('a');
    expect(alone.ranking.map(({ index }) => index)).toEqual(UP);
    expect(lab.reported.exposures.at(-1)).toMatchObject({ arm: 'interleaved', fallback: 'missing' });
  });

  it('keeps candidates that `top_n` cut off, marked, behind those shown', async () => {
    await open({ mode: 'interleave' });
    const answer = await lab.ask('u', GRADES, { topN: 3 });
    await lab.api.addOutcomes([{ request_id: 'r1', metric: 'clicks', item: answer.ranking[0]!.index }]);
    for await (const { items } of (await lab.service.store()).clicks('trial', 'clicks')) {
      expect(items.map(({ shown }) => shown)).toEqual([undefined, undefined, undefined, ...Array(5).fill(false)]);
      expect(new Set(items.map(({ index }) => index)).size).toBe(GRADES.length);
    }
  });
});

describe('credit', () => {
  it('teams get the outcomes of their items', () => {
    const items = ['a', 'b', 'a'].map((team, index) => ({ digest: '', index, score: 0, team }));
    expect(
      teamCredit({
        items,
        clicks: new Map([
          [0, 1],
          [2, 2],
          [7, 9],
        ]),
      }),
    ).toEqual({ a: 3 });
  });

  it('balanced: from stored ranks it is what it is from whole rankings', () => {
    const order = fc.shuffledSubarray([0, 1, 2, 3, 4, 5], { minLength: 6 });
    fc.assert(
      fc.property(fc.nat(), order, order, fc.subarray([0, 1, 2, 3, 4, 5]), (seed, a, b, clicked) => {
        const shown = balanced([a, b], createRandom(seed)).order;
        const items = shown.map((index) => ({
          digest: '',
          index,
          score: 0,
          ranks: { a: a.indexOf(index), b: b.indexOf(index) },
        }));
        const credit = rankCredit({ items, clicks: new Map(clicked.map((item) => [item, 1])) }, ['a', 'b']);
        expect([credit.a ?? 0, credit.b ?? 0]).toEqual(balancedCredit([a, b], shown, new Set(clicked)));
      }),
    );
  });

  it('the better ranker is preferred, and the report says so', async () => {
    await open({ mode: 'interleave' });
    const outcomes = [];
    for (let i = 0; i < 300; i++) {
      const answer = await lab.ask(`u${i % 100}`, GRADES);
      // People click the first passage worth more than 4: `up` has them first.
      const item = answer.ranking.find(({ index }) => GRADES[index]! > 4)!.index;
      outcomes.push({ request_id: `r${i + 1}`, metric: 'clicks', item });
    }
    await lab.api.addOutcomes(outcomes);
    const report = await lab.api.report('trial');
    const [preference] = report.credit[0]!.preferences;
    expect(report.credit[0]!.requests).toBe(300);
    expect(preference!.wins + preference!.losses + preference!.ties).toBe(300);
    expect(preference!.preference).toBeLessThan(-0.9);
    expect(preference!.bootstrap[1]).toBeLessThan(0);
    expect(report.verdict).toMatchObject({ state: 'loss', winner: 'a' });
    // One comparison has one p, wherever it is printed.
    const stated = pValue(preference!.adjustedP);
    expect(report.verdict.text).toContain(`corrected ${pStatement(preference!.adjustedP)})`);
    expect(renderTerminal(reportModel(report))).toMatch(new RegExp(`corrected p\\n.*\\nb .* ${stated}\\n`));
    expect(pText(preference!.adjustedP)).toBe(stated);
    expect(report.sampleRatio).toBeUndefined();
  });
});

describe('shadow', () => {
  /** Shadows are scored when the answer has left. */
  const shadowed = async (count: number) => {
    while (lab.reported.shadows.length < count) await new Promise((resolve) => setTimeout(resolve, 5));
  };

  it('scores the other arms behind the answer in the lowest lane, and stores how they differ', async () => {
    await open({ mode: 'shadow' });
    const answer = await lab.ask('u', GRADES, { topN: 2 });
    expect(answer).toMatchObject({ model: 'up', experiment: { name: 'trial', arm: 'a' } });
    expect(answer.ranking.map(({ index }) => index)).toEqual(UP.slice(0, 2));
    await shadowed(1);
    const report = await lab.api.report('trial');
    expect(lab.batches).toEqual(['interactive up@1', 'shadow down@1']);
    expect(report.shadow.b).toMatchObject({
      kendall_tau: { mean: -1, requests: 1 },
      top_1_flip: { mean: 1, requests: 1 },
      overlap_at_10: { mean: 1, requests: 1 },
    });
    expect(report.shadow.b!.rbo!.mean).toBeLessThan(0.9);
    expect(report.verdict.state).toBe('observed');
    expect(lab.reported.shadows).toEqual([{ experiment: 'trial', arm: 'b', figures: expect.any(Object) }]);
  });

  it('takes outcomes of its answers at once', async () => {
    await open({ mode: 'shadow' });
    await lab.ask('u', GRADES);
    expect(lab.reported.shadows).toHaveLength(0);
    expect(await lab.api.addOutcomes([{ request_id: 'r1', metric: 'clicks' }])).toMatchObject([{ status: 'stored' }]);
    await shadowed(1);
    const { arms, shadow } = await lab.api.report('trial');
    expect(arms[0]).toMatchObject({ units: 1, requests: 1 });
    expect(shadow.b!.rbo!.requests).toBe(1);
    expect(lab.reported.stored).toBe(1);
  });

  it('goes on beside an experiment that answers', async () => {
    await open({ mode: 'shadow' });
    await lab.api.put('live', SPLIT, 'ada');
    expect((await lab.ask('u', GRADES)).experiment?.name).toBe('live');
    await shadowed(1);
    expect(lab.reported.shadows).toHaveLength(1);
    expect(lab.reported.exposures).toMatchObject([{ experiment: 'live' }]);
  });

  it('a shadow that fails is reported and costs the answer nothing', async () => {
    await open({ mode: 'shadow', arms: [...SPLIT.arms, { name: 'c', model: 'gone' }] });
    expect((await lab.ask('u', GRADES)).model).toBe('up');
    await shadowed(2);
    const { shadow } = await lab.api.report('trial');
    expect(Object.keys(shadow)).toEqual(['b']);
    expect(lab.reported.shadows).toContainEqual({ experiment: 'trial', arm: 'c', code: 'unknown_model' });
  });

  it('inversions are those of comparing all pairs', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 50 }), { maxLength: 40 }), (values) => {
        const pairs = values.flatMap((x, i) => values.slice(i + 1).filter((y) => x > y)).length;
        expect(inversions(Int32Array.from(values))).toBe(pairs);
      }),
    );
  });

  it('figures agree with the statistics of the evaluation', () => {
    const ranked = (order: readonly number[]) =>
      order.map((index, i) => ({ index, score: -i, relevanceScore: 1 / (i + 1) }));
    const order = fc.shuffledSubarray(
      Array.from({ length: 12 }, (_, i) => i),
      { minLength: 12 },
    );
    fc.assert(
      fc.property(order, order, (a, b) => {
        const figures = compareRankings(ranked(a), ranked(b));
        const ranks = (of: readonly number[]) => of.map((_, item) => of.indexOf(item));
        expect(figures.kendall_tau).toBeCloseTo(kendall(ranks(a), ranks(b)).statistic, 12);
        expect(figures.overlap_at_10).toBe(a.slice(0, 10).filter((item) => b.indexOf(item) < 10).length / 10);
        expect(figures.score_drift).toBeCloseTo(0, 12);
      }),
      { numRuns: 50 },
    );
    expect(compareRankings(ranked([0]), ranked([0]))).toEqual({
      kendall_tau: 1,
      rbo: expect.closeTo(1, 12),
      overlap_at_10: 1,
      top_1_flip: 0,
      score_drift: 0,
    });
  });
});

describe('guardrails', () => {
  it('an arm that errs too often falls back to control by itself, until its definition changes', async () => {
    const arms = [SPLIT.arms[0], { name: 'b', model: 'gone' }];
    const definition = { arms, guardrails: [{ metric: 'errors', max: 0.2, minRequests: 20 }] };
    await open(definition);
    for (let i = 0; i < 100; i++) await lab.ask(`u${i}`, [1, 2]);
    const fallbacks = lab.reported.exposures.filter(({ arm }) => arm === 'b').map(({ fallback }) => fallback);
    expect(fallbacks.slice(0, 20)).toEqual(Array(20).fill('missing'));
    expect(new Set(fallbacks.slice(20))).toEqual(new Set(['guardrail']));
    expect(lab.api.get('trial').tripped).toEqual(['b']);
    expect(lab.reported.changes.at(-1)).toMatchObject({
      action: 'tripped',
      who: 'guardrail',
      diff: 'arm b: errors 1 > 0.2 (control 0)',
    });
    // Restarted servers and others of the same database know it too.
    lab.clock.advance(10_000);
    await lab.service.settled();
    const { arms: sections, verdict } = await lab.api.report('trial');
    expect(sections[1]!.tripped).toBe('arm b: errors 1 > 0.2 (control 0)');
    expect(verdict.state).not.toBe('win');
    const other = await openLab(MODELS, { database: `${lab.folder}/experiments.sqlite` });
    expect(other.api.get('trial').tripped).toEqual(['b']);
    await other.close();
    await lab.api.put('trial', { ...SPLIT, ...definition, coverage: 0.9 }, 'ada');
    expect(lab.api.get('trial').tripped).toEqual([]);
  });

  /** Records answers of a request to each arm, without scoring them. */
  async function answered(users: readonly string[], latencyOf: (arm: string) => number) {
    for (const [i, user] of users.entries()) {
      const request = { requestId: `${user} ${i}`, query: 'q', passages: ['1'], subject: { user } };
      const decision = (await lab.service.decide(request))!;
      const arms = decision.arms.map(({ arm, model }) => {
        const timings = { totalMs: latencyOf(arm) };
        return { arm, model, version: '1', ranking: [], truncated: [], timings };
      });
      const latencyMs = Math.max(...arms.map(({ timings }) => timings.totalMs));
      const answer = { model: 'up', version: '1', ranking: [], truncated: [], queryCut: 0 };
      lab.service.recordRequest({ decision, request, latencyMs, answer, arms });
    }
  }
  const USERS = Array.from({ length: 60 }, (_, i) => `u${i}`);

  it('one that is slower than control as well; control never, nor both alike', async () => {
    await open({ guardrails: [{ metric: 'latency_p95_ms', max: 50, minRequests: 5 }] });
    await answered(USERS, () => 90);
    expect(lab.api.get('trial').tripped).toEqual([]);
    await answered(USERS, (arm) => (arm === 'a' ? 90 : 30));
    expect(lab.api.get('trial').tripped).toEqual([]);
    await answered(USERS, (arm) => (arm === 'a' ? 30 : 95));
    expect(lab.api.get('trial').tripped).toEqual(['b']);
    expect(lab.reported.changes.at(-1)!.diff).toBe('arm b: latency_p95_ms 95 > 50 (control 90)');
  });

  it('a tripped arm drafts no more', async () => {
    await open({ mode: 'interleave', guardrails: [{ metric: 'latency_p95_ms', max: 50, minRequests: 20 }] });
    await answered(USERS.slice(0, 20), (arm) => (arm === 'a' ? 30 : 90));
    expect((await lab.ask('u', GRADES)).experiment?.arm).toBe('a');
    expect(lab.reported.exposures.at(-1)).toMatchObject({ fallback: 'guardrail' });
  });

  it('deadlines that clients choose take no arm out, those of the server do', async () => {
    await open({ guardrails: [{ metric: 'errors', max: 0.02 }] });
    const late = async (clientDeadline: boolean) => {
      for (let i = 0; i < 600; i++) {
        const request = { requestId: `${i}`, query: 'q', passages: ['1'], subject: { user: `u${i}` }, clientDeadline };
        const decision = (await lab.service.decide(request))!;
        const isLate = clientDeadline || decision.arms[0].arm === 'b';
        const answer = { model: 'up', version: '1', ranking: [], truncated: [], queryCut: 0 };
        const outcome = isLate ? ({ error: 'deadline_exceeded' } as const) : { answer };
        lab.service.recordRequest({ decision, request, latencyMs: 1, arms: [], ...outcome });
      }
    };
    await late(true);
    expect(lab.api.get('trial').tripped).toEqual([]);
    await late(false);
    expect(lab.api.get('trial').tripped).toEqual(['b']);
  });

  it('what the client did wrong is not held against an arm', async () => {
    await open({ guardrails: [{ metric: 'errors', max: 0, minRequests: 1 }] });
    for (let i = 0; i < 5; i++)
      lab.service.recordRequest({
        decision: (await lab.service.decide({
          requestId: `${i}`,
          query: 'q',
          passages: ['1'],
          subject: { user: 'user-2' },
        }))!,
        request: { requestId: `${i}`, query: 'q', passages: ['1'] },
        latencyMs: 1,
        arms: [],
        error: 'passage_too_long',
      });
    expect(lab.api.get('trial').tripped).toEqual([]);
  });
});
