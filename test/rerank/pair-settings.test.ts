import { describe, expect, it } from 'vitest';
import type { ServedVersion } from '../../src/registry/registry-types.ts';
import { DEFAULT_SETTINGS, pairOptions } from '../../src/rerank/pair-settings.ts';

const version = (facts: Partial<ServedVersion> = {}) => ({ maxLength: 192, ...facts }) as ServedVersion;
type Asked = Parameters<typeof pairOptions>[0];

const optionsOf = (asked: Partial<Asked>, facts: Partial<ServedVersion> = {}, settings = {}) =>
  pairOptions({ truncate: true, ...asked }, version(facts), { ...DEFAULT_SETTINGS, ...settings });

describe('the limit of a query', () => {
  const limitOf = (...of: Parameters<typeof optionsOf>) => optionsOf(...of).maxQueryTokens;

  it('is none where nobody states one', () => {
    expect(limitOf({})).toBeUndefined();
  });

  it('is the smallest of those of model, server and request', () => {
    expect(limitOf({}, { maxQueryTokens: 32 })).toBe(32);
    expect(limitOf({}, {}, { maxQueryTokens: 40 })).toBe(40);
    expect(limitOf({}, { maxQueryTokens: 32 }, { maxQueryTokens: 40 })).toBe(32);
    expect(limitOf({ maxQueryTokens: 50 }, { maxQueryTokens: 32 }, { maxQueryTokens: 40 })).toBe(32);
    expect(limitOf({ maxQueryTokens: 5 }, { maxQueryTokens: 32 }, { maxQueryTokens: 40 })).toBe(5);
  });

  it('is that of the request alone where nothing may be cut', () => {
    const facts = { maxQueryTokens: 32 };
    expect(limitOf({ truncate: false }, facts, { maxQueryTokens: 40 })).toBeUndefined();
    expect(limitOf({ truncate: false, maxQueryTokens: 50 }, facts)).toBe(50);
  });
});

it('a request shortens pairs, and does not lengthen them', () => {
  expect(optionsOf({ maxPairTokens: 64 }).maxLength).toBe(64);
  expect(optionsOf({ maxPairTokens: 4096 }).maxLength).toBe(192);
});

describe('a limit on windows', () => {
  const windowsOf = (...of: Parameters<typeof optionsOf>) => {
    const { longPassages, maxWindows } = optionsOf(...of);
    return [longPassages, maxWindows];
  };

  it('asks for windows where neither request nor server say how long passages are scored', () => {
    expect(windowsOf({ maxWindows: 4 })).toEqual(['max', 4]);
    expect(windowsOf({ maxWindows: 1 })).toEqual(['truncate', undefined]);
    expect(windowsOf({ maxWindows: 4 }, {}, { longPassages: 'mean' })).toEqual(['mean', 4]);
  });

  it('leaves it to the request where that says so', () => {
    expect(windowsOf({ maxWindows: 4, longPassages: 'mean' })).toEqual(['mean', 4]);
    expect(windowsOf({ maxWindows: 4, longPassages: 'truncate' })).toEqual(['truncate', undefined]);
    expect(windowsOf({})).toEqual(['truncate', undefined]);
  });
});
