import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { type ServerProcess, startServerProcess } from '../../bench/load/server.ts';
import { withAdmissionTools } from '../../src/main/admission-tools.ts';
import { importFolder } from '../../src/registry/import-version.ts';
import { winnow } from '../support/command.ts';
import { writeTinyBiEncoder } from '../support/tiny-bi-encoder.ts';
import { tinyData, WORDS, writeTinyModel } from '../support/tiny-model.ts';
import { orderOf, Scratch } from './support.ts';

/* A bi-encoder takes the place of a cross-encoder wherever a model is named: formats, labels, cascades, experiments, commands. */

const scratch = new Scratch();
const folder = scratch.make();
const models = join(folder, 'models');
const QUERY = `${WORDS[2]} ${WORDS[3]}`;
const PASSAGES = [
  `${WORDS[22]} ${WORDS[5]}`,
  `${WORDS[30]}`,
  `${WORDS[3]} ${WORDS[2]} ${WORDS[23]}`,
  `${WORDS[11]} `.repeat(9),
];
const experiments = [
  {
    name: 'trial',
    mode: 'split',
    arms: [
      { name: 'apart', model: 'e:stable' },
      { name: 'together', model: 'm' },
    ],
    control: 'together',
    when: { header: { 'x-trial': 'yes' } },
    metrics: [{ name: 'clicks' }],
  },
  {
    name: 'staged',
    mode: 'split',
    arms: [
      { name: 'both', model: 'both' },
      { name: 'one', model: 'm' },
    ],
    control: 'one',
    when: { header: { 'x-trial': 'staged' } },
    metrics: [{ name: 'clicks' }],
  },
];

/** A cascade that requests name `both`. */
const BOTH = [
  { model: 'e', keep: 3 },
  { model: 'm', blend: 0.5 },
];

let server: ServerProcess;
/** Cosines by the plainest route, and the order that they make. */
let cosines: number[];
let order: number[];

const post = async (path: string, body: unknown, headers: Readonly<Record<string, string>> = {}) => {
  const response = await fetch(server.url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  expect(response.status, `${path}: ${text}`).toBe(200);
  return { json: JSON.parse(text), headers: response.headers };
};

beforeAll(async () => {
  const bare = await writeTinyBiEncoder(join(folder, 'bare'));
  const pairs = await writeTinyModel(join(folder, 'pairs'));
  const sides = { kind: 'bi-encoder', pooling: 'mean', queryPrefix: `${WORDS[0]} `, passagePrefix: '' } as const;
  await withAdmissionTools({ provider: 'cpu' }, async (deps) => {
    await importFolder(bare, models, 'e', deps, { sides, label: 'stable' });
    await importFolder(pairs, models, 'm', deps);
  });
  writeFileSync(join(folder, 'experiments.yaml'), stringify({ experiments }));
  server = await startServerProcess({
    flags: [
      ...['--models', models, '--registry-default-model', 'e', '--inference-hosts', '1'],
      ...['--registry-cascades', JSON.stringify({ both: BOTH })],
      ...['--experiments', join(folder, 'experiments.yaml')],
      ...['--experiments-database', join(folder, 'experiments.sqlite')],
    ],
    env: { WINNOW_MODELS: '' },
  });
  const { json } = await post('/rerank', { query: QUERY, texts: PASSAGES, raw_scores: true });
  cosines = (json as { index: number; score: number }[])
    .toSorted((a, b) => a.index - b.index)
    .map(({ score }) => score);
  order = orderOf(cosines);
});
afterAll(async () => {
  await server?.stop();
  scratch.clear();
});

it('scores are cosines that differ', () => {
  for (const cosine of cosines) expect(Math.abs(cosine)).toBeLessThanOrEqual(1);
  expect(new Set(cosines).size).toBe(PASSAGES.length);
});

type Result = {
  readonly index: number;
  readonly score?: number;
  readonly relevance_score?: number;
  readonly logit?: number;
};
const documents = PASSAGES;

interface Format {
  readonly name: string;
  readonly path: string;
  readonly body: object;
  /** Where the results are; '' for the whole answer. */
  readonly at: string;
  readonly headers?: Readonly<Record<string, string>>;
}

const asked = { model: 'e', query: QUERY };
const objects = documents.map((text) => ({ text }));

/** Every format that ranks. */
const RANKINGS: readonly Format[] = [
  { name: 'Cohere v2', path: '/v2/rerank', body: { ...asked, documents }, at: 'results' },
  { name: 'Cohere v1', path: '/v1/rerank', body: { ...asked, documents, return_documents: true }, at: 'results' },
  { name: 'Jina', path: '/reranks', body: { ...asked, documents }, at: 'results' },
  { name: 'Infinity', path: '/infinity/rerank', body: { ...asked, documents, raw_scores: true }, at: 'results' },
  { name: 'Voyage', path: '/v1/rerank', body: { ...asked, documents, top_k: 4 }, at: 'data' },
  {
    name: 'Pinecone',
    path: '/rerank',
    body: { ...asked, documents: objects },
    at: 'data',
    headers: { 'x-pinecone-api-version': '2025-01' },
  },
  { name: 'mixedbread', path: '/v1/reranking', body: { ...asked, input: documents }, at: 'data' },
  { name: 'TEI', path: '/rerank', body: { query: QUERY, texts: documents }, at: '' },
  { name: 'NIM', path: '/v1/ranking', body: { ...asked, query: { text: QUERY }, passages: objects }, at: 'rankings' },
];

describe('every format', () => {
  it.each(RANKINGS)('$name ranks by them', async ({ path, body, at, headers }) => {
    const { json } = await post(path, body, headers);
    const results: readonly Result[] = at === '' ? json : json[at];
    expect(results.map(({ index }) => index)).toEqual(order);
    for (const { index, ...scores } of results)
      expect(scores.score ?? scores.relevance_score ?? scores.logit).toBeCloseTo(cosines[index]!, 5);
  });

  it('pairs, tensors and Weaviate have them in the order sent', async () => {
    const weaviate = (await post('/rerank', { query: QUERY, documents, property: '' })).json;
    const scored = (await post('/score', { model: 'e', text_1: QUERY, text_2: documents })).json;
    const predicted = (await post('/predict', { inputs: documents.map((text) => [QUERY, text]), raw_scores: true }))
      .json;
    const tensor = (name: string, data: readonly string[]) => ({ name, datatype: 'BYTES', shape: [data.length], data });
    const inputs = [tensor('query', [QUERY]), tensor('passages', documents)];
    const inferred = (await post('/v2/models/e/infer', { inputs })).json;
    const all = [
      weaviate.scores.map((one: { score: number }) => one.score),
      scored.data.map((one: { score: number }) => one.score),
      predicted.flat().map((one: { score: number }) => one.score),
      inferred.outputs[0].data,
    ];
    for (const scores of all)
      for (const [i, score] of (scores as number[]).entries()) expect(score).toBeCloseTo(cosines[i]!, 5);
  });
});

describe('a server', () => {
  it('knows it by label, version and kind', async () => {
    await post('/v2/rerank', { model: 'm', query: QUERY, documents });
    for (const model of ['e', 'e@1', 'e:stable'])
      expect((await post('/v2/rerank', { model, query: QUERY, documents })).json.results[0].index).toBe(order[0]);
    const response = await fetch(`${server.url}/v1/models`);
    const listed = (await response.json()) as { readonly data: readonly Record<string, unknown>[] };
    expect(listed.data.map((one) => [one.id, one.model_kind])).toEqual(
      expect.arrayContaining([
        ['e', 'bi-encoder'],
        ['m', 'cross-encoder'],
      ]),
    );
  });

  it.each([
    ['before', 'e', 'm'],
    ['after', 'm', 'e'],
  ])('runs it %s a cross-encoder in a cascade', async (_where, first, last) => {
    const alone = async (model: string): Promise<Result[]> =>
      (await post('/v2/rerank', { model, query: QUERY, documents })).json.results;
    const cascade = [
      { model: first, keep: 3 },
      { model: last, keep: 2 },
    ];
    const { json } = await post('/v2/rerank', { query: QUERY, documents, cascade });
    const kept = (await alone(first)).slice(0, 3).map(({ index }) => index);
    const expected = (await alone(last)).filter(({ index }) => kept.includes(index)).slice(0, 2);
    expect(json.results.map((one: Result) => one.index)).toEqual(expected.map(({ index }) => index));
  });

  it('runs a cascade by its name, which /v1/models lists, in formats that answer in the order sent too', async () => {
    const sent = await post('/v2/rerank', { query: QUERY, documents, cascade: BOTH });
    const named = await post('/v2/rerank', { model: 'both', query: QUERY, documents });
    expect(named.json.results).toEqual(sent.json.results);
    expect(named.json.model).toBe('m@1');
    const { json } = await post('/score', { model: 'both', data_1: QUERY, data_2: documents });
    const scores = (json.data as { score: number }[]).map(({ score }) => score);
    expect(orderOf(scores)).toEqual(named.json.results.map(({ index }: Result) => index));
    const { data } = (await (await fetch(`${server.url}/v1/models`)).json()) as {
      data: { id: string; cascade?: unknown }[];
    };
    expect(data.find(({ id }) => id === 'both')?.cascade).toEqual(BOTH);
  });

  it('is an arm of an experiment beside a cross-encoder', async () => {
    const seen = new Map<string, number[]>();
    for (let unit = 0; unit < 12; unit++) {
      const sent = { 'x-trial': 'yes', 'x-user-id': `u${unit}` };
      const { json, headers } = await post('/v2/rerank', { query: QUERY, documents }, sent);
      const arm = headers.get('x-winnow-arm') ?? '';
      seen.set(
        arm,
        json.results.map((one: Result) => one.index),
      );
    }
    expect([...seen.keys()].toSorted()).toEqual(['apart', 'together']);
    expect(seen.get('apart')).toEqual(order);
  });

  it('is a stage of a cascade that an experiment compares with a model', async () => {
    const arms = new Map<string, Result[]>();
    for (let unit = 0; unit < 12; unit++) {
      const sent = { 'x-trial': 'staged', 'x-user-id': `u${unit}` };
      const { json, headers } = await post('/v2/rerank', { query: QUERY, documents }, sent);
      arms.set(headers.get('x-winnow-arm') ?? '', json.results);
    }
    expect([...arms.keys()].toSorted()).toEqual(['both', 'one']);
    const { json } = await post('/v2/rerank', { query: QUERY, documents, cascade: BOTH });
    expect(arms.get('both')).toEqual(json.results);
  });

  it('ignores `prune`, as for every model that was not calibrated for it', async () => {
    const { json } = await post('/v2/rerank', { query: QUERY, documents, top_n: 1, prune: { recall: 0.9 } });
    expect(json.results[0].index).toBe(order[0]);
  });
});

describe('commands', () => {
  it('score: its cosines as a run', async () => {
    const data = tinyData(join(folder, 'lists.jsonl'), 6);
    const out = join(folder, 'e.run');
    const { code, error } = await winnow(
      ...['score', '--format', 'jsonl', '--data', data, '--models', models, '--model', 'e', '--out', out],
    );
    expect(code, error).toBe(0);
    const scores = readFileSync(out, 'utf8')
      .trim()
      .split('\n')
      .map((line) => Number(line.split(/\s+/)[4]));
    expect(scores).toHaveLength(6 * 8);
    for (const score of scores) expect(Math.abs(score)).toBeLessThanOrEqual(1);
  });

  it('eval: alone and in a cascade', async () => {
    const lists = Array.from({ length: 3 }, (_, q) => ({
      query: WORDS[q],
      hits: PASSAGES.map((content, d) => ({ qid: `q${q}`, docid: `d${q}-${d}`, rank: d + 1, score: 9 - d, content })),
    }));
    writeFileSync(join(folder, 'set.json'), JSON.stringify(lists));
    writeFileSync(join(folder, 'set.qrels'), lists.map((_, q) => `q${q} 0 d${q}-2 1\n`).join(''));
    const suite = {
      name: 'apart',
      measures: ['nDCG@10'],
      sets: [{ name: 'set', path: 'set.json', qrels: 'set.qrels' }],
      models: ['e', { name: 'both', cascade: [{ model: 'e', keep: 2 }, { model: 'm' }] }],
    };
    writeFileSync(join(folder, 'suite.yaml'), stringify(suite));
    const out = join(folder, 'out');
    const { code, error } = await winnow('eval', join(folder, 'suite.yaml'), '--models', models, '--out', out);
    expect(code, error).toBe(0);
    expect(readFileSync(join(out, 'report.md'), 'utf8')).toMatch(/\| both \|/);
  });

  it('prune: refused with the reason, and nothing is written', async () => {
    const data = tinyData(join(folder, 'prune.jsonl'), 24);
    const before = readFileSync(join(models, 'e/1/model.json'), 'utf8');
    const { code, error } = await winnow('prune', join(models, 'e/1'), '--format', 'jsonl', '--data', data);
    expect(code).not.toBe(0);
    expect(error).toMatch(/expected a model that reads query and passage together.*got a bi-encoder/);
    expect(readFileSync(join(models, 'e/1/model.json'), 'utf8')).toBe(before);
  });

  it('models verify and list: its length, activation and hashes', async () => {
    const verified = await winnow('models', 'verify', 'e', '--models', models);
    expect(verified).toMatchObject({ code: 0, output: 'e@1: admitted (fp32)\n' });
    expect(existsSync(join(models, 'e/labels.json'))).toBe(true);
  });
});
