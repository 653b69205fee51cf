import request from 'supertest';
import { beforeEach, describe, expect, it } from 'vitest';
import { createApp } from '../../src/http/app.ts';
import { type FakeDeps, fakeDeps } from './fakes.ts';
import { PASSAGES, QUERY } from './pandas.ts';

/* What an answer says about text that was left out and fields that had no effect, in every wire format. */

let deps: FakeDeps;
beforeEach(() => {
  deps = fakeDeps();
});

interface Answer {
  readonly meta?: { readonly warnings?: readonly string[] };
  readonly parameters?: { readonly warnings: string };
}

type Body = Record<string, unknown>;

/** A wire format: its path, its body for a query, and where its answer has warnings. */
interface Format {
  readonly name: string;
  readonly path: string;
  body(query: string, more?: Body): Body;
  warnings(answer: Answer): readonly string[];
}

const meta = ({ meta: found }: Answer) => found?.warnings ?? [];
const plain = (name: string, path: string, fields: Body = {}): Format => ({
  name,
  path,
  body: (query, more) => ({ query, documents: PASSAGES, ...fields, ...more }),
  warnings: meta,
});

const FORMATS: readonly Format[] = [
  plain('jina', '/rerank'),
  plain('cohere-v1', '/v1/rerank'),
  plain('cohere-v2', '/v2/rerank'),
  plain('voyage', '/v1/rerank', { top_k: 4 }),
  plain('weaviate', '/rerank', { property: 'text' }),
  { ...plain('tei', '/rerank'), body: (query, more) => ({ query, texts: PASSAGES, ...more }) },
  {
    ...plain('nim', '/v1/ranking'),
    body: (text, more) => ({ query: { text }, passages: PASSAGES.map((passage) => ({ text: passage })), ...more }),
  },
  { ...plain('score', '/score'), body: (query, more) => ({ text_1: query, text_2: PASSAGES, ...more }) },
  {
    name: 'kserve',
    path: '/v2/models/tiny/infer',
    body: (query, more = {}) => ({
      inputs: [
        { name: 'query', shape: [1], datatype: 'BYTES', data: [query] },
        { name: 'passages', shape: [PASSAGES.length], datatype: 'BYTES', data: PASSAGES },
      ],
      parameters: more,
    }),
    warnings: ({ parameters }) => parameters?.warnings.split('; ') ?? [],
  },
];

const send = ({ path }: Format, body: Body) => request(createApp(deps)).post(path).send(body).expect(200);

describe.each(FORMATS)('$name', (format) => {
  const isList = format.name === 'tei';

  it('says nothing where nothing was left out', async () => {
    const { headers, body } = await send(format, format.body(QUERY, { max_tokens_per_doc: 9 }));
    expect(headers).not.toHaveProperty('x-winnow-query-truncated');
    expect(headers).not.toHaveProperty('x-winnow-ignored');
    expect(format.warnings(body)).toEqual([]);
    expect(body).not.toHaveProperty('parameters');
  });

  it('says how many tokens of the query were left out', async () => {
    const { headers, body } = await send(format, format.body('q'.repeat(1060)));
    expect(headers['x-winnow-query-truncated']).toBe('60');
    expect(deps.telemetry.events.at(-1)).toMatchObject({ queryTruncated: 60 });
    if (!isList) expect(format.warnings(body)).toEqual(['the query was truncated: 60 tokens left out']);
  });

  it('names fields that have no effect, and not those that ask for nothing', async () => {
    const more = { instruction: 'be kind', rewrite_query: true, prompt_name: '', normalize: null, request_id: 'r' };
    const { headers, body } = await send(format, format.body(QUERY, more));
    const at = format.name === 'kserve' ? 'parameters.' : '';
    expect(headers['x-winnow-ignored']).toBe(`${at}instruction, ${at}rewrite_query`);
    if (!isList)
      expect(format.warnings(body)).toEqual([
        `\`${at}instruction\` is not supported and had no effect`,
        `\`${at}rewrite_query\` is not supported and had no effect`,
      ]);
  });

  it('passes an instruction on, under every name that clients have for it', async () => {
    const at = format.name === 'kserve' ? 'parameters.' : '';
    deps.reranker.after = ({ instructionIgnored: _ignored, ...answer }) => answer;
    for (const [more, ignored] of [
      [{ instruction: 'be kind' }, undefined],
      [{ instruct: 'be kind', instruction: '' }, undefined],
      [{ chat_template_kwargs: { instruction: 'be kind' }, instruct: 'be kind' }, undefined],
      [{ instruction: 'be kind', instruct: 'be strict' }, `${at}instruct`],
      [
        { chat_template_kwargs: { instruction: 'be kind', enable_thinking: true } },
        `${at}chat_template_kwargs.enable_thinking`,
      ],
    ] as const) {
      const { headers } = await send(format, format.body(QUERY, more));
      expect(deps.reranker.requests.at(-1)).toMatchObject({ instruction: 'be kind' });
      expect(deps.reranker.requests.at(-1)).not.toHaveProperty('instructionField');
      expect(headers['x-winnow-ignored']).toBe(ignored);
    }
    await send(format, format.body(QUERY, { chat_template_kwargs: {}, instruction: null }));
    expect(deps.reranker.requests.at(-1)).not.toHaveProperty('instruction');
  });

  it('names the field of an instruction that no model used', async () => {
    const at = format.name === 'kserve' ? 'parameters.' : '';
    const { headers } = await send(format, format.body(QUERY, { chat_template_kwargs: { instruction: 'be kind' } }));
    expect(headers['x-winnow-ignored']).toBe(`${at}chat_template_kwargs.instruction`);
  });

  it('reads every limit that some format has', async () => {
    const limits = {
      max_tokens_per_query: 16,
      max_tokens_per_doc: 24,
      truncate_prompt_tokens: 32,
      max_chunks_per_doc: 3,
    };
    const { headers } = await send(format, format.body(QUERY, limits));
    expect(deps.reranker.requests.at(-1)).toMatchObject({
      maxQueryTokens: 16,
      maxPassageTokens: 24,
      maxPairTokens: 32,
      maxWindows: 3,
    });
    expect(headers).not.toHaveProperty('x-winnow-ignored');
  });

  it('takes 0 for no limit, and -1 for the length of the model', async () => {
    deps = fakeDeps({ options: { ...deps.options, autoTruncate: false } });
    const none = { max_tokens_per_query: 0, max_tokens_per_doc: 0, max_chunks_per_doc: 0 };
    await send(format, format.body(QUERY, none));
    await send(format, format.body(QUERY, { truncate_prompt_tokens: -1 }));
    const [first, second] = deps.reranker.requests;
    for (const field of ['maxQueryTokens', 'maxPassageTokens', 'maxPairTokens', 'maxWindows']) {
      expect(first).not.toHaveProperty(field);
      expect(second).not.toHaveProperty(field);
    }
    expect([first?.truncate, second?.truncate]).toEqual([false, true]);
  });

  it('refuses limits that are none', async () => {
    for (const [field, value] of Object.entries({
      max_tokens_per_query: -1,
      max_tokens_per_doc: 1.5,
      truncate_prompt_tokens: 7,
      max_chunks_per_doc: 'two',
    })) {
      const { status, text } = await request(createApp(deps))
        .post(format.path)
        .send(format.body(QUERY, { [field]: value }));
      expect([status, text]).toEqual([422, expect.stringContaining(field)]);
    }
  });
});

describe('fields without effect', () => {
  const jina = FORMATS[0]!;
  const ignored = async (more: Body, format = jina): Promise<string> =>
    String((await send(format, format.body(QUERY, more))).headers['x-winnow-ignored']);

  it('are at most 16, each as printable ASCII', async () => {
    const many = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`f${i}`, 1]));
    expect((await ignored(many)).split(', ')).toHaveLength(16);
    expect(await ignored({ 'n\u00e9\r\nx: 1': 1, ['l'.repeat(300)]: 1 })).toBe(`"n?\\r\\nx: 1", "${'l'.repeat(64)}"`);
  });

  it('are those of other formats too', async () => {
    expect(await ignored({ truncate: false, return_text: true })).toBe('truncate, return_text');
    const [pairs, weaviate, kserve, nim] = ['score', 'weaviate', 'kserve', 'nim'].map((wanted) =>
      FORMATS.find(({ name }) => name === wanted),
    );
    expect(await ignored({ top_n: 2, cascade: [] }, pairs)).toBe('top_n, cascade');
    expect(await ignored({ top_n: 2, rank_fields: ['a'] }, weaviate)).toBe('top_n, rank_fields');
    expect(await ignored({ model: 'other' }, kserve)).toBe('parameters.model');
    expect(await ignored({ raw_scores: false, query: { text: QUERY, image: 'x' } }, nim)).toBe(
      'query.image, raw_scores',
    );
  });
});

describe('fields that other fields overrule', () => {
  const [jina, tei, nim, pairs, kserve] = ['jina', 'tei', 'nim', 'score', 'kserve'].map(
    (wanted) => FORMATS.find(({ name }) => name === wanted)!,
  );

  it.each([
    [jina, { top_k: 2, top_n: 3 }, 'top_n'],
    [jina, { top_k: 2, top_n: 2 }, undefined],
    [jina, { raw_scores: true, use_activation: true }, 'use_activation'],
    [jina, { raw_scores: true, use_activation: false }, undefined],
    [jina, { long_passages: 'truncate', max_chunks_per_doc: 4 }, 'max_chunks_per_doc'],
    [jina, { long_passages: 'mean', max_chunks_per_doc: 4 }, undefined],
    [jina, { cascade: [{ model: 'tiny', keep: 2, depth: 9 }, { model: 'tiny' }] }, 'cascade[0].depth'],
    [tei, { truncate: false, truncation: true }, 'truncation'],
    [tei, { truncation_direction: 'Right', truncation_side: 'left' }, 'truncation_side'],
    [tei, { truncation_direction: 'Left', truncation_side: 'left' }, undefined],
    [nim, { raw_scores: false }, 'raw_scores'],
    [pairs, { queries: ['other'], data_2: 'c' }, 'queries, data_2'],
    [kserve, { long_passages: 'truncate', max_chunks_per_doc: 4 }, 'parameters.max_chunks_per_doc'],
  ])('$0.name with %j: %s', async (format, more: Body, expected) => {
    expect((await send(format!, format!.body(QUERY, more))).headers['x-winnow-ignored']).toBe(expected);
  });
});

describe('a body of many fields', () => {
  it('is answered without a list of their names', async () => {
    const many = Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`field${i}`, 1]));
    const { headers, body } = await send(FORMATS[0]!, FORMATS[0]!.body(QUERY, many));
    expect(headers['x-winnow-ignored']).toBe('*');
    expect(body.results).toHaveLength(PASSAGES.length);
  });
});

describe('pairs with several queries', () => {
  it('add up what was left out', async () => {
    const { headers, body } = await request(createApp(deps))
      .post('/score')
      .send({ text_1: ['q'.repeat(1010), 'short', 'p'.repeat(1001)], text_2: ['a', 'b', 'c'] });
    expect(headers['x-winnow-query-truncated']).toBe('11');
    expect(body.meta.warnings).toEqual(['2 of 3 queries were truncated: 11 tokens left out']);
  });
});

describe('the limit of a query', () => {
  const facts = async () => {
    const app = createApp(deps);
    const info = await request(app).get('/info');
    const models = await request(app).get('/v1/models');
    return [info.body.max_query_tokens, models.body.data[0].max_query_tokens];
  };

  it('is reported where the server states one, and absent elsewhere', async () => {
    expect(await facts()).toEqual([null, undefined]);
    deps = fakeDeps({ options: { ...deps.options, maxQueryTokens: 48 } });
    expect(await facts()).toEqual([48, 48]);
  });
});
