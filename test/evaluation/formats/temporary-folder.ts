import { mkdtempSync, rmSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll } from 'vitest';

/** Makes a temporary folder, removed after the test file; `put` writes files into it and returns the path of the first. */
export function temporaryFolder(): {
  path: string;
  put: (files: Readonly<Record<string, string | Uint8Array>>) => Promise<string>;
} {
  const path = mkdtempSync(join(tmpdir(), 'winnow-formats-'));
  afterAll(() => rmSync(path, { recursive: true, force: true }));
  return {
    path,
    async put(files) {
      for (const [name, content] of Object.entries(files)) {
        await mkdir(dirname(join(path, name)), { recursive: true });
        await writeFile(join(path, name), content);
      }
      return join(path, Object.keys(files)[0]!);
    },
  };
}

export const SHARED = process.env.WINNOW_SHARED ?? join(import.meta.dirname, '..', '..', '..', '..', 'shared');
