import { expect, it } from 'vitest';
import { preloadedModels } from '../../src/main/preloaded.ts';

const cascades = {
  accurate: [{ model: 'small', keep: 50 }, { model: 'large@2' }],
  fast: [{ model: 'small', keep: 5 }, { model: 'other' }],
};
const of = (preload: string[], defaultModel?: string) =>
  preloadedModels({ registry: { preload, cascades, ...(defaultModel ? { defaultModel } : {}) } });

it('loads the stages of cascades, each model once', () => {
  expect(of([])).toEqual([]);
  expect(of(['a', 'b', 'a'], 'm')).toEqual(['a', 'b']);
  expect(of(['a', 'fast'])).toEqual(['a', 'small', 'other']);
  expect(of(['fast', 'small'], 'accurate')).toEqual(['small', 'large@2', 'other']);
  expect(of(['toString'])).toEqual(['toString']);
});
