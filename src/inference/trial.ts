import { WinnowError } from '../errors.ts';
import { decodeAnswer, encodeBatch } from './batch-frames.ts';
import { type HostClient, HostLost } from './host-client.ts';

import type { BatchScores, InferenceRow, LoadedModel, LoadSpec, TrialRun } from './inference-types.ts';
import { scoreBatch } from './score-batch.ts';

/** The longest a batch of a trial may take, in milliseconds: a self-test takes less than a second. */
const TRIAL_BATCH_MS = 10_000;

/** Returns the error for a model that ends its inference host, or keeps it busy for too long. */
export const endsHost = ({ key }: LoadSpec, got: string): WinnowError =>
  new WinnowError('invalid_graph', { where: key, expected: 'a graph that leaves its inference host alive', got });

interface TrialResult {
  readonly facts: LoadedModel;
  /** The most milliseconds that a padded token took. */
  readonly msPerToken: number;
}

const paddedTokens = (rows: readonly InferenceRow[]) => rows.length * Math.max(...rows.map(({ ids }) => ids.length));

/** What trials found, by the key of the model. */
export class Trials {
  readonly #facts = new Map<string, LoadedModel>();
  readonly #paces = new Map<string, number>();

  add(key: string, { facts, msPerToken }: TrialResult): void {
    this.#facts.set(key, facts);
    this.#paces.set(key, msPerToken);
  }

  /** Returns the facts of a trial's load, once. */
  takeFacts(key: string): LoadedModel | undefined {
    const facts = this.#facts.get(key);
    this.#facts.delete(key);
    return facts;
  }

  /** Predicts the milliseconds of a batch by the trial; undefined without one. */
  predictMs(key: string, rows: readonly InferenceRow[]): number | undefined {
    const pace = this.#paces.get(key);
    return pace && pace * paddedTokens(rows);
  }

  forget(key: string): void {
    this.#facts.delete(key);
    this.#paces.delete(key);
  }
}

/**
 * Loads a model on a spare host, tests it there and ends the host.
 * @returns The facts of the load, and the most milliseconds a token took.
 * @throws WinnowError `invalid_graph` when the host ended or was killed for time; whatever `test` throws.
 */
export async function tryOnHost(
  host: HostClient,
  { handle, spec }: { readonly handle: number; readonly spec: LoadSpec },
  load: () => Promise<LoadedModel>,
  test: (run: TrialRun) => Promise<void>,
  batchTimeoutMs: number,
): Promise<TrialResult> {
  let msPerToken = 0;
  const limitMs = Math.min(batchTimeoutMs, TRIAL_BATCH_MS);
  const run = async (rows: readonly InferenceRow[]): Promise<BatchScores> => {
    const frame = await host.call((id) => encodeBatch(id, { handle, rows }), limitMs);
    const { rss: _, cpuMs: __, ...answer } = decodeAnswer(frame);
    msPerToken = Math.max(msPerToken, answer.inferMs / paddedTokens(rows));
    return { ...answer, host: host.index };
  };
  try {
    const facts = await load();
    await test((rows) => scoreBatch(rows, spec.maxLength, run));
    return { facts, msPerToken };
  } catch (error) {
    throw error instanceof HostLost ? endsHost(spec, error.message) : error;
  } finally {
    host.kill('the trial is over');
    await host.gone;
  }
}
