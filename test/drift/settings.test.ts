import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { settingsMarkdown } from '../../src/config/setting-help.ts';
import { ALIASES, settings } from '../../src/config/setting-list.ts';

const ROOT = join(import.meta.dirname, '..', '..');

/** Variables that are read elsewhere than in the settings of `winnow serve`. */
const OTHERS = ['WINNOW_CONFIG', 'WINNOW_FIXTURES', 'WINNOW_PYTHON', 'WINNOW_SEARCH_AUTHORIZATION'];

function filesBelow(folder: string, ending: RegExp): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((path) => ending.test(path))
    .map((path) => join(folder, path));
}

describe('settings and their page', () => {
  it('docs/configuration.md is what the schema says (npx vitest run test/drift -u writes it anew)', async () => {
    await expect(settingsMarkdown()).toMatchFileSnapshot(join(ROOT, 'docs', 'configuration.md'));
  });

  it('no page or manifest names a variable or flag that is none', () => {
    const known = new Set([...settings().map((s) => s.env), ...Object.keys(ALIASES), ...OTHERS]);
    const strangers: string[] = [];
    for (const path of [
      'README.md',
      'Dockerfile',
      ...filesBelow('docs', /\.md$/),
      ...filesBelow('k8s', /\.(ya?ml|env)$/),
    ])
      for (const [name] of readFileSync(join(ROOT, path), 'utf8').matchAll(/\bWINNOW_[A-Z_]+[A-Z]\b/g))
        if (!known.has(name)) strangers.push(`${path}: ${name}`);
    expect(strangers).toEqual([]);
  });
});
