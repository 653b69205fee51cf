import request from 'supertest';
import { afterAll, describe, expect, it } from 'vitest';
import { WinnowError } from '../../src/errors.ts';
import { createApp } from '../../src/http/app.ts';
import { observeRequests } from '../../src/main/observe.ts';
import { createMetrics } from '../../src/telemetry/instruments.ts';
import { fakeDeps } from './fakes.ts';

const metrics = createMetrics({ processMetrics: false });
afterAll(() => metrics.close());

/** Every way in which a client can name something. */
function sendAs(app: ReturnType<typeof createApp>, name: string) {
  const headers = {
    'x-winnow-lane': name,
    'x-user-id': name,
    'x-winnow-arm': name,
    'x-request-id': name,
    'user-agent': name,
    traceparent: `00-${Buffer.from(name.padEnd(16, '0')).toString('hex').slice(0, 32)}-00f067aa0ba902b7-00`,
  };
  return [
    request(app)
      .post('/rerank')
      .set(headers)
      .send({ query: name, texts: [name], model: name }),
    request(app)
      .post('/v2/rerank')
      .set(headers)
      .send({ query: name, documents: [name], model: name, instruction: name }),
    request(app)
      .post('/v1/rerank')
      .set(headers)
      .send({ query: name, documents: [name], [name]: name }),
    request(app).post(`/v2/models/${name}/infer`).set(headers).send({ inputs: name }),
    request(app)
      .post(`/v2/models/${name}/versions/${name}/infer`)
      .set(headers)
      .send({ inputs: [{ name }] }),
    request(app).post('/v1/outcomes').set(headers).send({ request_id: name, metric: name }),
    request(app).get(`/v1/models/${name}`).set(headers),
    request(app).get(`/v1/experiments/${name}`).set(headers),
    request(app).get(`/${name}`).set(headers),
    request(app).propfind(`/${name}/rerank`).set(headers),
    request(app).search('/rerank').set(headers),
  ];
}

async function seriesNames(): Promise<readonly string[]> {
  const { text } = await metrics.render();
  return text.split('\n').map((line) => line.replace(/ \S+$/, ''));
}

describe('labels', () => {
  it('have no text of a client, and clients cannot make series', async () => {
    const base = fakeDeps();
    base.reranker.before = ({ model }) => {
      if (model?.startsWith('chosen')) throw new WinnowError('unknown_model', { known: 'tiny', got: model });
    };
    const observed = observeRequests(metrics);
    const app = createApp({ ...base, telemetry: { ...base.telemetry, ...observed } });
    for (const name of ['chosen-a', 'chosen%2Fa']) await Promise.all(sendAs(app, name));
    const before = await seriesNames();
    for (const name of ['chosen-b', 'chosen-c', 'chosen%2Fb']) await Promise.all(sendAs(app, name));
    const after = await seriesNames();
    expect(after.filter((series) => series.includes('chosen'))).toEqual([]);
    expect(after).toEqual(before);
  });
});
