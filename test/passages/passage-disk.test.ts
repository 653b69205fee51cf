import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { createPassageCache } from '../../src/passages/passage-cache.ts';
import { PassageDisk } from '../../src/passages/passage-disk.ts';
import { openPassageFile } from '../../src/passages/passage-file.ts';
import type { PassageCache, PassageModel } from '../../src/passages/passage-types.ts';

const root = mkdtempSync(join(tmpdir(), 'winnow-passage-disk-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let count = 0;
const fresh = () => join(root, `${++count}`, 'passages.db');

const VERSION = { name: 'e', version: '1', sha256: 'a', variant: 'fp32', provider: 'cpu' };
const modelOf = (changes: Partial<PassageModel> = {}): PassageModel => ({ ...VERSION, salt: '', ...changes });

const rowsOf = (ids: readonly number[]) => ids.map((id) => ({ ids: Int32Array.of(id, id + 1, id + 2) }));
const numbersOf = (id: number) => new Uint8Array(Float32Array.of(id, 0.1 * id, -id).buffer);

interface Opened {
  readonly cache: PassageCache;
  readonly disk: PassageDisk;
  /** Reads rows; returns those that had to be computed, and checks every value. */
  read(ids: readonly number[], model?: PassageModel): Promise<readonly number[]>;
}

/** Opens a cache with its file, does `work` and closes the file. */
async function withDisk(path: string, work: (opened: Opened) => Promise<void>, bytes = 2 ** 20): Promise<void> {
  const disk = new PassageDisk(await openPassageFile({ path, limitBytes: bytes }));
  const cache = createPassageCache({ bytes, observer: disk.observer });
  const read: Opened['read'] = async (ids, model = modelOf()) => {
    const rows = rowsOf(ids);
    const keys = await cache.keys({ model, passagePrefix: '', cut: '512' }, rows);
    const request = { model, keys, lengths: rows.map(() => 3), share: '', lane: 0, priority: 0 };
    const guard = <T>(promise: Promise<T>) => promise;
    return cache.hold(
      { ...request, guard },
      async (missing) => missing.map((i) => numbersOf(ids[i]!)),
      ({ values, missed }) => {
        expect(values).toEqual(ids.map(numbersOf));
        return ids.filter((_, i) => missed[i]);
      },
    );
  };
  try {
    await work({ cache, disk, read });
  } finally {
    await disk.close();
  }
}

describe('a passage cache with a file', () => {
  it('finds what it had before, for each key of the API, bit for bit', async () => {
    const path = fresh();
    await withDisk(path, async ({ read }) => {
      expect(await read([1, 2, 3])).toEqual([1, 2, 3]);
      expect(await read([1], modelOf({ salt: 'shop' }))).toEqual([1]);
    });
    await withDisk(path, async ({ cache, disk, read }) => {
      expect(await disk.load(cache, VERSION)).toBe(4);
      expect(await read([1, 2, 3, 4])).toEqual([4]);
      expect(await read([1, 2], modelOf({ salt: 'shop' }))).toEqual([2]);
      expect(cache.stats().models.map(({ model, entries }) => [model.salt, entries])).toEqual([
        ['', 4],
        ['shop', 2],
      ]);
    });
  });

  it('does not read back what left for others, was removed, or is of another file of the version', async () => {
    const path = fresh();
    const bytes = 16 * 1024;
    let held: readonly number[] = [];
    await withDisk(
      path,
      async ({ cache, read }) => {
        const ids = Array.from({ length: 400 }, (_, i) => i);
        for (const id of ids) await read([id]);
        const isHeld = cache.has(await cache.keys({ model: modelOf(), passagePrefix: '', cut: '512' }, rowsOf(ids)));
        held = ids.filter((_, i) => isHeld[i]);
        expect(held.length).toBeLessThan(400);
      },
      bytes,
    );
    await withDisk(path, async ({ cache, disk, read }) => {
      expect(disk.stats().entries).toBe(held.length);
      expect(await disk.load(cache, VERSION)).toBe(held.length);
      expect(await read(held)).toEqual([]);
      await cache.clear({ salt: '' });
      await disk.clear({ salt: '' });
      expect(disk.stats().entries).toBe(0);
      await read([7]);
    });
    await withDisk(path, async ({ cache, disk }) => {
      expect(await disk.load(cache, { ...VERSION, sha256: 'b' })).toBe(0);
      expect(disk.stats().entries).toBe(0);
    });
  });

  it('drops what belongs to versions that are gone, and keeps what was unloaded', async () => {
    const path = fresh();
    await withDisk(path, async ({ cache, disk, read }) => {
      await read([1, 2]);
      await read([1, 2, 3], modelOf({ name: 'old' }));
      await cache.clear(VERSION, 'unloaded');
      await disk.dropUnknown(({ name }) => name === 'e');
      expect(disk.stats().entries).toBe(2);
      expect(await disk.load(cache, VERSION)).toBe(2);
      expect(await read([1, 2])).toEqual([]);
    });
  });

  it('computes damaged or unreadable entries anew', async () => {
    const path = fresh();
    const file = await openPassageFile({ path, limitBytes: 2 ** 20 });
    file.put({ key: new Uint8Array(16), space: 'no model', tokens: 1, value: new Uint8Array(4) });
    await file.close();
    await withDisk(path, async ({ cache, disk, read }) => {
      expect(await disk.load(cache, VERSION)).toBe(0);
      await disk.dropUnknown(() => true);
      expect(disk.stats().entries).toBe(0);
      expect(await read([1])).toEqual([1]);
    });
  });
});
