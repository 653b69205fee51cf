import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';

interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

const manifestOf = (folder: string): Manifest =>
  JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest;

/** Finds an installed package as Node does: in the nearest `node_modules` upwards. */
function installed(name: string, from: string, root: string): string | undefined {
  for (let folder = from; folder.startsWith(root); folder = dirname(folder)) {
    const found = join(folder, 'node_modules', name);
    if (existsSync(join(found, 'package.json'))) return found;
    if (folder === root) return undefined;
  }
  return undefined;
}

/**
 * Returns the folders of all packages that a checkout needs to run, relative to it: its dependencies, theirs, and optional ones that are installed.
 * @param without names of packages that are left out with what only they need.
 * @throws Error for a dependency that is not installed.
 */
export function packageClosure(root: string, without: ReadonlySet<string>): readonly string[] {
  const found = new Set<string>();
  const open = [root];
  for (let folder = open.pop(); folder !== undefined; folder = open.pop()) {
    const { dependencies = {}, optionalDependencies = {} } = manifestOf(folder);
    for (const name of [...Object.keys(dependencies), ...Object.keys(optionalDependencies)]) {
      if (without.has(name)) continue;
      const place = installed(name, folder, root);
      if (place === undefined) {
        if (name in optionalDependencies) continue;
        throw new Error(
          `expected ${name} of ${relative(root, folder) || 'package.json'} in node_modules, got none: run npm ci`,
        );
      }
      if (found.has(place)) continue;
      found.add(place);
      open.push(place);
    }
  }
  return [...found].map((folder) => relative(root, folder)).sort();
}
