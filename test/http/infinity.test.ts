import { once } from 'node:events';
import type { Server } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { createApp } from '../../src/http/app.ts';
import { createServer } from '../../src/http/server.ts';
import { fakeDeps, fakeReranker } from './fakes.ts';
import { recordedRequests, sendBytes } from './recorded-bytes.ts';

/** Requests as infinity_client sent them; `npm run test:clients -- --only infinity_client --record FILE` records them. */
const requests = recordedRequests('infinity_client.json');
const rankings = [...requests].filter(([, bytes]) => bytes.toString('latin1').startsWith('POST /rerank '));

/** What infinity_client's parser takes: other types, or another value of `object`, raise in it. */
const answerSchema = z.object({
  object: z.literal('rerank'),
  results: z.array(z.object({ relevance_score: z.number(), index: z.int(), document: z.string().nullish() })),
  model: z.string(),
  usage: z.object({ prompt_tokens: z.int(), total_tokens: z.int() }),
  id: z.string(),
  created: z.int(),
});
const bodySchema = z.object({
  query: z.string(),
  documents: z.array(z.string()),
  return_documents: z.boolean(),
  raw_scores: z.boolean(),
  top_n: z.int().optional(),
});

let server: Server;
beforeAll(async () => {
  const app = createApp(fakeDeps({ reranker: fakeReranker(['minilm-l6-bce']) }));
  server = createServer(app, { headerTimeoutMs: 20_000, bodyLimitBytes: 1_000_000 }).listen(0);
  await once(server, 'listening');
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

describe('bytes of infinity_client', () => {
  it('hold the calls of its users', () => {
    expect(rankings).toHaveLength(3);
  });

  it.each(rankings)('%s', async (_name, bytes) => {
    const sent = bodySchema.parse(JSON.parse(bytes.toString('utf8', bytes.indexOf('\r\n\r\n') + 4)));
    const { status, body } = await sendBytes(server, bytes);
    expect(status).toBe(200);
    const { results } = answerSchema.parse(JSON.parse(body.toString('utf8')));
    expect(results).toHaveLength(sent.top_n ?? sent.documents.length);
    for (const { index, document, relevance_score: score } of results) {
      expect(document ?? undefined).toBe(sent.return_documents ? sent.documents[index] : undefined);
      if (!sent.raw_scores) expect(score > 0 && score < 1).toBe(true);
    }
  });

  it('ask for the health', async () => {
    const { status, body } = await sendBytes(server, requests.get('health.sync')!);
    expect([status, JSON.parse(body.toString('utf8'))]).toEqual([200, { status: 'ready' }]);
  });
});
