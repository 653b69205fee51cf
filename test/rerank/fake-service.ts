import { WinnowError } from '../../src/errors.ts';
import type { Lease, ModelRegistry, ServedVersion } from '../../src/registry/registry-types.ts';
import type { RerankRequest } from '../../src/rerank/rerank-types.ts';
import type { TokenizerSource } from '../../src/rerank/tokenizer-shelf.ts';
import { createScheduler } from '../../src/scheduling/scheduler.ts';
import type { BatchExecutor, Scheduler } from '../../src/scheduling/scheduling-types.ts';
import type { EncodedRow, PairOptions, PairTokenizer } from '../../src/tokenization/tokenization-types.ts';
import { SimulatedClock } from '../scheduling/simulation.ts';

/*
 * Stand-ins for registry, tokenizers and models behind the real use case and the real scheduler, in simulated time. A word is a token whose id is its number
 * (`7`), or its length; a model scores a pair by the sum of the passage's ids times its factor.
 */

export interface FakeModel {
  readonly factor: number;
  readonly maxLength?: number;
  readonly maxQueryTokens?: number;
  readonly template?: ServedVersion['template'];
  readonly encoder?: ServedVersion['encoder'];
  readonly activation?: ServedVersion['activation'];
  /** Milliseconds a batch takes. */
  readonly batchMs?: number;
  /** Milliseconds more for each of its tokens. */
  readonly tokenMs?: number;
  readonly fail?: () => WinnowError;
  /** Milliseconds until it can be leased. */
  readonly loadMs?: number;
  /** Margin of every request, and what the early score makes of a score. */
  readonly early?: { readonly margin: number; readonly of: (score: number) => number };
}

export interface FakeService {
  readonly clock: SimulatedClock;
  readonly registry: Pick<ModelRegistry, 'acquire'>;
  readonly tokenizers: TokenizerSource;
  readonly scheduler: Scheduler<EncodedRow>;
  readonly log: {
    /** Leases not given back. */
    held: number;
    /** Texts of every call of a tokenizer. */
    readonly encoded: string[][];
    /** The instruction of every call of a tokenizer. */
    readonly instructions: (string | undefined)[];
    /** Rows of every batch, by key. */
    readonly batches: { readonly key: string; readonly rows: number }[];
    readonly closed: string[];
    encodeMs: number;
  };
}

function versionOf(reference: string, model: FakeModel): ServedVersion {
  const [name = '', version = '1'] = reference.split('@');
  return {
    name,
    version,
    key: `${name}@${version}`,
    folder: `/models/${name}/${version}`,
    maxLength: model.maxLength ?? 32,
    maxQueryTokens: model.maxQueryTokens,
    template: model.template,
    encoder: model.encoder,
    activation: model.activation ?? 'sigmoid',
    reduction: { kind: 'single' },
    objective: undefined,
    variant: 'fp32',
    provider: 'cpu',
    sha256: `sha of ${name}`,
    warnings: [],
    ...(model.early && {
      pruning: {
        counts: [1],
        recalls: [0.9],
        margins: [[model.early.margin]],
        share: 0.1,
        bytes: 0,
        whenLoaded: () => {},
        load: async () => `${name}@${version}~early`,
      },
    }),
  };
}

const ids = (text: string) => text.split(' ').map((word) => (/^-?\d+$/.test(word) ? Number(word) : word.length));

/** Ids of the query that a limit leaves. */
const asked = (query: string, { maxQueryTokens }: PairOptions) => ids(query).slice(0, maxQueryTokens);

function encodePair(query: string, passage: string, options: PairOptions): EncodedRow {
  const { maxLength } = options;
  const kept = asked(query, options);
  const whole = [0, ...kept, 0, ...ids(passage)];
  return {
    ids: Int32Array.from(whole.slice(0, maxLength)),
    secondSegment: kept.length + 2,
    truncated: whole.length > maxLength,
  };
}

function fakeTokenizer(folder: string, clock: SimulatedClock, log: FakeService['log']): PairTokenizer {
  return {
    folder,
    padId: 0,
    pairKey: 'words',
    async encode(query, passages, options, signal) {
      log.encoded.push([query, ...passages]);
      log.instructions.push(options.instruction);
      if (log.encodeMs > 0) await new Promise<void>((resolve) => clock.after(log.encodeMs, resolve));
      signal?.throwIfAborted();
      const rows = passages.map((passage) => encodePair(query, passage, options));
      return {
        rows,
        passageOf: Int32Array.from(rows, (_, i) => i),
        truncated: rows.map((row) => row.truncated),
        queryCut: Int32Array.from(rows, () => ids(query).length - asked(query, options).length),
        overLength: rows.map((row) => row.truncated),
        fullLengths: Int32Array.from(passages, (passage) => ids(query).length + ids(passage).length + 2),
        tokens: rows.reduce((sum, row) => sum + row.ids.length, 0),
      };
    },
    encodeTexts(texts, options, signal) {
      const { prefix = '' } = options;
      return this.encode(
        '',
        texts.map((text) => prefix + text),
        options,
        signal,
      );
    },
    async close() {
      log.closed.push(folder);
    },
  };
}

const score = ({ ids: all, secondSegment }: EncodedRow, factor: number) =>
  Math.fround(all.subarray(secondSegment).reduce((sum, id) => sum + id, 0) * factor);

export function openFakeService(models: Readonly<Record<string, FakeModel>>): FakeService {
  const clock = new SimulatedClock();
  const log: FakeService['log'] = { held: 0, encoded: [], instructions: [], batches: [], closed: [], encodeMs: 0 };
  const modelOf = (name: string) => models[name.split('@')[0]!];
  const registry = {
    async acquire(reference = Object.keys(models)[0]!): Promise<Lease> {
      const model = modelOf(reference);
      if (!model) throw new WinnowError('unknown_model', { known: Object.keys(models).join(', '), got: reference });
      if (model.loadMs) await new Promise<void>((resolve) => clock.after(model.loadMs!, resolve));
      log.held++;
      let held = true;
      return {
        version: versionOf(reference, model),
        release() {
          if (held) log.held--;
          held = false;
        },
      };
    },
  };
  const executor: BatchExecutor<EncodedRow> = {
    concurrency: 1,
    depth: 2,
    async execute(key, rows) {
      const model = modelOf(key)!;
      const tokens = rows.reduce((sum, row) => sum + row.ids.length, 0);
      const inferMs = (model.batchMs ?? 10) + (model.tokenMs ?? 0) * tokens;
      log.batches.push({ key, rows: rows.length });
      await new Promise<void>((resolve) => clock.after(inferMs, resolve));
      if (model.fail) throw model.fail();
      const early = key.endsWith('~early') ? model.early!.of : (exact: number) => exact;
      return { scores: Float32Array.from(rows, (row) => early(score(row, model.factor))), inferMs };
    },
  };
  const limits = { batchTokens: 4096, batchRows: 64, queueTokens: 100_000, maxWaitMs: 10_000, agingMs: 2000 };
  return {
    clock,
    registry,
    log,
    tokenizers: { for: async (folder) => fakeTokenizer(folder, clock, log) },
    scheduler: createScheduler<EncodedRow>({ executor, clock, limits }),
  };
}

export function ask(passages: readonly string[], more: Partial<RerankRequest> = {}): RerankRequest {
  return {
    requestId: 'r1',
    query: 'q',
    passages,
    truncate: true,
    lane: 'interactive',
    deadlineMs: 5000,
    ...more,
  };
}

/** Runs the clock until the promise has ended, and gives its value or its error. */
export async function settle<T>(
  service: FakeService,
  promise: Promise<T>,
): Promise<{ value?: T; error?: WinnowError }> {
  const ended = promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error: error as WinnowError }),
  );
  await service.clock.run();
  return ended;
}
