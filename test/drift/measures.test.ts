import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { MEASURES } from '../../src/evaluation/measures/catalog.ts';

const text = readFileSync(join(import.meta.dirname, '..', '..', 'docs', 'measures.md'), 'utf8');

describe('docs/measures.md', () => {
  it('names every measure, and no other, in its table of names', () => {
    const [, table] = /\n\| name \|[^\n]*\n\|[-|]+\|\n((?:\|[^\n]*\n)+)/.exec(text)!;
    const names = table!.match(/^\| [^|]+\|/gm)!.flatMap((cell) => cell.match(/(?<=`)\w+(?=[`@])/g)!);
    expect([...new Set(names)].sort()).toEqual(Object.keys(MEASURES).sort());
  });
});
