import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, expect, it } from 'vitest';
import { readWhole } from '../../../src/evaluation/first-stage/index/byte-files.ts';

const root = mkdtempSync(join(tmpdir(), 'winnow-byte-files-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

it('reads a file whole, however many reads that takes, into a buffer of its own', () => {
  const path = join(root, 'file');
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), fc.integer({ min: 1, max: 50 }), (bytes, atOnce) => {
      writeFileSync(path, bytes);
      const read = readWhole(path, atOnce);
      expect([...read]).toEqual([...bytes]);
      expect([read.byteOffset, read.buffer.byteLength]).toEqual([0, bytes.length]);
    }),
  );
});
