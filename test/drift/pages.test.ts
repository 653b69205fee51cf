import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const DOCS = join(import.meta.dirname, '..', '..', 'docs');
const pages = readdirSync(DOCS).filter((file) => file.endsWith('.md'));

/** What begins each block of a page: headings, fences with their language, the first row of tables. */
const blocksOf = (text: string): string[] =>
  [...text.matchAll(/^(# .*|## .*|### .*|```(\w*)\n[\s\S]*?^```|\|(?=.*\n\|[-|: ]+\|$))/gm)].map(
    ([block, , language]) =>
      block.startsWith('```')
        ? `fence ${language === 'sh' ? 'command' : 'other'}`
        : block.startsWith('|')
          ? 'table'
          : 'heading',
  );

describe('pages of docs/', () => {
  it.each(pages)('%s opens with a command or request and its output, before any table or heading', (page) => {
    const [title, ...rest] = blocksOf(readFileSync(join(DOCS, page), 'utf8'));
    const opening = rest.slice(
      0,
      Math.max(
        0,
        rest.findIndex((block) => block === 'table' || block === 'heading'),
      ),
    );
    expect(title).toBe('heading');
    expect(opening.lastIndexOf('fence other')).toBeGreaterThan(opening.indexOf('fence command'));
    expect(opening).toContain('fence command');
  });
});
