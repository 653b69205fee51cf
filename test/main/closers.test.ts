import { describe, expect, it } from 'vitest';
import { Closers, once } from '../../src/main/closers.ts';

describe('closers', () => {
  it('close in the opposite order of opening, once', async () => {
    const closed: number[] = [];
    const closers = new Closers();
    closers.add(() => closed.push(1));
    closers.add(async () => {
      await Promise.resolve();
      closed.push(2);
    });
    await closers.close();
    await closers.close();
    expect(closed).toEqual([2, 1]);
  });

  it('close the others when one fails, and tell of it', async () => {
    let isClosed = false;
    const closers = new Closers();
    closers.add(() => {
      isClosed = true;
    });
    closers.add(() => {
      throw new Error('stuck');
    });
    await expect(closers.close()).rejects.toThrow('stuck');
    expect(isClosed).toBe(true);
  });
});

it('once gives every caller the result of the first call', () => {
  let calls = 0;
  const work = once(() => ++calls);
  expect([work(), work()]).toEqual([1, 1]);
});
