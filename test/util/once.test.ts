import { expect, it } from 'vitest';
import { once } from '../../src/util/once.ts';

it('once gives every caller the result of the first call', () => {
  let calls = 0;
  const work = once(() => ++calls);
  expect([work(), work()]).toEqual([1, 1]);
});
