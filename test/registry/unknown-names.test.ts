import { describe, expect, it } from 'vitest';
import { unknownModel, unknownVersion } from '../../src/registry/unknown-names.ts';

const names = (count: number): string[] => Array.from({ length: count }, (_, i) => `m${i}`);

describe('errors of names that mean nothing', () => {
  it.each([
    [[], 'expected one of no model, got model x'],
    [['a', 'b', 'a'], 'expected one of a, b, got model x'],
    [names(20), `expected one of ${names(20).join(', ')}, got model x`],
    [names(23), `expected one of ${names(20).join(', ')} and 3 more, got model x`],
  ])('list the models that there are: %j', (known, text) => {
    expect(unknownModel(known, 'x').message).toContain(text);
  });

  it('list versions and labels, and cut what was asked for', () => {
    expect(unknownVersion('m', ['1', 'stable'], 'x'.repeat(99)).message).toContain(
      `expected a version or label of m (1, stable), got ${'x'.repeat(77)}…`,
    );
    expect(unknownVersion('m', [], '2').message).toContain('of m (none), got 2');
  });
});
