import { describe, expect, it } from 'vitest';
import { closeAll } from '../../src/main/close-all.ts';

describe('closeAll', () => {
  it('closes in the opposite order of opening, once', async () => {
    const closed: number[] = [];
    const cleanup = new AsyncDisposableStack();
    cleanup.defer(() => void closed.push(1));
    cleanup.defer(async () => {
      await Promise.resolve();
      closed.push(2);
    });
    await closeAll(cleanup);
    await closeAll(cleanup);
    expect(closed).toEqual([2, 1]);
  });

  it('closes the others when one fails, and throws its error', async () => {
    let isClosed = false;
    const cleanup = new AsyncDisposableStack();
    cleanup.defer(() => {
      isClosed = true;
    });
    cleanup.defer(() => {
      throw new Error('stuck');
    });
    await expect(closeAll(cleanup)).rejects.toThrow('stuck');
    expect(isClosed).toBe(true);
  });

  it('throws the first of several failures', async () => {
    const cleanup = new AsyncDisposableStack();
    for (const message of ['third', 'second', 'first'])
      cleanup.defer(() => {
        throw new Error(message);
      });
    await expect(closeAll(cleanup)).rejects.toThrow(new Error('first'));
  });
});
