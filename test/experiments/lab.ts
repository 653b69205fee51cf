import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WinnowError } from '../../src/errors.ts';
import type { RequestDecision } from '../../src/experiments/assignment/decisions.ts';
import type { ExperimentsOptions } from '../../src/experiments/experiment-options.ts';
import { ExperimentService } from '../../src/experiments/experiment-service.ts';
import { createExperimentsApi, type ExperimentsApi } from '../../src/experiments/experiments-api.ts';
import type { ExperimentObserver } from '../../src/experiments/ports.ts';
import type { AuditEntry } from '../../src/experiments/records.ts';
import type { Lease } from '../../src/registry/registry-types.ts';
import type { PassageSharing } from '../../src/rerank/kept-passages.ts';
import type { RerankAnswer, RerankRequest } from '../../src/rerank/rerank-types.ts';
import { createReranker } from '../../src/rerank/reranker.ts';
import type { TokenizerSource } from '../../src/rerank/tokenizer-shelf.ts';
import { createScheduler } from '../../src/scheduling/scheduler.ts';
import type { EncodedRow, PairTokenizer } from '../../src/tokenization/tokenization-types.ts';
import type { Clock } from '../../src/util/clock.ts';

/*
 * Experiments on the real re-ranker and the real scheduler, with models that answer at once: a passage is a number, a model says what it
 * makes of the number.
 */

export type LabModel = (grade: number) => number;

/** Time that stands still until a test moves it; timers fire while it moves. */
export class LabClock implements Clock {
  #now: number;
  #elapsed = 0;
  #timers: { readonly at: number; readonly call: () => void }[] = [];

  constructor(now = Date.parse('2026-11-01T00:00:00Z')) {
    this.#now = now;
  }

  now(): number {
    return this.#now;
  }

  after(ms: number, call: () => void): () => void {
    const timer = { at: this.#elapsed + ms, call };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((one) => one !== timer);
    };
  }

  /** Milliseconds that the test has moved; jumps are not counted. */
  elapsed(): number {
    return this.#elapsed;
  }

  /** Sets the wall clock to another time, as an operator or a time server does. */
  jump(ms: number): void {
    this.#now += ms;
  }

  advance(ms: number): void {
    this.#now += ms;
    this.#elapsed += ms;
    const due = this.#timers.filter(({ at }) => at <= this.#elapsed);
    this.#timers = this.#timers.filter(({ at }) => at > this.#elapsed);
    for (const { call } of due) call();
  }
}

/** What the observer was reported, by kind. */
export interface Reported {
  readonly changes: AuditEntry[];
  readonly problems: { readonly where: string; readonly reason: string }[];
  readonly exposures: Parameters<NonNullable<ExperimentObserver['onExposure']>>[0][];
  readonly shadows: Parameters<NonNullable<ExperimentObserver['onShadow']>>[0][];
  readonly placeholders: { readonly experiment: string; readonly id: string }[];
  readonly lost: { readonly rows: number; readonly reason: string }[];
  /** Exposures counted as written. */
  stored: number;
  running: number;
  readonly definitions: { readonly defined: number; readonly running: number; readonly off: number }[];
}

export interface Lab {
  readonly service: ExperimentService;
  readonly api: ExperimentsApi;
  readonly reported: Reported;
  readonly clock: LabClock;
  readonly folder: string;
  /** Texts of every tokenization. */
  readonly encoded: string[][];
  /** `lane model` of every batch. */
  readonly batches: string[];
  /** Asks for grades to be ranked, for a user. */
  ask(user: string | undefined, grades: readonly number[], more?: Partial<RerankRequest>): Promise<RerankAnswer>;
  close(): Promise<void>;
}

/** Words of a query that are used. */
const MOST_WORDS = 8;

const encodePassages = (query: string, passages: readonly string[]) => {
  const cut = Math.max(0, query.split(' ').length - MOST_WORDS);
  const rows = passages.map(
    (passage): EncodedRow => ({ ids: Int32Array.of(Number(passage)), secondSegment: 1, truncated: false }),
  );
  return {
    rows,
    passageOf: Int32Array.from(rows, (_, i) => i),
    truncated: rows.map(() => false),
    queryCut: Int32Array.from(rows, () => cut),
    overLength: rows.map(() => false),
    fullLengths: Int32Array.from(rows, () => 1),
    tokens: rows.length,
  };
};

function labTokenizers(encoded: string[][]): TokenizerSource {
  return {
    for: async (folder): Promise<PairTokenizer> => ({
      folder,
      padId: 0,
      pairKey: 'grades',
      async encode(query, passages) {
        encoded.push([query, ...passages]);
        return encodePassages(query, passages);
      },
      encodeTexts: async (texts) => encodePassages('', texts),
      close: async () => {},
    }),
  };
}

/** Models with a passage cache read query and passage apart. */
function leaseOf(reference: string, isApart: boolean): Lease {
  const [name = '', version = '1'] = reference.split('@');
  return {
    version: {
      name,
      version,
      key: `${name}@${version}`,
      folder: `/models/${name}/${version}`,
      maxLength: 32,
      activation: 'sigmoid',
      reduction: { kind: 'single' },
      encoder: isApart ? { queryPrefix: '', passagePrefix: '', scale: 1 } : undefined,
      objective: undefined,
      variant: 'fp32',
      provider: 'cpu',
      sha256: name,
      warnings: [],
    },
    release() {},
  };
}

function labReranker(
  models: Readonly<Record<string, LabModel>>,
  service: ExperimentService,
  log: { encoded: string[][]; batches: string[] },
  passages: PassageSharing | undefined,
) {
  const limits = { batchTokens: 4096, batchRows: 64, queueTokens: 1_000_000, maxWaitMs: 60_000, agingMs: 2000 };
  const scheduler = createScheduler<EncodedRow>({
    limits,
    executor: {
      concurrency: 1,
      async execute(key, rows) {
        const model = models[key.split('@')[0]!]!;
        return { scores: Float32Array.from(rows, ({ ids }) => model(ids[0]!)), inferMs: 0.01 };
      },
    },
    observer: { onBatch: ({ key, lane }) => void log.batches.push(`${lane} ${key}`) },
  });
  const registry = {
    async acquire(reference = Object.keys(models)[0]!) {
      if (!(reference.split('@')[0]! in models))
        throw new WinnowError('unknown_model', { known: Object.keys(models).join(', '), got: reference });
      return leaseOf(reference, passages !== undefined);
    },
  };
  return createReranker<RequestDecision>({
    registry,
    scheduler,
    tokenizers: labTokenizers(log.encoded),
    experiments: service,
    passages,
    observer: {
      onHookFailure(error) {
        throw error;
      },
    },
  });
}

function observe(reported: Reported): ExperimentObserver {
  return {
    onDefinitions: ({ defined, running, off = 0 }) => {
      reported.running = running;
      reported.definitions.push({ defined, running, off });
    },
    onChange: (entry) => void reported.changes.push(entry),
    onProblem: (problem) => void reported.problems.push(problem),
    onPlaceholder: (request) => void reported.placeholders.push(request),
    onExposure: (exposure) => void reported.exposures.push(exposure),
    onShadow: (shadow) => void reported.shadows.push(shadow),
    onStored: (rows) => {
      reported.stored += rows;
    },
    onLost: (rows, reason) => void reported.lost.push({ rows, reason }),
  };
}

/** Opens a lab with its own database in a temporary folder. */
export async function openLab(
  models: Readonly<Record<string, LabModel>>,
  options: Partial<ExperimentsOptions> & { readonly clock?: LabClock; readonly sharing?: PassageSharing } = {},
): Promise<Lab> {
  const folder = mkdtempSync(join(tmpdir(), 'winnow-lab-'));
  const clock = options.clock ?? new LabClock();
  const reported: Reported = {
    changes: [],
    problems: [],
    exposures: [],
    shadows: [],
    placeholders: [],
    lost: [],
    stored: 0,
    running: 0,
    definitions: [],
  };
  const service = new ExperimentService({
    database: join(folder, 'experiments.sqlite'),
    unitSecret: 'key',
    pollMs: 20,
    ...options,
    clock,
    monotonic: () => clock.elapsed(),
    observer: observe(reported),
    defaultModel: () => Object.keys(models)[0],
  });
  const log = { encoded: [] as string[][], batches: [] as string[] };
  const reranker = labReranker(models, service, log, options.sharing);
  await service.start();
  await service.settled();
  let serial = 0;
  return {
    service,
    api: createExperimentsApi(service),
    reported,
    clock,
    folder,
    ...log,
    ask: (user, grades, more = {}) =>
      reranker.rerank({
        requestId: `r${++serial}`,
        query: 'q',
        passages: grades.map(String),
        truncate: true,
        lane: 'interactive',
        deadlineMs: 60_000,
        subject: user === undefined ? {} : { user },
        ...more,
      }),
    async close() {
      await service.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** A definition to vary. */
export const SPLIT = {
  mode: 'split',
  arms: [
    { name: 'a', model: 'up' },
    { name: 'b', model: 'down' },
  ],
  control: 'a',
  metrics: [{ name: 'clicks' }],
} as const;

/** Two rankers that disagree about everything. */
export const MODELS: Readonly<Record<string, LabModel>> = { up: (grade) => grade, down: (grade) => -grade };
