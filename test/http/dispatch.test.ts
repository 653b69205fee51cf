import { describe, expect, it } from 'vitest';
import { DIALECTS, SCORING_PATHS } from '../../src/http/dialects/dispatch.ts';

describe('what the dialects declare', () => {
  it('gives each path to one dialect', () => {
    const paths = SCORING_PATHS.map(({ path }) => path);
    expect(new Set(paths).size).toBe(paths.length);
  });

  it('names each dialect once', () => {
    expect(new Set(DIALECTS.map(({ name }) => name)).size).toBe(DIALECTS.length);
    expect(new Set(DIALECTS.map(({ docs }) => docs.title)).size).toBe(DIALECTS.length);
  });

  it('looks for marks only at paths that exist', () => {
    const paths = SCORING_PATHS.map(({ path }) => path);
    for (const { marks } of DIALECTS) expect(paths).toEqual(expect.arrayContaining([...(marks?.paths ?? [])]));
  });

  it('gives every dialect at a shared path the field of its passages', () => {
    const shared = SCORING_PATHS.filter(({ marked }) => marked.length > 0);
    const dialects = shared.flatMap(({ dialect, marked }) => [dialect, ...marked]);
    expect(dialects.filter(({ listField }) => !listField)).toEqual([]);
  });

  it('makes every dialect reachable', () => {
    const reached = new Set(SCORING_PATHS.flatMap(({ dialect, marked }) => [dialect, ...marked]));
    expect(DIALECTS.filter((dialect) => !reached.has(dialect))).toEqual([]);
  });
});
