import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { loadConfig } from '../../src/config/load-config.ts';
import { readSuite } from '../../src/evaluation/suites/suite-schema.ts';
import { DefinitionFile } from '../../src/experiments/definitions/definition-file.ts';
import { readExperiments } from '../../src/experiments/offline-experiments.ts';
import { loadKeys } from '../../src/http/keys.ts';
import { readGrid } from '../../src/training/grid/grid-schema.ts';
import { readRecipe } from '../../src/training/recipe/recipe.ts';
import { parseYaml, readYamlFile } from '../../src/util/yaml-file.ts';

const folder = mkdtempSync(join(tmpdir(), 'winnow-yaml-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const write = (name: string, bytes: string | Uint8Array): string => {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
};

describe('parseYaml', () => {
  it('reads what the package reads', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (value) => {
        const text = stringify(value);
        expect(parseYaml(text)).toEqual(parse(text));
      }),
    );
  });

  it('refuses a repeated key with its place, as the package does', () => {
    const text = 'a:\n  b: 1\n  c: 2\n  b: 3\n';
    const message = (read: () => unknown): unknown => {
      try {
        return read();
      } catch (error) {
        return (error as Error).message.split(/:?\n/)[0];
      }
    };
    expect(message(() => parseYaml(text))).toBe('Map keys must be unique at line 4, column 3');
    expect(message(() => parseYaml(text))).toBe(message(() => parse(text)));
  });

  it('reads a mapping of 60,000 keys', () => {
    const text = Array.from({ length: 60_000 }, (_, i) => `k${i}: ${i}`).join('\n');
    expect(Object.keys(parseYaml(text) as object)).toHaveLength(60_000);
  });

  const nested = Array.from({ length: 12 }, (_, i) => `a${i + 1}: &a${i + 1} [${Array(9).fill(`*a${i}`)}]\n`);
  it.each([
    ['aliases that multiply', `a0: &a0 [x]\n${nested.join('')}`, 'Excessive alias count'],
    ['anchors without end', Array.from({ length: 1001 }, (_, i) => `- &a${i} 1\n`).join(''), '1001 anchors and tags'],
    ['tags without end', `a: ${'!x '.repeat(300_000)}`, '300000 anchors and tags'],
    ['depth without end', '['.repeat(10_000), 'Maximum call stack size exceeded'],
  ])('refuses %s', (_, text, fault) => {
    expect(() => parseYaml(text)).toThrow(fault);
  });
});

describe('every reader of YAML', () => {
  const large = write('large.yaml', `# ${'x'.repeat(2 ** 20)}\n`);
  const latin1 = write('latin1.yaml', Buffer.from('# r\u00e9sum\u00e9\n', 'latin1'));
  const readers: Readonly<Record<string, (path: string) => unknown>> = {
    readYamlFile,
    settings: (path) => loadConfig(['--config', path], {}),
    keys: loadKeys,
    recipe: (path) => readRecipe(path),
    grid: readGrid,
    suite: readSuite,
    experiments: readExperiments,
    'experiments of a server': (path) =>
      new Promise<void>((resolve, reject) => {
        const file = new DefinitionFile({
          path,
          pollMs: 60_000,
          onChange: () => resolve(),
          onProblem: (reason) => reject(new Error(reason)),
        });
        void file.start().finally(() => file.stop());
      }),
  };

  it.each(Object.entries(readers))('%s names file and limit, or file and line', async (_, read) => {
    await expect((async () => read(large))()).rejects.toThrow(`${large}: expected at most 1 MiB, got more`);
    await expect((async () => read(latin1))()).rejects.toThrow(`${latin1}:1: expected UTF-8`);
  });
});
