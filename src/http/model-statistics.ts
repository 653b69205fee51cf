/** Times of one kind of event: their number, and the sum of their milliseconds. */
export interface Times {
  readonly count: number;
  readonly ms: number;
}

/** What an answered request spent its time on, in milliseconds. */
interface Stages {
  readonly totalMs: number;
  readonly queueMs: number;
  readonly tokenizeMs: number;
  readonly inferMs: number;
  readonly writeMs: number;
}

/** What is counted of one version since the start of the service. */
interface VersionStatistics {
  /** Milliseconds since the epoch; 0 without any answer. */
  readonly lastAnswer: number;
  readonly success: Times;
  /** Requests whose scoring failed; refusals of bodies do not count. */
  readonly fail: Times;
  readonly queue: Times;
  readonly tokenize: Times;
  readonly infer: Times;
  readonly write: Times;
}

const NONE: Times = { count: 0, ms: 0 };
const EMPTY: VersionStatistics = {
  lastAnswer: 0,
  success: NONE,
  fail: NONE,
  queue: NONE,
  tokenize: NONE,
  infer: NONE,
  write: NONE,
};

const plus = ({ count, ms }: Times, more: number): Times => ({ count: count + 1, ms: ms + more });

/** Counts requests and their times by version, for `GET /v2/models/stats`. Versions are those of the registry, so that their number is bounded. */
export class ModelStatistics {
  readonly #byVersion = new Map<string, VersionStatistics>();

  /** @param id `model@version`, as do the other methods. */
  of(id: string): VersionStatistics {
    return this.#byVersion.get(id) ?? EMPTY;
  }

  answered(id: string, now: number, stages: Stages): void {
    const { success, fail, queue, tokenize, infer, write } = this.of(id);
    this.#byVersion.set(id, {
      lastAnswer: now,
      success: plus(success, stages.totalMs),
      fail,
      queue: plus(queue, stages.queueMs),
      tokenize: plus(tokenize, stages.tokenizeMs),
      infer: plus(infer, stages.inferMs),
      write: plus(write, stages.writeMs),
    });
  }

  failed(id: string, ms: number): void {
    const before = this.of(id);
    this.#byVersion.set(id, { ...before, fail: plus(before.fail, ms) });
  }
}
