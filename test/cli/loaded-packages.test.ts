import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';

const CLI = join(import.meta.dirname, '..', '..', 'src', 'cli');

/** Packages of over a hundred modules that one part of some commands needs: they are loaded by that part (`import()`). */
const LATE = ['vega', 'vega-lite', 'apache-arrow'];

/** Returns what a file loads before it runs: imports of types and `import()` are not among it. */
const staticImports = (path: string): string[] =>
  [...readFileSync(path, 'utf8').matchAll(/^(?:import|export)(?! type\b)(?:[^'";]*\sfrom)?\s*['"]([^'"]+)['"]/gm)].map(
    ([, specifier]) => specifier!,
  );

/** Returns the packages that a file and all that it imports load, each with the file that names it. */
function packagesOf(entry: string): Map<string, string> {
  const found = new Map<string, string>();
  const seen = new Set<string>();
  const queue = [entry];
  for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
    if (seen.has(path)) continue;
    seen.add(path);
    for (const specifier of staticImports(path))
      if (specifier.startsWith('.')) queue.push(join(dirname(path), specifier));
      else found.set(specifier, path);
  }
  return found;
}

describe('what a command loads before it runs', () => {
  const commands = readdirSync(CLI).filter((name) => name.endsWith('.ts'));

  it.each(commands)('%s: neither charts nor Arrow', (name) => {
    const packages = packagesOf(join(CLI, name));
    expect(LATE.filter((late) => packages.has(late)).map((late) => `${packages.get(late)} → ${late}`)).toEqual([]);
  });

  it('finds packages through other files', () => {
    expect([...packagesOf(join(CLI, 'train.ts')).keys()]).toEqual(expect.arrayContaining(['commander', 'zod', 'yaml']));
  });
});
