import request from 'supertest';
import { beforeEach, describe, expect, it } from 'vitest';
import { createApp } from '../../src/http/app.ts';
import type { RerankAnswer } from '../../src/rerank/rerank-types.ts';
import { type FakeDeps, fakeDeps } from './fakes.ts';
import { PASSAGES, QUERY } from './pandas.ts';

let deps: FakeDeps;
beforeEach(() => {
  deps = fakeDeps();
});

const post = (path: string, body: object) => request(createApp(deps)).post(path).send(body);
const plain = { query: QUERY, documents: PASSAGES, top_n: 2 };
const prune = { recall: 0.95 };
const answersWith = (more: Partial<RerankAnswer>) => {
  deps.reranker.after = (answer) => ({ ...answer, ...more });
};

describe('prune', () => {
  it('reaches the reranker in every format that reads options', async () => {
    const bodies: Readonly<Record<string, object>> = {
      '/rerank': { ...plain, prune },
      '/v1/rerank': { ...plain, prune },
      '/v2/rerank': { ...plain, prune },
      '/score': { text_1: QUERY, text_2: PASSAGES, prune },
    };
    for (const [path, body] of Object.entries(bodies)) {
      const { status } = await post(path, body);
      expect([path, status]).toEqual([path, 200]);
      expect(deps.reranker.requests.at(-1)).toMatchObject({ prune });
    }
    await post('/rerank', { ...plain, prune: false });
    expect(deps.reranker.requests.at(-1)).toMatchObject({ prune: false, topN: 2 });
    await post('/rerank', { ...plain, prune: null });
    expect(deps.reranker.requests.at(-1)).not.toHaveProperty('prune');
  });

  it.each([true, {}, { recall: 0 }, { recall: 1 }, { recall: '0.9' }, { recall: 0.9, n: 1 }, 0.9])(
    'refuses %j, naming the field',
    async (wrong) => {
      const { status, text } = await post('/rerank', { ...plain, prune: wrong });
      expect(status).toBe(422);
      expect(text).toMatch(/prune/);
      expect(text).toMatch(
        /expected (false, or|less than 1|more than 0|above 0|only the documented|a number|[^"]*prune)/,
      );
    },
  );

  it('is refused together with a cascade', async () => {
    const cascade = [{ model: 'tiny', keep: 2 }, { model: 'tiny' }];
    const { status, text } = await post('/rerank', { ...plain, cascade, prune });
    expect(status).toBe(422);
    expect(text).toMatch(/either `cascade` or `prune`/);
  });

  it('is counted in a header, in meta and in metrics', async () => {
    answersWith({ pruned: { passages: 3, tokens: 40 } });
    const { headers, body } = await post('/rerank', { ...plain, prune });
    expect(headers['x-winnow-pruned']).toBe('3');
    expect(body.meta.pruned).toEqual({ passages: 3, tokens: 40 });
    expect(headers).not.toHaveProperty('x-winnow-ignored');
    expect(deps.telemetry.events.at(-1)).toMatchObject({ pruned: { passages: 3, tokens: 40 } });
  });

  it.each([
    ['no_top_n', 'it needs `top_n` below the number of passages'],
    ['uncalibrated', 'tiny@1 is not calibrated for pruning (`npx winnow prune`)'],
    ['recall', 'the calibration of tiny@1 has no margin for so high a recall'],
    ['experiment', 'the request is part of an experiment, whose arms rank every passage'],
  ] as const)('says why it had no effect: %s', async (unpruned, reason) => {
    answersWith({ unpruned });
    const { headers, body } = await post('/rerank', { ...plain, prune });
    expect(headers['x-winnow-ignored']).toBe('prune');
    expect(body.meta.warnings).toEqual([`\`prune\` had no effect: ${reason}`]);
    expect(body.meta).not.toHaveProperty('pruned');
  });
});
