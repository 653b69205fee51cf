import { describe, expect, it } from 'vitest';
import { connectionLimit } from '../../src/main/connection-limit.ts';

describe('connections at once', () => {
  it.each([
    ['what the setting says', 100, 1024, 100],
    ['the limit of open files less 256', 0, 1024, 768],
    ['the limit of open files less a quarter', 0, 4096, 3072],
    ['at most 16,384', 0, 1_048_576, 16_384],
    ['at least 16', 0, 64, 16],
  ])('%s', (_, set, descriptors, expected) => {
    expect(connectionLimit(set, descriptors)).toBe(expected);
  });
});
