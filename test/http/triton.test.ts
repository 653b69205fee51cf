import { once } from 'node:events';
import type { Server } from 'node:http';
import request from 'supertest';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { WinnowError } from '../../src/errors.ts';
import { createApp } from '../../src/http/app.ts';
import { createServer } from '../../src/http/server.ts';
import { type FakeDeps, fakeDeps, fakeLogit, sigmoid } from './fakes.ts';
import { type RawAnswer, recordedRequests, sendBytes } from './recorded-bytes.ts';

/** Requests as tritonclient sent them; test/clients/record-tritonclient.py records them. */
const recording = recordedRequests('tritonclient.json');

const QUERY = 'how do magnets work';
const PASSAGES = ['magnets attract iron', 'Käse ist rund 🧀', ''];
const LOGITS = PASSAGES.map((text) => fakeLogit(QUERY, text));
const SCORES = LOGITS.map(sigmoid);

let deps: FakeDeps;
let server: Server;

beforeEach(async () => {
  deps = fakeDeps();
  server = createServer(createApp(deps), { headerTimeoutMs: 20_000, bodyLimitBytes: 1_000_000 }).listen(0);
  await once(server, 'listening');
});
afterEach(() => void server.close());

const send = (bytes: Buffer) => sendBytes(server, bytes);
const replay = (name: string) => send(recording.get(name)!);

const jsonOf = ({ body }: RawAnswer) => JSON.parse(body.toString('utf8'));

const outputSchema = z.object({
  name: z.string(),
  datatype: z.string(),
  shape: z.tuple([z.number()]),
  data: z.array(z.number()).optional(),
  parameters: z.object({ binary_data_size: z.number() }).optional(),
});

/** Reads tensors as tritonclient does: JSON of the header's length, then the bytes of each output that has a size. */
function tensorsOf({ headers, body }: RawAnswer): Readonly<Record<string, readonly number[]>> {
  const length = Number(headers['inference-header-content-length'] ?? body.length);
  const { outputs } = z.object({ outputs: z.array(outputSchema) }).parse(JSON.parse(body.toString('utf8', 0, length)));
  let at = length;
  const tensors = outputs.map(({ name, datatype, shape: [count], data, parameters }) => {
    if (data) return [name, data] as const;
    const size = parameters?.binary_data_size ?? Number.NaN;
    const bytes = body.subarray(at, at + size);
    at += size;
    const width = size / count;
    expect([datatype, width]).toEqual(datatype === 'FP32' ? ['FP32', 4] : ['INT64', 8]);
    const values = Array.from({ length: count }, (_, i) =>
      width === 4 ? bytes.readFloatLE(4 * i) : Number(bytes.readBigInt64LE(8 * i)),
    );
    return [name, values] as const;
  });
  expect(at).toBe(body.length);
  return Object.fromEntries(tensors);
}

describe('infer of tritonclient', () => {
  it.each(['infer-binary', 'infer-gzip', 'infer-deflate', 'infer-json-out-binary', 'aio-infer-binary'])(
    '%s: scores as bytes',
    async (name) => {
      const answer = await replay(name);
      expect(answer.status, answer.body.toString()).toBe(200);
      expect(answer.headers).toMatchObject({ 'content-type': 'application/octet-stream' });
      expect(tensorsOf(answer)).toEqual({ scores: SCORES });
      expect(deps.reranker.requests[0]).toMatchObject({ query: QUERY, passages: PASSAGES });
    },
  );

  it.each(['infer-json', 'infer-binary-out-json', 'aio-infer-json'])('%s: scores as JSON', async (name) => {
    const answer = await replay(name);
    expect(answer.status, answer.body.toString()).toBe(200);
    expect(answer.headers['content-type']).toMatch(/^application\/json/);
    expect(answer.headers).not.toHaveProperty('inference-header-content-length');
    expect(tensorsOf(answer).scores?.map(Math.fround)).toEqual(SCORES);
  });

  it('gives ids back', async () => {
    expect(jsonOf(await replay('infer-binary-out-json'))).toMatchObject({ id: 'r-1', model_version: '1' });
    const { headers, body } = await replay('infer-json-out-binary');
    const length = Number(headers['inference-header-content-length']);
    expect(JSON.parse(body.toString('utf8', 0, length))).toMatchObject({ id: 'r-2', model_name: 'tiny' });
  });

  it('selects outputs, each in its own form, and takes priority, timeout and custom parameters', async () => {
    const answer = await replay('infer-outputs');
    expect(answer.status, answer.body.toString()).toBe(200);
    expect(tensorsOf(answer)).toEqual({ scores: LOGITS, indices: [0, 1, 2] });
    expect(deps.reranker.requests[0]).toMatchObject({ priority: 1, deadlineMs: 20_000, clientDeadline: true });
    expect(answer.headers).not.toHaveProperty('x-winnow-ignored');
  });

  it('is refused for outputs that there are not', async () => {
    const unknown = await replay('infer-unknown-output');
    expect(unknown.status).toBe(422);
    expect(jsonOf(unknown).error).toBe('expected `scores` or `indices`, got "logits" (string) (outputs[0].name)');
    expect(jsonOf(await replay('infer-classification')).error).toBe(
      'expected scores without classes, got 2 (outputs[0].parameters.classification)',
    );
    expect(deps.reranker.requests).toEqual([]);
  });
});

describe('other calls of tritonclient', () => {
  it.each(['metadata', 'server', 'live', 'server-ready', 'ready', 'index', 'aio-index', 'load', 'aio-load', 'unload'])(
    '%s is answered',
    async (name) => {
      const answer = await replay(name);
      expect(answer.status, answer.body.toString()).toBe(200);
      expect(jsonOf(answer)).toBeTypeOf('object');
    },
  );
});

describe('what tritonclient reads about models', () => {
  it('the configuration on several GPUs', async () => {
    const service = deps.info();
    const app = createApp({ ...deps, info: () => ({ ...service, provider: 'cuda', hosts: 4, devices: [0, 3] }) });
    const { body } = await request(app).get('/v2/models/tiny/versions/2/config');
    expect(body.instance_group).toEqual([{ kind: 'KIND_GPU', count: 2, gpus: [0, 3] }]);
    expect((await request(app).get('/info')).body.devices).toEqual([0, 3]);
    expect((await request(server).get('/info')).body).not.toHaveProperty('devices');
  });

  it('the configuration', async () => {
    expect(jsonOf(await replay('config'))).toEqual({
      name: 'tiny',
      platform: 'onnxruntime_onnx',
      backend: 'onnxruntime',
      version_policy: { all: {} },
      max_batch_size: 0,
      input: [
        { name: 'query', data_type: 'TYPE_STRING', dims: [1] },
        { name: 'passages', data_type: 'TYPE_STRING', dims: [-1] },
      ],
      output: [{ name: 'scores', data_type: 'TYPE_FP32', dims: [-1] }],
      instance_group: [{ kind: 'KIND_CPU', count: 2 }],
      parameters: {
        version: { string_value: '1' },
        state: { string_value: 'ready' },
        variant: { string_value: 'int8' },
        provider: { string_value: 'cpu' },
        max_length: { string_value: '512' },
        activation: { string_value: 'sigmoid' },
      },
    });
    const refused = await request(server).get('/v2/models/tiny/versions/2/config');
    expect(refused.body.parameters).toEqual({ version: { string_value: '2' }, state: { string_value: 'refused' } });
    expect((await request(server).get('/v2/models/none/config')).status).toBe(404);
    expect((await request(server).get('/v2/models/org%2Ftiny/config')).body.parameters.version).toEqual({
      string_value: '1',
    });
  });

  it('the statistics, which count answers, failures and their times by version', async () => {
    await replay('infer-binary');
    await request(server)
      .post('/rerank')
      .send({ query: 'q', texts: ['a', 'b'] })
      .expect(200);
    deps.reranker.before = () => {
      throw new WinnowError('inference_failed', { reason: 'no' });
    };
    await request(server)
      .post('/v2/rerank')
      .send({ query: 'q', documents: ['a'] })
      .expect(500);
    await request(server)
      .post('/v2/rerank')
      .send({ query: 7, documents: ['a'] })
      .expect(422);
    const { model_stats: all } = jsonOf(await replay('stats-all'));
    expect(all.map((one: { name: string; version: string }) => `${one.name}@${one.version}`)).toEqual([
      'tiny@1',
      'tiny@2',
      'other@1',
    ]);
    const [counted, refused] = jsonOf(await replay('stats')).model_stats;
    expect(counted).toEqual(all[0]);
    const times = (count: number, ns: unknown = expect.any(Number)) => ({ count, ns });
    expect(counted).toEqual({
      name: 'tiny',
      version: '1',
      last_inference: expect.any(Number),
      inference_count: 12,
      execution_count: 3,
      inference_stats: {
        success: times(2),
        fail: times(1),
        queue: times(2, 5_200_000),
        compute_input: times(2, 2_800_000),
        compute_infer: times(2, 20_000_000),
        compute_output: times(2),
      },
    });
    expect(counted.last_inference).toBeGreaterThan(1_700_000_000_000);
    expect(refused).toMatchObject({ last_inference: 0, execution_count: 0, inference_stats: { success: times(0, 0) } });
    const version = await request(server).get('/v2/models/tiny/versions/1/stats');
    expect(version.body.model_stats).toEqual([counted]);
  });

  it('the extensions that are served, and no others', async () => {
    const { extensions } = jsonOf(await replay('server'));
    expect(extensions).toEqual([
      'binary_tensor_data',
      'model_configuration',
      'model_repository',
      'model_repository(unload_dependents)',
      'parameters',
      'schedule_policy',
      'statistics',
      'metrics',
    ]);
    for (const path of ['systemsharedmemory/status', 'cudasharedmemory/status', 'trace/setting', 'logging'])
      expect((await request(server).get(`/v2/${path}`)).body.error).toContain('expected a known route');
  });

  it('a load with a configuration or files is refused', async () => {
    const answer = await replay('load-config');
    expect(answer.status).toBe(422);
    expect(jsonOf(answer).error).toBe('expected only the documented fields, got `config` (parameters)');
    expect(deps.registry.calls).toEqual([]);
  });
});

/** Texts in the protocol's form: four bytes of length in little-endian order, then UTF-8. */
function packed(texts: readonly (string | Buffer)[]): Buffer {
  return Buffer.concat(
    texts.map(Buffer.from).flatMap((bytes) => {
      const length = Buffer.alloc(4);
      length.writeUInt32LE(bytes.length);
      return [length, bytes];
    }),
  );
}

interface Sent {
  readonly query?: Buffer;
  readonly passages?: Buffer;
  readonly shape?: readonly number[];
  /** Size of the passages as the JSON says; their real one by default. */
  readonly size?: unknown;
  readonly more?: object;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Posts binary tensors with faults. */
async function infer(sent: Sent): Promise<RawAnswer> {
  const { query = packed([QUERY]), passages = packed(PASSAGES), shape = [PASSAGES.length], size, more, headers } = sent;
  const inputs = [
    { name: 'query', shape: [1], datatype: 'BYTES', parameters: { binary_data_size: query.length } },
    { name: 'passages', shape, datatype: 'BYTES', parameters: { binary_data_size: size ?? passages.length } },
  ];
  const json = Buffer.from(JSON.stringify({ inputs, ...more }));
  const body = Buffer.concat([json, query, passages]);
  const lines = Object.entries({
    host: 'localhost',
    'content-length': String(body.length),
    'inference-header-content-length': String(json.length),
    ...headers,
  }).map(([name, value]) => `${name}: ${value}\r\n`);
  return await send(Buffer.concat([Buffer.from(`POST /v2/models/tiny/infer HTTP/1.1\r\n${lines.join('')}\r\n`), body]));
}

describe('binary tensors', () => {
  it('may be typed as JSON, bytes, a form or plain text', async () => {
    for (const type of [
      'application/json',
      'application/octet-stream',
      'application/x-www-form-urlencoded',
      'text/plain;charset=UTF-8',
    ])
      expect((await infer({ headers: { 'content-type': type } })).status).toBe(200);
    expect((await infer({ headers: { 'content-type': 'application/xml' } })).status).toBe(415);
    const form = { 'content-type': 'text/plain', 'sec-fetch-site': 'same-origin' };
    expect((await infer({ headers: form })).status).toBe(415);
  });

  it('may have several dimensions, as lists too', async () => {
    expect(tensorsOf(await infer({ shape: [3, 1] })).scores?.map(Math.fround)).toEqual(SCORES);
    const inputs = [
      { name: 'query', shape: [1, 1], datatype: 'BYTES', data: [[QUERY]] },
      { name: 'passages', shape: [3, 1], datatype: 'BYTES', data: PASSAGES.map((text) => [text]) },
    ];
    const nested = await request(server).post('/v2/models/tiny/infer').send({ inputs });
    expect(nested.body.outputs[0].data.map(Math.fround)).toEqual(SCORES);
    const more = [inputs[0], { ...inputs[1], shape: [2, 1] }];
    const { body } = await request(server).post('/v2/models/tiny/infer').send({ inputs: more });
    expect(body.error).toBe('expected 2 strings, as the shape says, got more (inputs[1].data)');
  });

  it('cost a character, not the request, where their bytes are not UTF-8', async () => {
    const cut = Buffer.from('Käse').subarray(0, 2);
    const answer = await infer({ passages: packed(['a\0b', cut, Buffer.from([0x61, 0, 0xff])]) });
    expect(deps.reranker.requests[0]?.passages).toEqual(['ab', 'K\ufffd', 'a\ufffd']);
    expect(answer.headers['x-winnow-repaired']).toBe('3');
  });

  it.each<readonly [Sent, string]>([
    [
      { passages: packed(PASSAGES).subarray(0, -2) },
      'expected 4 bytes with the length of a text, got 2 (inputs[1].data[2])',
    ],
    [
      { passages: Buffer.from([255, 255, 255, 255, 65]), shape: [1] },
      'expected 4294967295 bytes of text, as its length says, got 1 (inputs[1].data[0])',
    ],
    [{ shape: [2] }, 'expected 2 texts, as the shape says, got 4 bytes more after them (inputs[1].data)'],
    [{ shape: [4] }, 'expected 4 bytes with the length of a text, got 0 (inputs[1].data[3])'],
    [{ size: 50 }, 'expected 73 bytes after the JSON, as `binary_data_size` says, got 74 (body)'],
    [{ size: 2 ** 31 }, 'expected 2147483671 bytes after the JSON, as `binary_data_size` says, got 74 (body)'],
    [{ size: -1 }, 'expected at least 0, got -1 (number) (inputs[1].parameters.binary_data_size)'],
    [{ query: packed([]) }, 'expected 4 bytes with the length of a text, got 0 (inputs[0].data[0])'],
    [{ shape: [20_000] }, 'expected at most 10000 passages, got 20000 (inputs[1].data)'],
    [{ shape: [0] }, 'expected at least 1 passage, got 0 (`inputs[1].data` cannot be empty)'],
    [{ shape: Array(17).fill(1) }, 'expected at most 16 items, got an array of 17 (inputs[1].shape)'],
    [
      { more: { outputs: [{ name: 'scores' }, { name: 'scores' }] } },
      'expected one output named `scores`, got another one (outputs[1].name)',
    ],
    [{ headers: { 'inference-header-content-length': '100000' } }, 'expected a body with 100000 bytes of JSON, got'],
    [
      { headers: { 'inference-header-content-length': '0' } },
      'expected the length of the JSON in bytes, at least 1, got "0" (string) (header inference-header-content-length)',
    ],
    [
      { headers: { 'inference-header-content-length': '12.5' } },
      'expected the length of the JSON in bytes, at least 1, got "12.5"',
    ],
  ])('with a fault are refused: %o', async (sent, message) => {
    const answer = await infer(sent);
    expect(answer.status).toBeGreaterThanOrEqual(400);
    expect(answer.status).toBeLessThan(500);
    expect(jsonOf(answer).error).toContain(message);
    expect(deps.reranker.requests).toEqual([]);
  });

  it('with a length inside the JSON are refused', async () => {
    const answer = await infer({ headers: { 'inference-header-content-length': '40' } });
    expect([answer.status, jsonOf(answer).code]).toEqual([400, 'malformed_json']);
  });

  it.each<readonly [object, string]>([
    [{ name: 'texts', data: ['a'] }, 'expected `query` or `passages`, got "texts" (string) (inputs[2].name)'],
    [{ name: 'query', data: ['a'] }, 'expected one input named `query`, got another one (inputs[2].name)'],
    [
      { name: 'passages', parameters: { shared_memory_region: 'r', shared_memory_byte_size: 4 } },
      'expected a tensor in the body, got shared memory (inputs[0].parameters.shared_memory_region)',
    ],
    [{ name: 'passages' }, 'expected an array, or `binary_data_size`, got nothing (inputs[0].data)'],
    [
      { name: 'passages', data: ['a'], parameters: { binary_data_size: 5 } },
      'expected either `data` or `binary_data_size`, got both (inputs[0].parameters.binary_data_size)',
    ],
  ])('%o is refused', async (input, message) => {
    const own = [
      { name: 'query', shape: [1], datatype: 'BYTES', data: ['q'] },
      { name: 'passages', shape: [1], datatype: 'BYTES', data: ['p'] },
    ];
    const odd = { shape: [1], datatype: 'BYTES', ...input };
    const json = JSON.stringify({ inputs: message.includes('[2]') ? [...own, odd] : [odd, own[0]] });
    const head = `POST /v2/models/tiny/infer HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${json.length}\r\n\r\n`;
    expect(jsonOf(await send(Buffer.from(head + json))).error).toBe(message);
  });
});
