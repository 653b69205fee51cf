import { createHash } from 'node:crypto';
import { WinnowError } from '../../src/errors.ts';
import { ExperimentService } from '../../src/experiments/experiment-service.ts';
import { createExperimentsApi } from '../../src/experiments/experiments-api.ts';
import { ByteAccount } from '../../src/http/byte-account.ts';
import type { HttpDeps, HttpOptions, HttpTelemetry, RequestEvent } from '../../src/http/ports.ts';
import { Aliases } from '../../src/registry/aliases.ts';
import type { Lease, ModelRegistry, VersionStatus } from '../../src/registry/registry-types.ts';
import type { KeptReport, PassagesApi, WarmRequest } from '../../src/rerank/passages-api.ts';
import type { Ranked, RerankAnswer, Reranker, RerankRequest } from '../../src/rerank/rerank-types.ts';
import type { TokenReader } from '../../src/rerank/text-tokens.ts';
import { passThrough } from '../../src/telemetry/tracing.ts';

/** Returns a logit that depends on query and passage alone, between -8 and 8. */
export function fakeLogit(query: string, passage: string): number {
  const hash = createHash('sha256').update(`${query}\u0000${passage}`).digest();
  return Math.fround((hash.readUInt32LE(0) / 2 ** 32) * 16 - 8);
}

export const sigmoid = (x: number) => Math.fround(1 / (1 + Math.exp(-x)));

export interface FakeReranker extends Reranker {
  readonly requests: RerankRequest[];
  /** Called before each answer; may throw or wait. */
  before?: (request: RerankRequest) => Promise<void> | void;
  /** Changes each answer. */
  after?: (answer: RerankAnswer) => RerankAnswer;
}

/** Implements the port with a hash instead of a model. Passages of more than 2,000 characters count as truncated. */
export function fakeReranker(models: readonly string[] = ['tiny']): FakeReranker {
  const fake: FakeReranker = {
    requests: [],
    async rerank(request) {
      fake.requests.push(request);
      await fake.before?.(request);
      const [name = ''] = (request.cascade?.at(-1)?.model ?? request.model ?? models[0]!).split(/[@:]/);
      if (!models.includes(name)) throw new WinnowError('unknown_model', { known: models.join(', '), got: name });
      const truncated = request.passages.map((passage) => passage.length > 2000);
      if (!request.truncate && truncated.includes(true))
        throw new WinnowError('passage_too_long', {
          limit: 512,
          got: 600,
          field: `passages[${truncated.indexOf(true)}]`,
        });
      const ranking: Ranked[] = request.passages
        .map((passage, index) => ({ index, score: fakeLogit(request.query, passage) }))
        .sort((a, b) => b.score - a.score || a.index - b.index)
        .map(({ index, score }) => ({ index, score, relevanceScore: sigmoid(score) }));
      const { minScore, topN } = request;
      const kept = ranking.filter(({ relevanceScore }) => relevanceScore >= Math.fround(minScore ?? 0));
      const answer: RerankAnswer = {
        model: name,
        version: '1',
        ranking: kept.slice(0, topN),
        ...(minScore === undefined ? {} : { belowMinScore: ranking.length - kept.length }),
        tokens: request.passages.length * 10,
        truncated,
        queryCut: Math.max(0, request.query.length - 1000),
        // Its models read pairs.
        ...(request.instruction === undefined ? {} : { instructionIgnored: true }),
        timings: { tokenizeMs: 1.4, queueMs: 2.6, inferMs: 10, totalMs: 14 },
      };
      return fake.after ? fake.after(answer) : answer;
    },
  };
  return fake;
}

/** Implements the port with one token for each word, whose id is its length. */
export const fakeTokenReader: TokenReader = {
  async tokens({ texts, special, atMost, model = 'tiny' }) {
    if (model !== 'tiny') throw new WinnowError('unknown_model', { known: 'tiny', got: model });
    const words = texts.map((text) => text.split(' ').filter(Boolean));
    if (words.flat().length > atMost)
      throw new WinnowError('invalid_field', { expected: `at most ${atMost} tokens`, got: 'more', field: 'texts' });
    const [before, after] = special ? [1, 1] : [0, 0];
    const around = special ? [0] : [];
    return {
      model,
      version: '1',
      texts: words.map((list) => ({
        ids: Int32Array.from([...around, ...list.map(({ length }) => length), ...around]),
        before,
        after,
      })),
      spelling: new Map([[0, '[S]'], ...words.flat().map((word) => [word.length, word] as const)]),
    };
  },
};

export const KEPT_COUNTS = { entries: 2, bytes: 100, hits: 3, misses: 1, evictions: 0, unkept: 0 };

/** Keeps nothing. Texts of more than 20 characters are too long. */
export function fakePassages(shared = false) {
  const warmed: WarmRequest[] = [];
  const reports: (string | undefined)[] = [];
  const cleared: Parameters<PassagesApi['clear']>[] = [];
  const api: PassagesApi = {
    shared,
    async warm(asked) {
      warmed.push(asked);
      const { passages, model = 'tiny', truncate } = asked;
      if (model === 'other')
        throw new WinnowError('invalid_field', { expected: 'a bi-encoder', got: model, field: 'model' });
      if (passages.includes('broken')) throw new WinnowError('not_a_number', { row: passages.indexOf('broken') });
      const tooLong = [...passages.keys()].filter((i) => passages[i]!.length > 20);
      const leftOut = truncate ? 0 : tooLong.length;
      const sizes = { stored: passages.length - leftOut, present: 0, notKept: 0, tooLong, leftOut };
      const timings = { tokenizeMs: 1, queueMs: 2, inferMs: 3, totalMs: 6 };
      return { model, version: '1', ...sizes, tokens: 10, bytes: 64, timings };
    },
    report(owner): KeptReport {
      reports.push(owner);
      const file = { entries: 1, bytes: 50, unwritten: 0, damaged: 0 };
      return {
        limitBytes: 1000,
        ...KEPT_COUNTS,
        models: [{ model: 'tiny', version: '1', variant: 'int8', ...KEPT_COUNTS }],
        file,
      };
    },
    async clear(...asked) {
      cleared.push(asked);
      return { entries: 2, bytes: 100 };
    },
  };
  return { api, warmed, reports, cleared };
}

export interface FakeRegistry extends ModelRegistry {
  readonly calls: string[];
}

export function fakeRegistry(): FakeRegistry {
  let versions: VersionStatus[] = [
    {
      name: 'tiny',
      version: '1',
      state: 'ready',
      labels: ['stable'],
      variant: 'int8',
      provider: 'cpu',
      maxLength: 512,
      activation: 'sigmoid',
      objective: 'binary-cross-entropy',
      warnings: ['a file is not applied'],
      bytes: 24_000_000,
      lastUsed: 1_700_000_000_000,
    },
    { name: 'tiny', version: '2', state: 'refused', reason: 'all scores are equal', labels: [] },
    { name: 'other', version: '1', state: 'available', labels: [] },
  ];
  const calls: string[] = [];
  const aliases = new Aliases({ 'org/tiny': 'tiny', 'other:latest': 'other@1' });
  const known = (name: string) => {
    if (!versions.some((v) => v.name === name))
      throw new WinnowError('unknown_model', { known: 'tiny, other', got: name });
    return versions.filter((v) => v.name === name);
  };
  return {
    calls,
    defaultModel: 'tiny',
    list: () => versions,
    canonical: (reference) => aliases.canonical(reference, (name) => versions.some((v) => v.name === name)),
    aliases: () => aliases.named(),
    async acquire(reference): Promise<Lease> {
      calls.push(`acquire ${reference ?? ''}`);
      return {
        version: {
          name: 'tiny',
          version: '1',
          key: 'tiny@1',
          folder: '/models/tiny/1',
          maxLength: 512,
          activation: 'sigmoid',
          reduction: { kind: 'single' },
          objective: 'binary-cross-entropy',
          variant: 'int8',
          provider: 'cpu',
          sha256: 'ab'.repeat(32),
          warnings: [],
        },
        release: () => void calls.push('release'),
      };
    },
    async load(name, version) {
      calls.push(`load ${name}@${version ?? ''}`);
      const found = known(name);
      if (version && !found.some((v) => v.version === version))
        throw new WinnowError('unknown_version', { model: name, known: '1, 2', got: version });
      versions = versions.map((v) => (v.name === name && v.state === 'available' ? { ...v, state: 'ready' } : v));
      return versions.filter((v) => v.name === name);
    },
    async unload(name, version) {
      calls.push(`unload ${name}@${version ?? ''}`);
      known(name);
      versions = versions.map((v) => (v.name === name && v.state === 'ready' ? { ...v, state: 'unloaded' } : v));
    },
    async setLabel(name, label, version) {
      calls.push(`label ${name} ${label} ${version}`);
      if (!known(name).some((v) => v.version === version))
        throw new WinnowError('unknown_version', { model: name, known: '1, 2', got: version });
      versions = versions.map((v) =>
        v.name === name
          ? {
              ...v,
              labels: v.version === version ? [...new Set([...v.labels, label])] : v.labels.filter((l) => l !== label),
            }
          : v,
      );
    },
    async close() {},
  };
}

export interface Recorded {
  readonly level: string;
  readonly fields: Record<string, unknown>;
  readonly message: string;
}

export interface FakeTelemetry extends HttpTelemetry {
  readonly lines: Recorded[];
  readonly events: RequestEvent[];
}

export function fakeTelemetry(): FakeTelemetry {
  const lines: Recorded[] = [];
  const events: RequestEvent[] = [];
  const write = (level: string) => (fields: object, message: string) =>
    void lines.push({ level, fields: fields as Record<string, unknown>, message });
  return {
    lines,
    events,
    logger: { info: write('info'), warn: write('warn'), error: write('error') },
    tracing: passThrough,
    onRequest: (event) => void events.push(event),
    metrics: async () => ({ contentType: 'text/plain; version=0.0.4; charset=utf-8', text: 'winnow_ready 1\n' }),
    batches: async () => new Map([['tiny@1', { batches: 3, rows: 12 }]]),
  };
}

export const OPTIONS: HttpOptions = {
  bodyLimitBytes: 4_000_000,
  maxPassages: 10_000,
  requestTimeoutMs: 60_000,
  writeTimeoutMs: 5000,
  bodyTimeoutMs: 5000,
  corsOrigins: [],
  requestsPerMinute: 0,
};

export type FakeDeps = HttpDeps & {
  readonly reranker: FakeReranker;
  readonly registry: FakeRegistry;
  readonly telemetry: FakeTelemetry;
};

export function fakeDeps(
  changes: Partial<Omit<HttpDeps, 'options'>> & { options?: Partial<HttpOptions> } = {},
): FakeDeps {
  const { options, ...rest } = changes;
  return {
    reranker: fakeReranker(),
    tokenReader: fakeTokenReader,
    registry: fakeRegistry(),
    telemetry: fakeTelemetry(),
    passages: fakePassages().api,
    // A real service over a database in memory, opened when a test first asks for it.
    experiments: createExperimentsApi(new ExperimentService({ database: ':memory:' })),
    keys: [],
    bytes: new ByteAccount({ totalBytes: 2 ** 27 }),
    readiness: { probe: async () => ({ ready: true }), draining: () => false },
    info: () => ({
      version: '0.1.0',
      provider: 'cpu',
      hosts: 2,
      devices: [],
      maxBatchTokens: 4096,
      maxBatchRows: 64,
      tokenizationWorkers: 2,
      startedAt: 1_700_000_000_000,
    }),
    ...rest,
    options: { ...OPTIONS, ...options },
  } as FakeDeps;
}
