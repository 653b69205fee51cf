import { WinnowError } from '../errors.ts';
import { type HostClient, HostLost } from './host-client.ts';
import { decodeScores, encodeRun } from './host-protocol.ts';
import type { BatchScores, InferenceRow, LoadedModel, LoadSpec, TrialRun } from './inference-types.ts';
import { scoreBatch } from './score-batch.ts';

/** The longest a batch of a trial may take, in milliseconds: a self-test takes less than a second. */
const TRIAL_BATCH_MS = 10_000;

/** Returns the error for a model that ends its inference host, or keeps it busy for too long. */
export const endsHost = ({ key }: LoadSpec, got: string): WinnowError =>
  new WinnowError('invalid_graph', { where: key, expected: 'a graph that leaves its inference host alive', got });

/**
 * Loads a model on a spare host, tests it there and ends the host.
 * @returns The facts of the load.
 * @throws WinnowError `invalid_graph` when the host ended or was killed for time; whatever `test` throws.
 */
export async function tryOnHost(
  host: HostClient,
  { handle, spec }: { readonly handle: number; readonly spec: LoadSpec },
  load: () => Promise<LoadedModel>,
  test: (run: TrialRun) => Promise<void>,
  batchTimeoutMs: number,
): Promise<LoadedModel> {
  const limitMs = Math.min(batchTimeoutMs, TRIAL_BATCH_MS);
  const run = async (rows: readonly InferenceRow[]): Promise<BatchScores> => {
    const { payload } = await host.call((id) => encodeRun(id, { handle, rows }), limitMs);
    const { scores, inferMs } = decodeScores(payload);
    return { scores, inferMs, host: host.index };
  };
  try {
    const facts = await load();
    await test((rows) => scoreBatch(rows, spec.maxLength, run));
    return facts;
  } catch (error) {
    throw error instanceof HostLost ? endsHost(spec, error.message) : error;
  } finally {
    host.kill('the trial is over');
    await host.gone;
  }
}
