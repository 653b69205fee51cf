import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { CATALOG, type ErrorCode } from '../../src/errors.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const page = readFileSync(join(ROOT, 'docs', 'errors.md'), 'utf8');

/** Rows of the tables: code, status, type, meaning, cure. */
const rows = [...page.matchAll(/^\| `(\w+)` \| (\d+) \| `(\w+)` \| (.+?) \| (.+?) \|$/gm)].map(
  ([, code, status, type, meaning, cure]) => ({ code, status: Number(status), type, meaning, cure }),
);

describe('docs/errors.md', () => {
  it('has every code once, with its status and type, and no other', () => {
    const documented = rows.map(({ code, status, type }) => [code, status, type]);
    const real = Object.entries(CATALOG).map(([code, { status, type }]) => [code, status, type]);
    expect(Object.fromEntries(documented.map((row) => [row[0], row]))).toEqual(
      Object.fromEntries(real.map((row) => [row[0], row])),
    );
    expect(documented).toHaveLength(real.length);
  });

  it('says of each what it means and what to do', () => {
    for (const { code, meaning = '', cure = '' } of rows) {
      expect(meaning.length, `meaning of ${code}`).toBeGreaterThan(15);
      expect(cure.length, `cure of ${code}`).toBeGreaterThan(10);
    }
  });
});

describe('the catalog', () => {
  it('holds only codes that some code throws', () => {
    const src = join(ROOT, 'src');
    const text = readdirSync(src, { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts') && file !== 'errors.ts' && !file.startsWith(join('http', 'openapi')))
      .map((file) => readFileSync(join(src, file), 'utf8'))
      .join('\n');
    expect(Object.keys(CATALOG).filter((code) => !text.includes(`'${code}'`))).toEqual([]);
  });

  it.each(Object.keys(CATALOG) as ErrorCode[])(
    '%s has a message that starts like a sentence without its end',
    (code) => {
      const { message, status } = CATALOG[code];
      expect(message).not.toMatch(/\.$/);
      expect(status).toBeGreaterThanOrEqual(400);
    },
  );
});
