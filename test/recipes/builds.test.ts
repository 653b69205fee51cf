import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');
const build = (recipe: string, ...flags: string[]) =>
  spawnSync(process.execPath, [join(ROOT, 'recipes', recipe, 'build.ts'), ...flags], { cwd: ROOT, encoding: 'utf8' });

it.each([
  { recipe: 'six-models', steps: ['candidate lists', 'train the start', 'train objectives', 'import e5-small-v2'] },
  { recipe: 'ensemble-models', steps: ['fetch bge-small-en-v1.5', 'candidate lists', 'weights of ensemble'] },
])('$recipe says which steps are done, and refuses one that is not there', ({ recipe, steps }) => {
  const { status, stdout, stderr } = build(recipe, '--explain');
  expect(status, stderr).toBe(0);
  const listed = stdout.match(/^(?:done|to do) +\S.*$/gm)?.map((line) => line.replace(/^(?:done|to do) +/, ''));
  expect(listed).toEqual(expect.arrayContaining(steps));
  const refused = build(recipe, '--until', 'dinner');
  expect([refused.status, refused.stderr]).toEqual([2, expect.stringMatching(/expected one of .*; got dinner/)]);
});
