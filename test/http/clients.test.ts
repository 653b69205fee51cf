import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createCohere } from '@ai-sdk/cohere';
import { CohereRerank } from '@langchain/cohere';
import { Document } from '@langchain/core/documents';
import { rerank } from 'ai';
import { CohereClient, CohereClientV2, CohereError } from 'cohere-ai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { VoyageAIClient } from 'voyageai';
import { WinnowError } from '../../src/errors.ts';
import { createApp } from '../../src/http/app.ts';
import { hashKey } from '../../src/http/keys.ts';
import { formatScore } from '../../src/http/scores.ts';
import { createServer } from '../../src/http/server.ts';
import { type FakeDeps, fakeDeps, fakeLogit, sigmoid } from './fakes.ts';

const KEY = 'a key';
const QUERY = 'what is a panda?';
const PASSAGES = ['hi', 'The giant panda is a bear.', 'A kitten plays with yarn.', 'Paris is in France.'];
const EXPECTED = PASSAGES.map((text, index) => ({ index, text, logit: fakeLogit(QUERY, text) }))
  .sort((a, b) => b.logit - a.logit)
  .map(({ index, text, logit }) => ({ index, text, relevanceScore: Number(formatScore(sigmoid(logit))) }));
const SCORES = EXPECTED.map(({ index, relevanceScore }) => ({ index, relevanceScore }));

let server: Server;
let deps: FakeDeps;
let url: string;

beforeAll(async () => {
  deps = fakeDeps({ keys: [{ name: 'test', hash: hashKey(KEY), scopes: ['rerank'] }] });
  server = createServer(createApp(deps), { headerTimeoutMs: 5000, bodyLimitBytes: 1e6 }).listen(0);
  await once(server, 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

const request = { model: 'tiny', query: QUERY, documents: PASSAGES };

describe('unmodified clients', () => {
  it('cohere-ai, v1', async () => {
    const client = new CohereClient({ environment: url, token: KEY });
    const answer = await client.rerank({ ...request, returnDocuments: true, topN: 3 });
    expect(answer.results.map(({ index, relevanceScore }) => ({ index, relevanceScore }))).toEqual(SCORES.slice(0, 3));
    expect(answer.results[0]?.document?.text).toBe(EXPECTED[0]?.text);
    expect(answer.meta?.apiVersion?.version).toBe('1');
  });

  it('cohere-ai, v2', async () => {
    const answer = await new CohereClientV2({ environment: url, token: KEY }).rerank(request);
    expect(answer.results).toEqual(SCORES);
    expect(answer.meta?.billedUnits?.searchUnits).toBe(1);
  });

  it('cohere-ai reads the errors', async () => {
    const client = new CohereClientV2({ environment: url, token: KEY, maxRetries: 0 });
    const failure = await client.rerank({ ...request, model: 'none' }).catch((error: unknown) => error as CohereError);
    expect(failure).toBeInstanceOf(CohereError);
    expect(failure).toMatchObject({
      statusCode: 404,
      body: { message: 'expected one of tiny, got model none; registry.aliases gives a model further names' },
    });
    const unknown = new CohereClientV2({ environment: url, token: 'wrong', maxRetries: 0 });
    await expect(unknown.rerank(request)).rejects.toMatchObject({ statusCode: 401 });
  });

  it.each(['', '/v1', '/v2'])('@ai-sdk/cohere at %s', async (base) => {
    const cohere = createCohere({ baseURL: `${url}${base}`, apiKey: KEY });
    const { ranking } = await rerank({ model: cohere.reranking('tiny'), query: QUERY, documents: PASSAGES, topN: 2 });
    expect(ranking.map(({ originalIndex, score }) => ({ index: originalIndex, relevanceScore: score }))).toEqual(
      SCORES.slice(0, 2),
    );
  });

  it('@ai-sdk/cohere reads the errors', async () => {
    const cohere = createCohere({ baseURL: `${url}/v2`, apiKey: KEY });
    await expect(
      rerank({ model: cohere.reranking('none'), query: QUERY, documents: PASSAGES, maxRetries: 0 }),
    ).rejects.toThrow('expected one of tiny, got model none; registry.aliases gives a model further names');
  });

  it('@langchain/cohere', async () => {
    // The package depends on an older cohere-ai of its own, whose type differs from the one handed in here.
    type Client = NonNullable<NonNullable<ConstructorParameters<typeof CohereRerank>[0]>['client']>;
    const client = new CohereClient({ environment: url, token: KEY }) as unknown as Client;
    const reranker = new CohereRerank({ model: 'tiny', client, topN: 2, maxChunksPerDoc: 10 });
    const documents = await reranker.compressDocuments(
      PASSAGES.map((pageContent) => new Document({ pageContent })),
      QUERY,
    );
    expect(documents.map(({ pageContent }) => pageContent)).toEqual(EXPECTED.slice(0, 2).map(({ text }) => text));
    expect(documents[0]?.metadata.relevanceScore).toBe(SCORES[0]?.relevanceScore);
  });

  it.each(['', '/v1'])('voyageai at %s', async (base) => {
    const client = new VoyageAIClient({ environment: `${url}${base}`, apiKey: KEY });
    expect((await client.rerank(request)).data).toEqual(SCORES);
    const { data, usage } = await client.rerank({ ...request, topK: 1, returnDocuments: true });
    expect(data).toEqual([{ ...SCORES[0], document: EXPECTED[0]?.text }]);
    expect(usage?.totalTokens).toBe(40);
  });

  it('cohere-ai retries after Retry-After', async () => {
    let calls = 0;
    deps.reranker.before = () => {
      if (++calls === 1) throw new WinnowError('overloaded', { waitMs: 1, seconds: 1 });
    };
    const answer = await new CohereClientV2({ environment: url, token: KEY }).rerank(request);
    expect(calls).toBe(2);
    expect(answer.results).toEqual(SCORES);
  });
});
