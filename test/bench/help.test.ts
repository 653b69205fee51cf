import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '..', '..');
const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: Record<string, string> };
const BENCHMARKS = Object.keys(scripts).filter((name) => name.startsWith('bench:'));

it.each(BENCHMARKS)('npm run %s -- --help says what it prints', (script) => {
  const source = readFileSync(join(ROOT, scripts[script]!.replace(/^node /, '')), 'utf8');
  const [, about] = /const ABOUT = `([^`]*)`/.exec(source)!;
  expect(about).toMatch(/\nPrints\b/);
  expect(source).toContain(`readFlags('${script.replace('bench:', '')}', ABOUT, {`);
});
