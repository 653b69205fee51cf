import { describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load-config.ts';
import { batchLimit } from '../../src/main/open-host-pool.ts';

describe('the limit of a batch', () => {
  it.each([
    // By default a batch may hang for 30 s, and run once more within the 60 s of a request.
    [{}, 30_000],
    [{ WINNOW_SERVER_REQUEST_TIMEOUT_MS: '10000' }, 5000],
    [{ WINNOW_SERVER_REQUEST_TIMEOUT_MS: '120000' }, 30_000],
    [{ WINNOW_SERVER_REQUEST_TIMEOUT_MS: '1000' }, 2000],
    [{ WINNOW_INFERENCE_BATCH_TIMEOUT_MS: '500' }, 500],
  ])('%j: %i ms', (env, ms) => {
    expect(batchLimit(loadConfig([], env))).toBe(ms);
  });
});
