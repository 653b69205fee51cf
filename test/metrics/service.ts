import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { childrenOf } from '../support/processes.ts';
import { freePort, json, pause, type Running, start, until } from './tools.ts';

const MODELS = ['minilm-l6-bce', 'minilm-l6-marginmse', 'minilm-l6-hinge'] as const;

const EXPERIMENTS = `experiments:
  - name: objective
    mode: split
    unit: user
    arms:
      - { name: bce, model: minilm-l6-bce }
      - { name: margin-mse, model: minilm-l6-marginmse }
    control: bce
    metrics: [{ name: clicks }]
  - name: candidate
    mode: shadow
    unit: user
    arms:
      - { name: bce, model: minilm-l6-bce }
      - { name: hinge, model: minilm-l6-hinge }
    control: bce
    metrics: [{ name: clicks }]
`;

/** A server of this checkout with the shipped models and two experiments. */
export interface Service {
  readonly url: string;
  /** host:port. */
  readonly target: string;
  readonly models: string;
  /** Process ids of the inference hosts. */
  hosts(): readonly number[];
  isReady(): Promise<boolean>;
  log(): string;
  stop(): Promise<void>;
}

/**
 * Starts a server.
 * @param folder gets copies of the models, which checks damage.
 * @param database SQLite file or URL of the experiment database.
 */
export async function startService(
  root: string,
  folder: string,
  database: string,
  settings: Readonly<Record<string, string>>,
): Promise<Service> {
  const models = join(folder, 'models');
  mkdirSync(models, { recursive: true });
  for (const name of MODELS) cpSync(join(root, 'models', name), join(models, name), { recursive: true });
  writeFileSync(join(models, 'default.json'), JSON.stringify({ model: 'minilm-l6-bce' }));
  writeFileSync(join(folder, 'experiments.yaml'), EXPERIMENTS);
  const port = await freePort();
  const running: Running = start(process.execPath, [join(root, 'bin/winnow.mjs'), 'serve'], {
    ...process.env,
    WINNOW_SERVER_HOST: '127.0.0.1',
    WINNOW_SERVER_PORT: String(port),
    WINNOW_REGISTRY_FOLDER: models,
    WINNOW_REGISTRY_DEFAULT_MODEL: 'minilm-l6-bce',
    WINNOW_EXPERIMENTS_FILE: join(folder, 'experiments.yaml'),
    WINNOW_EXPERIMENTS_DATABASE: database,
    ...settings,
  });
  const url = `http://127.0.0.1:${port}`;
  const isReady = async () => (await fetch(`${url}/health/ready`).catch(() => undefined))?.ok ?? false;
  await until('the server to be ready', async () => {
    if (running.process.exitCode !== null) throw new Error(`expected a running server, got ${running.log()}`);
    return (await isReady()) || undefined;
  });
  return {
    url,
    target: `127.0.0.1:${port}`,
    models,
    hosts: () => childrenOf(running.process.pid ?? 0),
    isReady,
    log: running.log,
    stop: running.stop,
  };
}

const WORDS = 'index query passage model score batch token engine host queue river bridge copper flea committee'.split(
  ' ',
);
const textOf = (seed: number, words: number) =>
  Array.from({ length: words }, (_, at) => WORDS[(seed * 7 + at * 5) % WORDS.length]).join(' ');

/** Ways to ask, by path: each has the body of one wire format. */
const WAYS: readonly (readonly [path: string, bodyOf: (query: string, texts: readonly string[]) => object])[] = [
  ['/rerank', (query, texts) => ({ query, texts })],
  ['/v2/rerank', (query, documents) => ({ model: 'minilm-l6-bce', query, documents })],
  [
    '/v2/rerank',
    (query, documents) => ({
      query,
      documents,
      cascade: [{ model: 'minilm-l6-hinge', keep: 2 }, { model: 'minilm-l6-bce' }],
    }),
  ],
  ['/v1/rerank', (query, documents) => ({ model: 'minilm-l6-bce', query, documents, top_n: 3 })],
];

export interface Load {
  /** Answers by status. */
  readonly statuses: ReadonlyMap<number, number>;
  stop(): Promise<void>;
}

interface LoadOptions {
  readonly clients: number;
  readonly passages: number;
  /** Between the answer of one request and the next, in milliseconds. */
  readonly pauseMs: number;
}

async function ask(url: string, turn: number, passages: number): Promise<number> {
  const [path, bodyOf] = WAYS[turn % WAYS.length]!;
  const texts = Array.from({ length: passages }, (_, at) => textOf(turn * 31 + at, 8 + ((turn + at) % 40)));
  const trace = `00-${turn.toString(16).padStart(32, 'a')}-00f067aa0ba902b7-01`;
  const response = await fetch(url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-user-id': `user-${turn % 40}`, traceparent: trace },
    body: JSON.stringify(bodyOf(`query ${turn}`, texts)),
    signal: AbortSignal.timeout(60_000),
  });
  await response.arrayBuffer();
  const request_id = response.headers.get('x-request-id');
  if (response.ok && turn % 5 === 0)
    await json(`${url}/v1/outcomes`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ request_id, metric: 'clicks', item: 0 }),
    });
  return response.status;
}

/** Sends requests until it is stopped. */
export function startLoad({ url }: Service, { clients, passages, pauseMs }: LoadOptions): Load {
  const statuses = new Map<number, number>();
  let turn = 0;
  let isOn = true;
  const client = async () => {
    while (isOn) {
      const status = await ask(url, turn++, passages).catch(() => 0);
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
      await pause(pauseMs);
    }
  };
  const done = Promise.all(Array.from({ length: clients }, client));
  return {
    statuses,
    async stop() {
      isOn = false;
      await done;
    },
  };
}
