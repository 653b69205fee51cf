import { describe, expect, it } from 'vitest';
import { RetriableError, retry } from '../../src/util/retry.ts';

/** Work that fails with the given errors in turn and then returns the number of its calls. */
function failing(...errors: readonly Error[]) {
  const left = [...errors];
  let calls = 0;
  return async () => {
    calls++;
    const error = left.shift();
    if (error) throw error;
    return calls;
  };
}

describe('retry', () => {
  const run = async (work: () => Promise<number>, longestPauseMs?: number) => {
    const pauses: number[] = [];
    const wait = async (ms: number) => void pauses.push(ms);
    const limit = longestPauseMs === undefined ? {} : { longestPauseMs };
    const result = await retry(work, { attempts: 4, firstPauseMs: 100, wait, ...limit }).catch((error: Error) => error);
    return { result, pauses };
  };
  const busy = () => new RetriableError('busy');

  it('doubles its pauses up to the limit', async () => {
    expect(await run(failing(busy(), busy(), busy()))).toEqual({ result: 4, pauses: [100, 200, 400] });
    expect((await run(failing(busy(), busy(), busy()), 150)).pauses).toEqual([100, 150, 150]);
  });

  it('waits as long as the error asks for', async () => {
    const asked = new RetriableError('busy', { afterMs: 7 });
    expect((await run(failing(asked, busy()), 50)).pauses).toEqual([7, 50]);
  });

  it('throws the last error after the last attempt, and other errors at once', async () => {
    const last = busy();
    expect((await run(failing(busy(), busy(), busy(), last))).result).toBe(last);
    const other = new Error('broken');
    expect(await run(failing(other))).toEqual({ result: other, pauses: [] });
  });
});
