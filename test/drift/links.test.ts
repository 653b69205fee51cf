import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '..', '..');

const pages = ['.', 'docs', 'models', 'recipes', 'bench', 'k8s'].flatMap((folder) =>
  readdirSync(join(ROOT, folder), { recursive: folder !== '.', encoding: 'utf8' })
    .filter((file) => file.endsWith('.md'))
    .map((file) => join(folder, file)),
);

/** The page without code: what stands in a fence or in backticks is no link and no heading. */
const proseOf = (page: string): string =>
  readFileSync(join(ROOT, page), 'utf8').replaceAll(/^( *)(```|~~~)[\s\S]*?^\1\2/gm, '');

/** The anchors GitHub gives the headings of a page: lower case, letters, digits, `_` and `-`, blanks as `-`, `-1` for a second one. */
function anchorsOf(page: string): Set<string> {
  const anchors = new Set<string>();
  for (const [, title] of proseOf(page).matchAll(/^#{1,6} +(.+?) *#*$/gm)) {
    const slug = title!
      .replaceAll(/!?\[([^\]]*)\]\([^)]*\)/g, '$1')
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}_\- ]/gu, '')
      .replaceAll(' ', '-');
    let anchor = slug;
    for (let i = 1; anchors.has(anchor); i++) anchor = `${slug}-${i}`;
    anchors.add(anchor);
  }
  return anchors;
}

const targetsOf = (page: string): string[] =>
  [
    ...proseOf(page)
      .replaceAll(/`[^`\n]*`/g, '')
      .matchAll(/\]\(\s*<?([^)\s>]+)>?[^)]*\)/g),
  ]
    .map((match) => match[1]!)
    .filter((target) => !/^[a-z][a-z+.-]*:/i.test(target));

describe('links in Markdown', () => {
  it.each(pages)('%s: every relative link leads to a file, and every anchor to a heading', (page) => {
    const broken = targetsOf(page).filter((target) => {
      const [path, anchor] = target.split('#') as [string, string?];
      const file = path === '' ? page : normalize(join(dirname(page), decodeURIComponent(path)));
      if (!existsSync(join(ROOT, file))) return true;
      return anchor !== undefined && file.endsWith('.md') && !anchorsOf(file).has(anchor);
    });
    expect(broken).toEqual([]);
  });

  it.each(pages.filter((page) => !page.startsWith('models/')))(
    '%s: every path of the repository that it names exists',
    (page) => {
      const named = [...proseOf(page).matchAll(/`((?:src|test|bench|recipes|docs|k8s|models|bin)\/[\w./-]*)`/g)]
        .map((match) => match[1]!)
        .filter((path) => !/\b[A-Z]{2,}\b|\bmy-/.test(path));
      expect(named.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
    },
  );
});
