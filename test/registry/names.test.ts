import { posix } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compareVersions, excerpt, isName, isSafePath, parseReference } from '../../src/registry/model-names.ts';

const hostile = fc.oneof(
  fc.string(),
  fc.string({ unit: fc.constantFrom('.', '/', '\\', '\0', 'a', '~', ':', '@', '%', '\n', ' ') }),
  fc.constantFrom('..', '.', '', '../x', 'a/../../b', '/etc/passwd', 'C:\\x', 'a\0b', '__proto__', '.hidden', 'a..b'),
);

describe('names', () => {
  it('a name is one segment that joins to a child of its folder', () => {
    fc.assert(
      fc.property(hostile, (text) => {
        if (!isName(text)) return;
        expect(posix.join('/registry', text)).toBe(`/registry/${text}`);
        expect(posix.dirname(posix.join('/registry', text))).toBe('/registry');
        expect(text).not.toMatch(/[\0@:\s]|^\./);
      }),
      { numRuns: 2000 },
    );
  });

  it('a safe path stays below its folder and is what it looks like', () => {
    fc.assert(
      fc.property(hostile, (text) => {
        if (!isSafePath(text)) return;
        expect(posix.join('/registry/model', text)).toBe(`/registry/model/${text}`);
      }),
      { numRuns: 2000 },
    );
  });

  it.each(['..', '.', '', '/x', '../x', 'a/../b', 'a//b', 'a/', 'a\\b', 'a\0', 'c:x', './a', 'a'.repeat(513)])(
    'refuses the path %j',
    (path) => expect(isSafePath(path)).toBe(false),
  );

  it.each(['model.onnx', 'onnx/model.onnx_data', 'a b/ü.txt', '...x'])('takes the path %j', (path) =>
    expect(isSafePath(path)).toBe(true),
  );

  it('reads references, and writes them back', () => {
    expect(parseReference('m')).toEqual({ name: 'm' });
    expect(parseReference('m@1')).toEqual({ name: 'm', version: '1' });
    expect(parseReference('m:stable')).toEqual({ name: 'm', label: 'stable' });
    fc.assert(
      fc.property(hostile, (text) => {
        const reference = parseReference(text);
        if (!reference) return;
        const { name, version, label } = reference;
        expect(name + (version === undefined ? '' : `@${version}`) + (label === undefined ? '' : `:${label}`)).toBe(
          text,
        );
      }),
      { numRuns: 2000 },
    );
  });

  it.each(['', '@1', ':a', 'm@', 'm:', 'm@1@2', 'm:a:b', 'm@1:a', 'm/1', '../m', 'm@../1', ' m'])(
    'reads no reference in %j',
    (text) => expect(parseReference(text)).toBeUndefined(),
  );

  it('orders versions: numbers downwards, then names downwards in natural order', () => {
    const versions = ['v9', '2', 'v10', '10', 'draft', '1', '09'];
    expect(versions.sort(compareVersions)).toEqual(['10', '09', '2', '1', 'v10', 'v9', 'draft']);
  });

  it('orders totally', () => {
    const version = fc.oneof(fc.nat().map(String), fc.stringMatching(/^[a-z0-9][a-z0-9.-]{0,5}$/));
    fc.assert(
      fc.property(version, version, version, (a, b, c) => {
        expect(Math.sign(compareVersions(a, b)) + Math.sign(compareVersions(b, a))).toBe(0);
        if (compareVersions(a, b) === 0) expect(a).toBe(b);
        if (compareVersions(a, b) < 0 && compareVersions(b, c) < 0) expect(compareVersions(a, c)).toBeLessThan(0);
      }),
      { numRuns: 2000 },
    );
  });

  it('excerpts hold no control characters and fit a line', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
        (text) => {
          expect(excerpt(text)).not.toMatch(/\p{Cc}/u);
          expect(excerpt(text).length).toBeLessThanOrEqual(80);
        },
      ),
    );
  });
});
