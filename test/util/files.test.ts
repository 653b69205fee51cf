import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { sha256File, withTemporary, writeFileAtomic, writeFolderAtomic } from '../../src/util/files.ts';

const folder = mkdtempSync(join(tmpdir(), 'winnow-files-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('atomic writes', () => {
  it('replaces a file and leaves nothing beside it', async () => {
    const path = join(folder, 'atomic', 'file');
    await writeFileAtomic(path, 'old');
    await writeFileAtomic(path, 'new');
    expect(readFileSync(path, 'utf8')).toBe('new');
    expect(readdirSync(join(folder, 'atomic'))).toEqual(['file']);
    expect(await sha256File(path)).toBe('11507a0e2f5e69d5dfa40a62a1bd7b6ee57e6bcd85c67c9b8431b36fff21c437');
  });

  it('leaves nothing of a folder whose filling failed', async () => {
    const path = join(folder, 'half', 'made');
    const fails = writeFolderAtomic(path, async (temporary) => {
      writeFileSync(join(temporary, 'part'), 'x');
      throw new Error('stopped');
    });
    await expect(fails).rejects.toThrow('stopped');
    expect(readdirSync(join(folder, 'half'))).toEqual([]);
  });

  it('removes a temporary folder whether its work ends or throws, and names it so that a later process can', async () => {
    const parent = join(folder, 'temporary');
    const fill = (temporary: string) => {
      mkdirSync(temporary);
      return readdirSync(parent);
    };
    expect(await withTemporary(join(parent, 'import'), async (at) => fill(at))).toEqual([
      expect.stringMatching(new RegExp(`^\\.import\\.${process.pid}\\.[0-9a-f]{8}\\.tmp$`)),
    ]);
    const fails = withTemporary(join(parent, 'import'), async (at) => {
      fill(at);
      throw new Error('stopped');
    });
    await expect(fails).rejects.toThrow('stopped');
    expect(readdirSync(parent)).toEqual([]);
  });
});
