import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { CohereClientV2 } from 'cohere-ai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ServerProcess, startServerProcess } from '../../bench/load/server.ts';
import { COMMANDS } from '../../src/cli/commands.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const README = readFileSync(join(ROOT, 'README.md'), 'utf8');
const PAGES = [
  'README.md',
  ...readdirSync(join(ROOT, 'docs'))
    .filter((f) => f.endsWith('.md'))
    .map((f) => `docs/${f}`),
];
const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: Record<string, string> };
const COMMAND_NAMES = Object.keys(COMMANDS);

const blocks = (language: string, text = README) =>
  [...text.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, 'gm'))].map(([, body]) => body!);

describe('README', () => {
  it('begins with what it is, one command to run and one to test', () => {
    expect(README.startsWith('# Winnow\n')).toBe(true);
    const commands = blocks('sh').flatMap((block) => block.split('\n').filter((line) => line.startsWith('npm ')));
    expect(commands.map((line) => line.replace(/\s*#.*/, ''))).toEqual(['npm ci && npm start', 'npm ci && npm test']);
    expect(README.split('\n').findIndex((line) => line.startsWith('npm ci && npm test'))).toBeLessThan(45);
  });

  it('links to every page, and to nothing that is not there', () => {
    for (const page of PAGES) {
      const text = readFileSync(join(ROOT, page), 'utf8');
      for (const [, target] of text.matchAll(/\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)/g))
        expect(existsSync(join(ROOT, dirname(page), target!)), `${page} → ${target}`).toBe(true);
    }
    for (const page of PAGES.slice(1)) expect(README, page).toContain(`(${page})`);
  });

  it('and the pages name only scripts and commands that exist', () => {
    expect(COMMAND_NAMES).toContain('serve');
    for (const page of [...PAGES, 'CONTRIBUTING.md', 'CHANGELOG.md']) {
      const text = readFileSync(join(ROOT, page), 'utf8');
      for (const [, script] of text.matchAll(/npm run ([\w:-]+)/g))
        expect(scripts, `${page}: ${script}`).toHaveProperty(script!);
      for (const [, command] of text.matchAll(/npx winnow ([a-z][\w-]*)/g))
        expect(COMMAND_NAMES, page).toContain(command);
    }
  });
});

describe('what the README shows of a running server', () => {
  let server: ServerProcess;
  beforeAll(async () => {
    server = await startServerProcess();
  });
  afterAll(() => server?.stop());

  const shown = /curl -s localhost:8080(\S+) .*-d '([\s\S]*?)'\n/.exec(README)!;

  it('the curl command gets the answer printed below it', async () => {
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(server.url + shown[1]!, { method: 'POST', headers, body: shown[2]! });
    type Answer = { index: number; score: number }[];
    const answer = (await response.json()) as Answer;
    const printed = JSON.parse(blocks('json')[0]!) as Answer;
    expect(answer.map(({ index }) => index)).toEqual(printed.map(({ index }) => index));
    answer.forEach(({ score }, i) => {
      expect(score).toBeCloseTo(printed[i]!.score, 3);
    });
  });

  it('the model the SDK example names is there', async () => {
    const model = /rerank\(\{ model: '([^']+)'/.exec(blocks('ts')[0]!)![1]!;
    const client = new CohereClientV2({ environment: server.url, token: 'none' });
    const { results } = await client.rerank({ model, query: 'q', documents: ['a', 'b'], topN: 1 });
    expect(results).toHaveLength(1);
  });
});
