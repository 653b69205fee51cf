import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { RULES } from '../../src/autodiff/rules/index.ts';

describe('docs/gradients.md', () => {
  it('lists the ops of the table, and no others', () => {
    const page = readFileSync(join(import.meta.dirname, '../../docs/gradients.md'), 'utf8');
    const section = page.slice(page.indexOf('## Rules'), page.indexOf('What is worth knowing'));
    const cells = [...section.matchAll(/^\| [^|]+ \| ([^|]+) \|$/gm)]
      .map((m) => m[1]!)
      .filter((cell) => cell !== 'ops' && !cell.startsWith('-'));
    const listed = cells.flatMap((cell) => cell.match(/\b[A-Z][A-Za-z0-9]+\b/g) ?? []);
    const table = Object.keys(RULES).map((op) => op.split(':').at(-1)!);
    expect(listed.sort()).toEqual(table.sort());
  });
});
