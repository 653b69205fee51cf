import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '..', '..');

/** Exports of src/ that no other file imports: at most this many may exist. */
const BUDGET = 40;

const CODE = /\.(tsx?|mjs)$/;
const filesIn = (folder: string): string[] =>
  readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => CODE.test(file))
    .map((file) => join(folder, file));
const texts = new Map(
  ['src', 'test', 'bench', 'recipes', 'bin']
    .flatMap(filesIn)
    .map((file) => [file, readFileSync(join(ROOT, file), 'utf8')]),
);

/** The names inside `{ a, type b, c as d }`: `from` gives a, b, c (what the other file exports), `to` gives a, b, d. */
const namesIn = (braces: string, side: 'from' | 'to'): string[] =>
  braces
    .replaceAll(/[{}]/g, '')
    .split(',')
    .map((part) => part.trim().replace(/^type\s+/, ''))
    .filter((part) => part !== '')
    .map((part) => part.split(/\s+as\s+|\s*:\s*/).at(side === 'from' ? 0 : -1)!);

const IMPORT = /(?:import|export)\s+(?:type\s+)?([\w$*{][^'";]*?)\s+from\s+['"](\.[^'"]+)['"]/g;
const DYNAMIC = [
  /\{([^{}]*)\}\s*=\s*await import\(\s*['"](\.[^'"]+)['"]/g, // const { a } = await import('./x.ts')
  /import\(\s*['"](\.[^'"]+)['"]\s*\)\s*\.then\(\(\{([^}]*)\}\)/g, // import('./x.ts').then(({ a }) => …)
  /import\(\s*['"](\.[^'"]+)['"]\s*\)\s*\.then\(\((\w+)\)\s*=>\s*\2\.(\w+)/g, // import('./x.ts').then((m) => m.a)
  /import\(\s*['"](\.[^'"]+)['"]\s*\)\)?\.(\w+)/g, // (await import('./x.ts')).a, and the type import('./x.ts').A
];

/** What each file imports: [file imported from, name]. The name `*` stands for all. */
function importsOf(file: string, text: string): [string, string][] {
  const target = (specifier: string) => normalize(join(dirname(file), specifier));
  const found: [string, string][] = [];
  for (const [, clause, specifier] of text.matchAll(IMPORT)) {
    const namespace = /^\*\s+as\s+(\w+)/.exec(clause!)?.[1];
    const members = namespace ? [...text.matchAll(new RegExp(`\\b${namespace}\\.(\\w+)`, 'g'))].map((m) => m[1]!) : [];
    const braces = /\{[^}]*\}/.exec(clause!)?.[0];
    const names = clause!.startsWith('*') ? (members.length > 0 ? members : ['*']) : namesIn(braces ?? '', 'from');
    if (/^[\w$]/.test(clause!)) names.push('default');
    for (const name of names) found.push([target(specifier!), name]);
  }
  for (const pattern of DYNAMIC)
    for (const [, ...groups] of text.matchAll(pattern)) {
      const specifier = groups.find((group) => group?.startsWith('.'))!;
      const names = groups.filter((group) => group !== specifier).at(-1)!;
      for (const name of namesIn(names, 'from')) found.push([target(specifier), name]);
    }
  return found;
}

function exportsOf(text: string): string[] {
  const declared = text.matchAll(
    /^export\s+(?:declare\s+)?(?:async\s+)?(?:abstract\s+)?(?:function\*?|const|let|class|interface|type)\s+([\w$]+)/gm,
  );
  const listed = text.matchAll(/^export\s+(?:type\s+)?(\{[^}]*\})/gm);
  return [...[...declared].map((m) => m[1]!), ...[...listed].flatMap((m) => namesIn(m[1]!, 'to'))];
}

describe('exports of src/', () => {
  it(`at most ${BUDGET} are used in their own file only: drop the word export there`, () => {
    const used = new Map<string, Set<string>>();
    for (const [file, text] of texts)
      for (const [target, name] of importsOf(file, text)) {
        if (!used.has(target)) used.set(target, new Set());
        used.get(target)!.add(name);
      }
    const unused = [...texts]
      .filter(([file]) => file.startsWith('src/') && !used.get(file)?.has('*'))
      .flatMap(([file, text]) =>
        exportsOf(text)
          .filter((name) => !used.get(file)?.has(name))
          .map((name) => `${file} ${name}`),
      );
    expect(unused.length, unused.join('\n')).toBeLessThanOrEqual(BUDGET);
  });
});
