import { describe, expect, it } from 'vitest';
import { WinnowError } from '../../src/errors.ts';
import type {
  ArmChoice,
  Decision,
  ExperimentHook,
  FinishedRequest,
  FinishedShadow,
} from '../../src/experiments/ports.ts';
import type { Ranked, RerankRequest } from '../../src/rerank/rerank-types.ts';
import { createReranker } from '../../src/rerank/reranker.ts';
import { ask, type FakeService, openFakeService, settle } from './fake-service.ts';

interface Marked extends Decision {
  readonly unit: string;
}

const A: ArmChoice = { arm: 'a', model: 'plain' };
const B: ArmChoice = { arm: 'b', model: 'flipped' };
const BROKEN: ArmChoice = { arm: 'c', model: 'broken' };
const MISSING: ArmChoice = { arm: 'd', model: 'nobody' };

const decision = (arms: readonly ArmChoice[], shadows: readonly ArmChoice[] = []): Marked => ({
  experiment: 'test',
  arms: arms as Marked['arms'],
  control: A,
  shadows,
  unit: 'u',
});

const models = {
  plain: { factor: 0.1 },
  flipped: { factor: -0.1 },
  broken: { factor: 1, fail: () => new WinnowError('inference_failed', { reason: 'no' }) },
};

/** Takes from the two rankings in turn. */
const zip: ExperimentHook<Marked>['interleave'] = (_, __, arms) => {
  const merged: Ranked[] = [];
  for (let i = 0; i < arms[0]!.ranking.length; i++)
    for (const { arm, ranking } of arms)
      if (!merged.some(({ index }) => index === ranking[i]!.index)) merged.push({ ...ranking[i]!, team: arm });
  return merged;
};

function experiment(
  service: FakeService,
  decide: ExperimentHook<Marked>['decide'],
  hooks: Partial<ExperimentHook<Marked>> = {},
) {
  const requests: FinishedRequest<Marked>[] = [];
  const shadows: FinishedShadow<Marked>[] = [];
  const failures: unknown[] = [];
  const hook: ExperimentHook<Marked> = {
    decide,
    interleave: zip,
    recordRequest: (finished) => requests.push(finished),
    recordShadow: (finished) => shadows.push(finished),
    ...hooks,
  };
  const ignored: string[] = [];
  const observer = {
    onHookFailure: (error: unknown) => failures.push(error),
    onInstructionIgnored: ({ arm, model }: { readonly arm: string; readonly model: string }) =>
      ignored.push(`${arm} ${model}`),
  };
  const reranker = createReranker<Marked>({ ...service, experiments: hook, observer });
  const run = (more: Partial<RerankRequest> = {}) => settle(service, reranker.rerank(ask(['1', '2', '3'], more)));
  return { run, requests, shadows, failures, ignored };
}

const order = (ranking: readonly Ranked[] | undefined) => ranking?.map(({ index }) => index);

describe('experiments in the use case', () => {
  it('a split request is answered by its arm, and exposed once', async () => {
    const service = openFakeService(models);
    const decided = decision([B]);
    const e = experiment(service, async () => decided);
    const { value } = await e.run({ topN: 2 });
    expect(value).toMatchObject({ model: 'flipped', experiment: { name: 'test', arm: 'b' } });
    expect(order(value!.ranking)).toEqual([0, 1]);
    expect(e.requests).toHaveLength(1);
    const [finished] = e.requests as [FinishedRequest<Marked>];
    expect(finished.decision).toBe(decided);
    expect(finished.answer).toBe(value);
    expect(finished.latencyMs).toBe(10);
    expect(finished.arms.map(({ arm, ranking }) => [arm, order(ranking)])).toEqual([['b', [0, 1, 2]]]);
    expect(finished.fallback).toBeUndefined();
    expect(service.log.held).toBe(0);
  });

  it("an arm's instruction counts before that of the request, for models that read one", async () => {
    const template = { prefix: '', body: '{instruction} {query} {document}', suffix: '' };
    const service = openFakeService({ ...models, plain: { factor: 0.1, template } });
    const told = { ...A, instruction: 'of the arm' };
    const instructions = () => service.log.instructions.splice(0);
    const own = experiment(service, () => decision([told]));
    expect((await own.run({ instruction: 'of the request' })).value).toMatchObject({ instructionIgnored: true });
    expect((await own.run()).value).not.toHaveProperty('instructionIgnored');
    expect(instructions()).toEqual(['of the arm', 'of the arm']);
    expect(own.ignored).toEqual([]);
    const both = experiment(service, () => decision([told, { ...B, instruction: 'in vain' }]));
    await both.run();
    expect([instructions(), both.ignored]).toEqual([['of the arm', undefined], ['b flipped']]);
    const free = experiment(service, () => decision([A, B]));
    expect((await free.run({ instruction: 'of the request' })).value).not.toHaveProperty('instructionIgnored');
    const vain = experiment(service, () => decision([B]));
    expect((await vain.run({ instruction: 'of the request' })).value).toMatchObject({ instructionIgnored: true });
    expect([free.ignored, vain.ignored]).toEqual([[], []]);
  });

  it('a request outside all experiments, and a cascade, are not recorded', async () => {
    const service = openFakeService(models);
    let asked = 0;
    const e = experiment(service, () => {
      asked++;
      return undefined;
    });
    expect((await e.run()).value).not.toHaveProperty('experiment');
    expect(asked).toBe(1);
    await e.run({ cascade: [{ model: 'plain' }] });
    expect([asked, e.requests.length]).toEqual([1, 0]);
  });

  it('arms cut the query as their own models do, and share a tokenization where they cut alike', async () => {
    const limited = { ...models, flipped: { factor: -0.1, maxQueryTokens: 2 } };
    const service = openFakeService(limited);
    const query = 'five words are asked here';
    const both = experiment(service, () => decision([A, B]));
    const { value } = await both.run({ query });
    expect(service.log.encoded).toHaveLength(2);
    // What one of the arms left out was left out of the answer.
    expect(value?.queryCut).toBe(3);
    expect((await experiment(service, () => decision([A])).run({ query })).value?.queryCut).toBe(0);
  });

  it('interleaved arms are scored from one tokenization, merged, and never rise', async () => {
    const service = openFakeService(models);
    const e = experiment(service, () => decision([A, B]));
    const { value } = await e.run();
    expect(order(value!.ranking)).toEqual([2, 0, 1]);
    expect(value!.ranking.map(({ team }) => team)).toEqual(['a', 'b', 'a']);
    const relevance = value!.ranking.map(({ relevanceScore }) => relevanceScore);
    expect(relevance).toEqual([...relevance].sort((x, y) => y - x));
    expect(value).toMatchObject({ model: 'plain', experiment: { name: 'test', arm: 'interleaved' }, tokens: 24 });
    expect(service.log.encoded).toHaveLength(1);
    expect(e.requests[0]!.arms.map(({ arm, model }) => [arm, model])).toEqual([
      ['a', 'plain'],
      ['b', 'flipped'],
    ]);
    expect(value).not.toHaveProperty('arm');
  });

  it.each([
    ['failing', BROKEN, 'inference_failed'],
    ['missing', MISSING, 'unknown_model'],
  ] as const)('control answers for an arm whose model is %s, and the exposure says so', async (_, arm, code) => {
    const service = openFakeService(models);
    for (const arms of [[arm], [A, arm]]) {
      const e = experiment(service, () => decision(arms));
      const { value } = await e.run();
      expect(value).toMatchObject({ model: 'plain', experiment: { name: 'test', arm: 'a' } });
      expect(e.requests[0]).toMatchObject({ fallback: { arm: arm.arm, code } });
      expect(e.requests[0]!.arms.map((one) => one.arm)).toEqual(['a']);
    }
    expect(service.log.held).toBe(0);
  });

  it('what is no fault of the arm fails the request, and is exposed as failed', async () => {
    const service = openFakeService({ ...models, plain: { factor: 1, maxLength: 4 } });
    const e = experiment(service, () => decision([A]));
    const { error } = await e.run({ query: 'long query', truncate: false });
    expect(error?.code).toBe('passage_too_long');
    expect(e.requests).toMatchObject([{ error: 'passage_too_long', arms: [] }]);
    const control = experiment(openFakeService({ plain: models.broken }), () => decision([A]));
    expect((await control.run()).error?.code).toBe('inference_failed');
  });

  it('a shadow is scored after the answer, in its lane, from the same tokenization, client or not', async () => {
    const service = openFakeService({ ...models, flipped: { factor: -0.1, batchMs: 500 } });
    const e = experiment(service, () => decision([A], [B]));
    const client = new AbortController();
    let answeredAt = -1;
    const { value } = await e.run({ signal: client.signal }).then((end) => {
      answeredAt = end.value!.timings.totalMs;
      client.abort();
      return end;
    });
    expect(answeredAt).toBe(10);
    expect(e.shadows).toHaveLength(1);
    expect(e.shadows[0]).toMatchObject({ arm: 'b', ranking: { model: 'flipped' } });
    expect(order(e.shadows[0]!.ranking!.ranking)).toEqual([0, 1, 2]);
    expect(e.shadows[0]!.answer).toBe(value);
    expect(service.log.encoded).toHaveLength(1);
    expect(service.log.held).toBe(0);
  });

  it('a shadow that fails is reported as failed, and nothing else notices it', async () => {
    const service = openFakeService(models);
    const e = experiment(service, () => decision([A], [BROKEN, MISSING]));
    expect((await e.run()).value?.ranking).toHaveLength(3);
    expect(e.shadows.map(({ arm, error }) => [arm, error]).sort()).toEqual([
      ['c', 'inference_failed'],
      ['d', 'unknown_model'],
    ]);
  });

  it('only so many shadows are under way at once', async () => {
    const service = openFakeService({ ...models, flipped: { factor: 1, batchMs: 5000 } });
    const e = experiment(service, () => decision([A], Array(70).fill(B)));
    await e.run();
    const refused = e.shadows.filter(({ error }) => error === 'overloaded').length;
    expect(refused).toBe(6);
  });

  it('a hook that throws costs the experiment, not the answer', async () => {
    const bang = () => {
      throw new Error('bang');
    };
    const cases: [ExperimentHook<Marked>['decide'], Partial<ExperimentHook<Marked>>][] = [
      [bang, {}],
      [async () => bang(), {}],
      [() => decision([A], [B]), { recordRequest: bang, recordShadow: bang }],
      [() => decision([A, B]), { interleave: bang }],
    ];
    for (const [decide, hooks] of cases) {
      const e = experiment(openFakeService(models), decide, hooks);
      const { value } = await e.run();
      expect(order(value?.ranking)).toEqual([2, 1, 0]);
      expect(e.failures.length).toBeGreaterThan(0);
    }
  });

  it('a decision that does not come holds the request no longer than its deadline', async () => {
    const e = experiment(openFakeService(models), () => new Promise(() => {}));
    expect((await e.run({ deadlineMs: 50 })).error?.params).toEqual({ deadlineMs: 50 });
  });
});

describe('an arm that is a cascade', () => {
  const STAGES = [{ model: 'plain', keep: 2 }, { model: 'flipped' }];
  const CASCADE: ArmChoice = { arm: 'b', model: 'two' };
  const cascadeOf = (name: string) => (name === 'two' ? STAGES : undefined);

  it('ranks as a request with these stages, and is recorded whole', async () => {
    const service = { ...openFakeService(models), cascadeOf };
    const trial = experiment(service, () => decision([CASCADE]));
    const { value } = await trial.run();
    const { value: sent } = await settle(
      service,
      createReranker({ ...service }).rerank(ask(['1', '2', '3'], { cascade: STAGES })),
    );
    expect(value!.ranking).toEqual(sent!.ranking);
    expect(value).toMatchObject({ model: 'flipped', version: '1', experiment: { name: 'test', arm: 'b' } });
    expect(trial.requests[0]?.arms.map(({ arm, ranking }) => [arm, ranking.length])).toEqual([['b', 3]]);
    expect(trial.failures).toEqual([]);
  });

  it('gives way to control where one of its models is missing', async () => {
    const gone = { ...openFakeService(models), cascadeOf: () => undefined };
    const missing = {
      ...gone,
      cascadeOf: (name: string) => (name === 'two' ? [{ model: 'nobody', keep: 1 }, STAGES[1]!] : undefined),
    };
    const trial = experiment(missing, () => decision([CASCADE]));
    const { value } = await trial.run();
    expect(value).toMatchObject({ model: 'plain', experiment: { arm: 'a' } });
    expect(trial.requests[0]).toMatchObject({ fallback: { arm: 'b', code: 'unknown_model' } });
  });
});
