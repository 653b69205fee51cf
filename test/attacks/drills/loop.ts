import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { ServerProcess } from '../../../bench/load/server.ts';
import { SHIPPED_NAME } from '../../../bench/load/shipped.ts';
import type { Drill } from '../harness/drill.ts';

const LIMIT_MS = 20;
const REPEATS = 3;

interface Input {
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: () => object | string | Buffer;
}

const QUERY = 'how long does a flea live';
const MIB = 2 ** 20;
/** Bytes of texts in one body, below `server.bodyLimitBytes`. */
const LARGE = 30 * MIB;
const DEADLINE = { 'x-winnow-deadline-ms': '4000' };

const many = (count: number, text: (i: number) => string) => Array.from({ length: count }, (_, i) => text(i));
const rerank = (texts: object, more: object = {}) => ({ query: QUERY, documents: texts, ...more });

const INFER = `/v2/models/${SHIPPED_NAME}/infer`;

/** A request of KServe's protocol with `count` passages as bytes, all of the same text; `shape` is that of the passages. */
function tensors(passage: Buffer, count: number, shape: readonly number[] = [count], more: object = {}): Input {
  const size = count * (passage.length + 4);
  const query = packed(Buffer.from(QUERY));
  const inputs = [
    { name: 'query', shape: [1], datatype: 'BYTES', parameters: { binary_data_size: query.length } },
    { name: 'passages', shape, datatype: 'BYTES', parameters: { binary_data_size: size } },
  ];
  const json = Buffer.from(JSON.stringify({ inputs, parameters: { binary_data_output: true }, ...more }));
  return {
    path: INFER,
    headers: { 'inference-header-content-length': String(json.length) },
    body: () => Buffer.concat([json, query, Buffer.alloc(size, packed(passage))]),
  };
}

function packed(text: Buffer): Buffer {
  const bytes = Buffer.alloc(4 + text.length);
  bytes.writeUInt32LE(text.length);
  text.copy(bytes, 4);
  return bytes;
}

/** Requests that make a loop over bytes, items or fields long. */
const INPUTS: Readonly<Record<string, Input>> = {
  'an ordinary request': { body: () => rerank(['a', 'b']) },
  'a long word': { body: () => rerank(['x'.repeat(LARGE)]) },
  'a long word of two bytes a character': { body: () => rerank(['ü'.repeat(LARGE / 2)]) },
  'a long word, returned': { body: () => rerank(['x'.repeat(LARGE)], { return_documents: true }) },
  'a text of escapes, returned': { body: () => rerank(['\n'.repeat(LARGE / 2)], { return_documents: true }) },
  'characters as tokens': { body: () => rerank(many(1000, () => '- '.repeat(15_000))) },
  '10,000 empty passages': { body: () => rerank(many(10_000, () => '')) },
  '10,000 passages, returned': {
    body: () =>
      rerank(
        many(10_000, (i) => `${i} ${'x'.repeat(2900)}`),
        { return_documents: true },
      ),
  },
  '1,000 passages of 30 KB': { body: () => rerank(many(1000, (i) => `${i} ${'word '.repeat(6000)}`)) },
  'a long query': { body: () => ({ query: 'x '.repeat(LARGE / 2), documents: ['a', 'b'] }) },
  'a large field that is unknown': { body: () => rerank(['a'], { extra: 'x'.repeat(LARGE) }) },
  'many unknown fields': {
    body: () => rerank(['a'], Object.fromEntries(many(60_000, (i) => `field${i}`).map((name) => [name, 1]))),
  },
  'a long model name': { body: () => rerank(['a'], { model: 'm'.repeat(LARGE) }) },
  'a deep cascade': {
    body: () =>
      rerank(
        many(100, () => 'a'),
        { cascade: many(5000, () => SHIPPED_NAME).map((model) => ({ model, keep: 100 })) },
      ),
  },
  'texts that are numbers': { body: () => ({ query: QUERY, documents: many(500_000, () => '').map(() => 1) }) },
  'documents as objects': {
    body: () => ({
      query: QUERY,
      documents: many(10_000, (i) => `${i}`).map((text) => ({ text, id: 'i'.repeat(2000) })),
    }),
  },
  'NUL in every second character': { body: () => rerank(['a\0'.repeat(LARGE / 7)]) },
  'halves of characters': { body: () => rerank(many(1000, () => '\ud83da'.repeat(LARGE / 7000))) },
  'a document of many parts': {
    body: () => rerank([{ content: many(100_000, () => 'a').map((text) => ({ type: 'text', text })) }]),
  },
  'many documents as parts': {
    body: () => rerank({ content: many(10_000, () => 'x'.repeat(2900)).map((text) => ({ type: 'text', text })) }),
  },
  'a least score of many texts': { body: () => ({ ...rerank(many(10_000, (i) => `${i}`)), min_score: 2 }) },
  'huge ids of an outcome': {
    path: '/v1/outcomes',
    body: () => ({ request_id: 'r'.repeat(LARGE), metric: 'm'.repeat(1000), value: 1 }),
  },
  'many outcomes': {
    path: '/v1/outcomes',
    body: () => ({
      outcomes: many(100_000, (i) => `r${i}`).map((request_id) => ({ request_id, metric: 'clicks', value: 1 })),
    }),
  },
  'text-embeddings-inference format': {
    path: '/rerank',
    body: () => ({ query: QUERY, texts: many(10_000, () => 'x'.repeat(2900)), return_text: true }),
  },
  'KServe format': {
    path: INFER,
    body: () => ({
      inputs: [
        { name: 'query', shape: [1], datatype: 'BYTES', data: [QUERY] },
        { name: 'passages', shape: [10_000], datatype: 'BYTES', data: many(10_000, () => 'x'.repeat(2900)) },
      ],
    }),
  },
  'KServe format, nested': {
    path: INFER,
    body: () => ({
      inputs: [
        { name: 'query', shape: [1], datatype: 'BYTES', data: [QUERY] },
        { name: 'passages', shape: [1, 400_000], datatype: 'BYTES', data: [many(400_000, () => '')] },
      ],
    }),
  },
  'many tensors': {
    path: INFER,
    body: () => ({
      inputs: many(60_000, (i) => `${i}`).map((name) => ({ name, shape: [1], datatype: 'BYTES', data: [] })),
    }),
  },
  'a tensor of many dimensions': {
    path: INFER,
    body: () => ({ inputs: [{ name: 'query', shape: many(400_000, () => '').map(() => 1), datatype: 'BYTES' }] }),
  },
  'binary: a long word': tensors(Buffer.alloc(LARGE, 'x'), 1),
  'binary: a long word of four bytes a character': tensors(Buffer.alloc(LARGE, '🧀'), 1),
  'binary: bytes that are not UTF-8': tensors(Buffer.alloc(LARGE, 0xff), 1),
  'binary: texts that are not UTF-8': tensors(Buffer.alloc(MIB, 0xff), 30),
  'binary: NUL and bytes that are not UTF-8': tensors(Buffer.alloc(MIB, Buffer.from([0, 0xff])), 30),
  'binary: 10,000 passages': tensors(Buffer.alloc(2900, 'x'), 10_000),
  'binary: 10,000 passages that are not UTF-8': tensors(Buffer.alloc(2900, 0xff), 10_000),
  'binary: 7,000,000 empty texts': tensors(Buffer.alloc(0), 7_000_000, [10_000]),
  'binary: many outputs': tensors(Buffer.alloc(1, 'x'), 1, [1], {
    outputs: many(200_000, () => '').map(() => ({ name: 'scores' })),
  }),
  'no JSON': { body: () => '"'.repeat(LARGE) },
  'white space': { body: () => `{"query":"q",${' '.repeat(LARGE)}"documents":["a"]}` },
};

/** Reads the longest turn of the server's event loop since the last call, in milliseconds of CPU. */
function turnReader(server: ServerProcess, file: string): () => Promise<number> {
  let readings = 0;
  return async () => {
    readings++;
    server.signal('SIGUSR2');
    for (;;) {
      await delay(5);
      const [number, milliseconds] = existsSync(file) ? readFileSync(file, 'utf8').split(' ') : [];
      if (Number(number) === readings && milliseconds) return Number(milliseconds);
    }
  };
}

async function send(url: string, { path = '/v1/rerank', headers = {} }: Input, body: string | Buffer): Promise<number> {
  const answer = await fetch(`${url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...DEADLINE, ...headers },
    body,
    signal: AbortSignal.timeout(60_000),
  });
  await answer.arrayBuffer();
  return answer.status;
}

/** Ten thousand small requests, a hundred at a time. */
async function small(url: string): Promise<number> {
  const body = JSON.stringify(rerank(['a']));
  let left = 10_000;
  await Promise.all(
    many(100, () => '').map(async () => {
      while (left-- > 0) await send(url, { body: () => body }, body);
    }),
  );
  return 200;
}

export const loop: Drill = {
  name: 'loop',
  attack: 'requests that make a turn of the front thread long, by its processor time',
  async run({ folder, start }, scale) {
    const file = join(folder, 'longest-turn');
    const preload = join(import.meta.dirname, '../harness/loop-cpu.ts');
    const server = await start({ env: { LOOP_CPU_FILE: file, NODE_OPTIONS: `--import ${preload}` } });
    const longestTurn = turnReader(server, file);
    const { url } = server;
    const slow: string[] = [];
    const seen: string[] = [];
    const cases: (readonly [string, () => Promise<number>])[] = Object.entries(INPUTS).map(([name, input]) => {
      const made = input.body();
      const body = typeof made === 'string' || made instanceof Buffer ? made : JSON.stringify(made);
      return [name, () => send(url, input, body)];
    });
    for (const [name, attack] of [...cases, ['10,000 small requests', () => small(url)] as const]) {
      const turns: number[] = [];
      let status = 0;
      for (let i = 0; i < REPEATS * scale && (i === 0 || Math.min(...turns) > LIMIT_MS); i++) {
        await longestTurn();
        status = await attack();
        turns.push(await longestTurn());
      }
      // Other programs that share the processor's caches lengthen a turn: the shortest is the server's own.
      const least = Math.min(...turns);
      seen.push(`${name} ${least.toFixed(0)}`);
      if (least > LIMIT_MS) slow.push(`${name}: expected at most ${LIMIT_MS} ms, got ${least.toFixed(0)} (${status})`);
      if (status >= 500 && status !== 504) slow.push(`${name}: ${status}`);
    }
    return { tries: seen.length, failures: slow, seen: `longest turn in ms: ${seen.join(', ')}` };
  },
};
