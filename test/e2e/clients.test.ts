import { createCohere } from '@ai-sdk/cohere';
import { CohereRerank } from '@langchain/cohere';
import { Document } from '@langchain/core/documents';
import { rerank } from 'ai';
import { CohereClient, CohereClientV2, CohereError } from 'cohere-ai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { VoyageAIClient } from 'voyageai';
import { createLoadClient } from '../../bench/load/client.ts';
import { type ServerProcess, startServerProcess } from '../../bench/load/server.ts';
import { shippedRelevance } from '../support/shipped.ts';
import { FLEAS, orderOf, Scratch } from './support.ts';

/*
 * Clients as their makers publish them, and requests as other products send them, against a real server process.
 */

const scratch = new Scratch();
let server: ServerProcess;
/** Raw scores of FLEAS by the plainest route, and what every client must make of them. */
let scores: Float32Array;
let order: number[];

beforeAll(async () => {
  server = await startServerProcess({ flags: ['--models', scratch.registry('1')] });
  const client = createLoadClient(server.url);
  scores = (await client.rerank(FLEAS)).scores!;
  order = orderOf(scores);
  client.close();
});
afterAll(async () => {
  await server?.stop();
  scratch.clear();
});

const { query, passages } = FLEAS;
const documents = [...passages];
const relevance = (index: number) => shippedRelevance(scores[index]!);

interface Results {
  readonly model?: string;
  readonly results: readonly { readonly index: number; readonly relevance_score: number }[];
}
type Tei = readonly { readonly index: number; readonly score: number; readonly text?: string }[];
interface WeaviateAnswer {
  readonly query: string;
  readonly scores: readonly { readonly document: string; readonly score: number }[];
}
interface Rankings {
  readonly rankings: readonly { readonly index: number; readonly logit: number }[];
}

async function post<Body>(path: string, body: unknown): Promise<{ readonly text: string; readonly json: Body }> {
  const response = await fetch(server.url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: 'Bearer any' },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  return { text, json: JSON.parse(text) };
}

it('the passages differ as a reader would say', () => {
  expect(order.slice(0, 2).toSorted()).toEqual([1, 3]);
});

describe('cohere-ai', () => {
  it('CohereClientV2 gets the ranking', async () => {
    const client = new CohereClientV2({ environment: server.url, token: 'any' });
    const answer = await client.rerank({ model: 'm', query, documents, topN: 3 });
    expect(answer.results.map(({ index }) => index)).toEqual(order.slice(0, 3));
    for (const { index, relevanceScore } of answer.results) expect(relevanceScore).toBeCloseTo(relevance(index), 6);
    expect(answer.id).toBeTruthy();
    expect(answer.meta?.apiVersion?.version).toBe('2');
  });

  it('CohereClient (v1) gets the ranking with its documents', async () => {
    const client = new CohereClient({ environment: server.url, token: 'any' });
    const answer = await client.rerank({ model: 'm', query, documents, returnDocuments: true });
    expect(answer.results.map(({ index }) => index)).toEqual(order);
    expect(answer.results[0]!.document?.text).toBe(documents[order[0]!]);
  });

  it('CohereClient (v1) ranks objects by the fields named', async () => {
    const client = new CohereClient({ environment: server.url, token: 'any' });
    const objects = documents.map((text, i) => ({ title: `passage ${i}`, text }));
    const answer = await client.rerank({ model: 'm', query, documents: objects, rankFields: ['text'] });
    expect(answer.results.map(({ index }) => index)).toEqual(order);
  });

  it('reads our errors as its own', async () => {
    const client = new CohereClientV2({ environment: server.url, token: 'any', maxRetries: 0 } as never);
    const failure = await client.rerank({ model: 'nowhere', query, documents }).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(CohereError);
    expect((failure as CohereError).statusCode).toBe(404);
    expect((failure as CohereError).body).toMatchObject({ message: expect.stringContaining('nowhere') });
  });
});

it('@ai-sdk/cohere with rerank() gets the ranking', async () => {
  const cohere = createCohere({ baseURL: `${server.url}/v2`, apiKey: 'any' });
  const answer = await rerank({ model: cohere.reranking('m'), query, documents, topN: 2 });
  expect(answer.ranking.map(({ originalIndex }) => originalIndex)).toEqual(order.slice(0, 2));
  expect(answer.rerankedDocuments[0]).toBe(documents[order[0]!]);
  expect(answer.ranking[0]!.score).toBeCloseTo(relevance(order[0]!), 6);
});

it('@langchain/cohere compresses documents in our order', async () => {
  const client = new CohereClient({ environment: server.url, token: 'any' });
  const compressor = new CohereRerank({ client, model: 'm', topN: 2 } as never);
  const kept = await compressor.compressDocuments(
    documents.map((pageContent) => new Document({ pageContent })),
    query,
  );
  expect(kept.map(({ pageContent }) => pageContent)).toEqual(order.slice(0, 2).map((i) => documents[i]));
  expect(kept[0]!.metadata.relevanceScore).toBeCloseTo(relevance(order[0]!), 6);
});

it('voyageai gets the ranking', async () => {
  const client = new VoyageAIClient({ apiKey: 'any', environment: `${server.url}/v1` });
  const answer = await client.rerank({ model: 'm', query, documents, topK: 2, returnDocuments: true });
  expect(answer.data?.map(({ index }) => index)).toEqual(order.slice(0, 2));
  expect(answer.data?.[0]?.document).toBe(documents[order[0]!]);
  expect(answer.data?.[0]?.relevanceScore).toBeCloseTo(relevance(order[0]!), 6);
  expect(answer.usage?.totalTokens).toBeGreaterThan(0);
});

describe('requests as other products send them', () => {
  it('OpenSearch: every index is there, every score is a decimal its parser reads as a double', async () => {
    const { text, json } = await post<Results>('/v1/rerank', { model: 'm', query, documents, top_n: documents.length });
    expect(json.results.map((r) => r.index).toSorted()).toEqual(documents.map((_, i) => i));
    const literals = [...text.matchAll(/"relevance_score":([^,}]+)/g)].map(([, literal]) => literal!);
    // Once in `results`, once in `data`.
    expect(literals).toHaveLength(2 * documents.length);
    for (const literal of literals) {
      expect(literal).toMatch(/[.eE]/);
      expect(literal.length).toBeLessThanOrEqual(18);
    }
  });

  it('Elasticsearch: texts with top_n and return_text', async () => {
    const { json } = await post<Tei>('/rerank', { texts: documents, query, return_text: true, top_n: 2 });
    expect(json.map((r) => r.index)).toEqual(order.slice(0, 2));
    expect(json[0]!.text).toBe(documents[order[0]!]);
    expect(json[0]!.score).toBeCloseTo(relevance(order[0]!), 6);
  });

  it('Weaviate: scores in the order of the documents, and its start-up probes', async () => {
    const { json } = await post<WeaviateAnswer>('/rerank', { query, documents, property: '' });
    expect(json.query).toBe(query);
    expect(json.scores.map((s) => s.document)).toEqual(documents);
    json.scores.forEach(({ score }, i) => {
      expect(score).toBeCloseTo(relevance(i), 6);
    });
    expect((await fetch(`${server.url}/.well-known/live`)).status).toBe(204);
    expect((await fetch(`${server.url}/.well-known/ready`)).ok).toBe(true);
    expect((await fetch(`${server.url}/meta`)).ok).toBe(true);
  });

  it('LlamaIndex: query and texts, a bare array comes back', async () => {
    const { json } = await post<Tei>('/rerank', { query, texts: documents });
    expect(json).toHaveLength(documents.length);
    expect(json.map((r) => r.index)).toEqual(order);
  });

  it('Haystack: directions with a capital letter, raw scores', async () => {
    const body = { query, texts: documents, raw_scores: true, truncate: true, truncation_direction: 'Right' };
    const { json } = await post<Tei>('/rerank', body);
    for (const { index, score } of json) expect(score).toBeCloseTo(scores[index]!, 5);
  });

  it('NIM: rankings with logits', async () => {
    const body = { model: 'm', query: { text: query }, passages: documents.map((text) => ({ text })), truncate: 'END' };
    const { json } = await post<Rankings>('/v1/ranking', body);
    expect(json.rankings.map((r) => r.index)).toEqual(order);
    expect(json.rankings[0]!.logit).toBeCloseTo(scores[order[0]!]!, 5);
  });

  it('Jina and Open WebUI: documents and the model in the answer', async () => {
    const { json } = await post<Results>('/v1/rerank', {
      model: 'm',
      query,
      documents,
      top_n: 5,
      return_documents: false,
    });
    expect(json.model ?? 'm').toContain('m');
    expect(json.results.map((r) => r.index)).toEqual(order);
  });
});
