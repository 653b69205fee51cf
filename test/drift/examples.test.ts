import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '..', '..');
const run = promisify(execFile);

/** Lines of examples that need no server, no network and no engine, so that their output is the same everywhere. */
const RUNNABLE =
  /^(mkdir -p tmp|printf |cat tmp\/|npx winnow (--help|measure|compare|index|search|models list|experiments validate|data check|train recipes\/\S+ --peek)\b)/;

interface Example {
  readonly page: string;
  readonly script: string;
  readonly output: string;
}

/** Blocks of commands directly followed by a block with what they print. */
function examplesOf(page: string): Example[] {
  const text = readFileSync(join(ROOT, 'docs', page), 'utf8');
  return [...text.matchAll(/^```sh\n([\s\S]*?)^```\n\n```\n([\s\S]*?)^```/gm)]
    .map(([, script, output]) => ({ page, script: script!, output: output! }))
    .filter(
      ({ script }) =>
        script.startsWith('npx node -e') ||
        script
          .trim()
          .split('\n')
          .every((l) => RUNNABLE.test(l)),
    );
}

/** The output without blanks at line ends and without how long something took. */
const comparable = (text: string): string =>
  text
    .trim()
    .replaceAll(/ +$/gm, '')
    .replaceAll(/\b\d+\.\d s\b/g, '… s');

const examples = readdirSync(join(ROOT, 'docs'))
  .filter((file) => file.endsWith('.md'))
  .flatMap(examplesOf);

describe('examples in the pages', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'winnow-examples-'));
    for (const name of ['src', 'models', 'recipes', 'node_modules', 'package.json'])
      symlinkSync(join(ROOT, name), join(folder, name));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it('are found', () => expect(examples.length).toBeGreaterThan(5));

  it.each(examples.map((example) => [example.page, example] as const))(
    '%s prints what it shows',
    async (_, { script, output }) => {
      const here = script
        .replaceAll('npx winnow', `'${process.execPath}' '${join(ROOT, 'bin', 'winnow.mjs')}'`)
        .replaceAll('npx node', `'${process.execPath}'`);
      const { stdout } = await run('sh', ['-ec', here], { cwd: folder });
      expect(comparable(stdout)).toBe(comparable(output));
    },
  );
});
