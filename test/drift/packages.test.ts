import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '..', '..');
const read = (name: string) => JSON.parse(readFileSync(join(ROOT, name), 'utf8'));

interface Locked {
  readonly version?: string;
  readonly resolved?: string;
  readonly dependencies?: Record<string, string>;
  readonly optionalDependencies?: Record<string, string>;
}

describe('the lock file', () => {
  const { packages } = read('package-lock.json') as { packages: Record<string, Locked> };
  const manifest = read('package.json') as Record<'dependencies' | 'devDependencies', Record<string, string>>;

  /** Where a package finds another: in its own node_modules, else further up. */
  const isFound = (from: string, name: string): boolean => {
    for (let at = from; ; at = at.slice(0, at.lastIndexOf('node_modules/')).replace(/\/$/, '')) {
      if (packages[`${at ? `${at}/` : ''}node_modules/${name}`]) return true;
      if (at === '') return false;
    }
  };

  it('has every package another one names, those for other platforms included, without which npm ci refuses to run', () => {
    const missing = Object.entries(packages).flatMap(([path, { dependencies, optionalDependencies }]) =>
      Object.keys({ ...dependencies, ...optionalDependencies })
        .filter((name) => !isFound(path, name))
        .map((name) => `${path || 'package.json'} → ${name}`),
    );
    expect(missing).toEqual([]);
  });

  it('has the versions package.json asks for, each exact', () => {
    for (const [name, version] of Object.entries({ ...manifest.dependencies, ...manifest.devDependencies })) {
      expect(version, name).toMatch(/^\d+\.\d+\.\d+/);
      expect(packages[`node_modules/${name}`]?.version, name).toBe(version);
    }
  });

  it('names no place packages come from', () => {
    expect(Object.values(packages).filter(({ resolved }) => resolved !== undefined)).toEqual([]);
  });
});

it('.ci/run names every test command that it leaves out', () => {
  const script = readFileSync(join(ROOT, '.ci/run'), 'utf8');
  // `npm test` runs the fixtures.
  const apart = Object.keys(read('package.json').scripts).filter((name) => /^test:(?!fixtures$)/.test(name));
  expect(apart.filter((name) => !script.includes(`left out: npm run ${name} `))).toEqual([]);
});
