import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CohereClientV2 } from 'cohere-ai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createLoadClient, type LoadClient } from '../../bench/load/client.ts';
import { loadTopics, wideRequest } from '../../bench/load/requests.ts';
import { type ServerProcess, startServerProcess } from '../../bench/load/server.ts';
import { hasReference, REFERENCE_MODEL, REFERENCE_NEEDS } from '../support/shipped.ts';
import { hasTrecDl, orderOf, Scratch, sigmoid } from './support.ts';

const scratch = new Scratch();
afterAll(() => scratch.clear());

interface Pair {
  readonly query: string;
  readonly passage: string;
  readonly onnx_int8: number;
}

describe.skipIf(!hasReference)(`the reference model ${REFERENCE_NEEDS}`, () => {
  let server: ServerProcess;
  let client: LoadClient;
  beforeAll(async () => {
    server = await startServerProcess({ flags: ['--models', scratch.referenceRegistry()] });
    client = createLoadClient(server.url);
  });
  afterAll(async () => {
    client?.close();
    await server?.stop();
  });

  it("gives another binding's scores to 1e-4", async () => {
    const { pairs }: { pairs: Pair[] } = JSON.parse(
      readFileSync(join(REFERENCE_MODEL, 'reference-scores.json'), 'utf8'),
    );
    expect(pairs.length).toBeGreaterThanOrEqual(30);
    for (const [query, group] of Map.groupBy(pairs, (pair) => pair.query)) {
      const { scores, error } = await client.rerank({ query, passages: group.map(({ passage }) => passage) });
      expect(error).toBeUndefined();
      group.forEach(({ onnx_int8 }, i) => {
        expect(Math.abs(scores![i]! - onnx_int8)).toBeLessThan(1e-4);
      });
    }
  });

  it.skipIf(!hasTrecDl)(
    'orders a TREC-DL query with its 100 BM25 passages through cohere-ai (needs ../shared/data)',
    async () => {
      const { query, passages } = loadTopics().topics[0]!;
      expect(passages).toHaveLength(100);
      const raw = (await client.rerank({ query, passages })).scores!;
      const cohere = new CohereClientV2({ environment: server.url, token: 'any' });
      const { results } = await cohere.rerank({ model: 'reference', query, documents: [...passages] });
      expect(results.map(({ index }) => index)).toEqual(orderOf(raw));
      for (const { index, relevanceScore } of results) expect(relevanceScore).toBeCloseTo(sigmoid(raw[index]!), 6);
      // It is an order by content, not the one BM25 gave.
      expect(results.map(({ index }) => index)).not.toEqual(passages.map((_, i) => i));
    },
  );
});

describe('a score does not depend on its neighbors', () => {
  let server: ServerProcess;
  let client: LoadClient;
  beforeAll(async () => {
    const patience = ['--scheduling-max-wait-ms', '600000', '--server-request-timeout-ms', '600000'];
    server = await startServerProcess({ flags: ['--models', scratch.registry('1'), ...patience] });
    client = createLoadClient(server.url);
  });
  afterAll(async () => {
    client?.close();
    await server?.stop();
  });

  it('alone, and among 999 others while other requests run, to 1e-5', async () => {
    const { topics } = loadTopics();
    const whole = wideRequest(topics, 1000);
    // Of all lengths, short enough for a thousand to be scored in seconds.
    const wide = { ...whole, passages: whole.passages.map((text, i) => text.slice(0, 40 + ((i * 37) % 300))) };
    const others = topics
      .slice(1, 4)
      .map(({ query, passages }) => client.rerank({ query, passages: passages.slice(0, 10) }));
    const { scores, error } = await client.rerank(wide);
    expect(error).toBeUndefined();
    expect((await Promise.all(others)).map(({ status }) => status)).toEqual([200, 200, 200]);
    expect(scores).toHaveLength(1000);
    let worst = 0;
    for (const i of [0, 1, 17, 250, 499, 500, 731, 998, 999]) {
      const alone = await client.rerank({ query: wide.query, passages: [wide.passages[i]!] });
      worst = Math.max(worst, Math.abs(alone.scores![0]! - scores![i]!));
    }
    expect(worst).toBeLessThanOrEqual(1e-5);
    expect(new Set(scores).size).toBeGreaterThan(900);
  });
});
