import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import type { Bm25Index } from '../../../src/evaluation/first-stage/index/bm25-index.ts';
import { searchStage } from '../../../src/evaluation/first-stage/search-endpoint.ts';
import { bm25Stage } from '../../../src/evaluation/first-stage/stages.ts';
import { withIndex } from './support.ts';

const TEXTS = ['flow of heat', 'heat in a wing', 'shock wave', 'heat heat heat'];
const QUERIES = new Map([
  ['1', 'heat'],
  ['2', 'shock wing'],
  ['3', 'nothing here'],
]);

interface Search {
  readonly query: { match?: Record<string, { query: string }>; multi_match?: { query: string; fields: string[] } };
  readonly size: number;
  readonly _source: false | string[];
}

interface Call {
  readonly headers: IncomingMessage['headers'];
  readonly searches: readonly Search[];
}

let server: Server | undefined;
afterEach(() => server?.close());

type Intercept = (call: number, response: ServerResponse) => boolean;

const errorBody = (type: string, reason: string) => JSON.stringify({ error: { type, reason } });

/** `_msearch` as documented: NDJSON of header and body lines ending in a line break, one response each, in order. */
async function standIn(index: Bm25Index, intercept: Intercept = () => false): Promise<{ url: string; calls: Call[] }> {
  const calls: Call[] = [];
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const text = (await request.toArray()).join('');
    if (intercept(calls.length, response)) {
      calls.push({ headers: request.headers, searches: [] });
      return;
    }
    const fail = (status: number, type: string, reason: string) =>
      response.writeHead(status).end(errorBody(type, reason));
    if (request.method !== 'POST' || request.url !== '/_msearch') return void fail(405, 'method', 'not allowed');
    if (request.headers['content-type'] !== 'application/x-ndjson')
      return void fail(406, 'media_type', 'not supported');
    if (!text.endsWith('\n')) return void fail(400, 'illegal_argument', 'must be terminated by a newline');
    const lines = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    const searches = lines.filter((_, i) => i % 2 === 1) as Search[];
    calls.push({ headers: request.headers, searches });
    const responses = searches.map(({ query, size, _source }, i) => {
      if (lines[2 * i].index !== 'passages')
        return {
          error: { type: 'index_not_found_exception', reason: `no such index [${lines[2 * i].index}]` },
          status: 404,
        };
      const asked = query.multi_match?.query ?? query.match!.text!.query;
      const { docids, scores } = index.search(asked, size);
      const hits = docids.map((_id, at) => ({
        ...{ _index: 'passages', _id, _score: scores[at] },
        ...(_source === false ? {} : { _source: { [_source[0]!]: `pid-${_id}` } }),
      }));
      return {
        took: 1,
        timed_out: false,
        _shards: { total: 1, successful: 1, failed: 0 },
        hits: { hits },
        status: 200,
      };
    });
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ took: 1, responses }));
  };
  server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, calls };
}

const endpoint = (url: string) => ({ url, index: 'passages', fields: ['text'], batch: 2 });

describe('a live search engine', () => {
  it('returns the endpoint’s lists, in batches and in order', async () => {
    await withIndex(TEXTS, 1000, async (index) => {
      const { url, calls } = await standIn(index);
      const done: number[] = [];
      const run = await searchStage({ ...endpoint(`${url}/`), authorization: 'ApiKey abc' }).retrieve(QUERIES, 2, (n) =>
        done.push(n),
      );
      const own = await bm25Stage(index).retrieve(QUERIES, 2);
      expect([...run.keys()]).toEqual(['1', '2', '3']);
      for (const [qid, { docids }] of own) expect(run.get(qid)?.docids).toEqual(docids);
      expect(calls.map(({ searches }) => searches.length)).toEqual([2, 1]);
      expect(calls[0]?.searches[0]).toMatchObject({
        query: { match: { text: { query: 'heat' } } },
        size: 2,
        _source: false,
      });
      expect(calls.every(({ headers }) => headers.authorization === 'ApiKey abc')).toBe(true);
      expect(done).toEqual([2, 3]);
    });
  });

  it('asks several fields and takes ids from a field', async () => {
    await withIndex(TEXTS, 1000, async (index) => {
      const { url, calls } = await standIn(index);
      const stage = searchStage({ ...endpoint(url), fields: ['title', 'text'], idField: 'pid' });
      const run = await stage.retrieve(new Map([['1', 'shock']]), 5);
      expect(run.get('1')?.docids).toEqual(['pid-d2']);
      expect(calls[0]?.searches[0]?.query.multi_match?.fields).toEqual(['title', 'text']);
    });
  });

  it('keeps ids that are numbers in the source digit by digit', async () => {
    await withIndex(TEXTS, 1000, async (index) => {
      const { url } = await standIn(index, (_, response) => {
        const hit = '{"_id": "x", "_score": 1.5, "_source": {"pid": 645990474109599745}}';
        response.writeHead(200).end(`{"responses": [{"hits": {"hits": [${hit}]}}]}`);
        return true;
      });
      const run = await searchStage({ ...endpoint(url), idField: 'pid' }).retrieve(new Map([['1', 'shock']]), 5);
      expect(run.get('1')?.docids).toEqual(['645990474109599745']);
    });
  });

  it('tries again when the engine is busy', async () => {
    await withIndex(TEXTS, 1000, async (index) => {
      const { url, calls } = await standIn(index, (call, response) => {
        if (call > 0) return false;
        response.writeHead(429).end(errorBody('es_rejected_execution_exception', 'busy'));
        return true;
      });
      const run = await searchStage(endpoint(url)).retrieve(new Map([['1', 'shock']]), 5);
      expect(run.get('1')?.docids).toEqual(['d2']);
      expect(calls).toHaveLength(2);
    });
  });

  it('says what the engine refused, with the query', async () => {
    await withIndex(TEXTS, 1000, async (index) => {
      const { url } = await standIn(index);
      const stage = searchStage({ ...endpoint(url), index: 'other' });
      await expect(stage.retrieve(QUERIES, 5)).rejects.toThrow(/other, query 1: .*no such index \[other\]/);
    });
    await expect(searchStage(endpoint('http://127.0.0.1:1')).retrieve(QUERIES, 5)).rejects.toThrow(
      /_msearch: expected a reachable server/,
    );
  });

  it('refuses answers in part', async () => {
    await withIndex(TEXTS, 1000, async (index) => {
      const { url } = await standIn(index, (_, response) => {
        const responses = [{ timed_out: true, hits: { hits: [] } }];
        response.writeHead(200).end(JSON.stringify({ responses }));
        return true;
      });
      await expect(searchStage(endpoint(url)).retrieve(new Map([['1', 'x']]), 5)).rejects.toThrow(
        /cut short by a timeout/,
      );
    });
  });
});
