import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { CLIENTS } from '../clients/catalog.ts';

const ROOT = join(import.meta.dirname, '../..');
const read = (...path: string[]) => readFileSync(join(ROOT, ...path), 'utf8');

/** What `npm run test:clients -- --write` wrote. */
const { calls, missing } = z
  .object({
    calls: z.array(
      z.object({
        client: z.string(),
        language: z.string(),
        version: z.string(),
        call: z.string(),
        requests: z.string(),
        fault: z.string().optional(),
      }),
    ),
    missing: z.array(z.object({ client: z.string(), packages: z.string(), reason: z.string() })),
  })
  .parse(JSON.parse(read('test', 'clients', 'results.json')));

/** Clients of `npm test`, which test/e2e/clients.test.ts runs. */
const { devDependencies } = z
  .object({ devDependencies: z.record(z.string(), z.string()) })
  .parse(JSON.parse(read('package.json')));
const JAVASCRIPT = {
  'cohere-ai': '`POST /v1/rerank`, `POST /v2/rerank`',
  '@ai-sdk/cohere': '`POST /rerank`, `POST /v1/rerank`, `POST /v2/rerank`',
  '@langchain/cohere': '`POST /v1/rerank`',
  voyageai: '`POST /v1/rerank`',
} as const;

const LANGUAGES: Readonly<Record<string, string>> = { python: 'Python', java: 'Java', go: 'Go' };
const code = (names: Iterable<string>) => [...new Set(names)].map((name) => `\`${name}\``).join(', ');
/** Requests without status and query, as the page names them. */
const pathsOf = (requests: string) =>
  requests.split(', ').flatMap((one) => (one ? [one.replace(/ \S+$/, '').replace(/\?.*/, '')] : []));

function table(): string {
  const rows = [...Map.groupBy(calls, ({ version, client }) => version || client)].map(([version, made]) => {
    const right = made.filter(({ fault }) => fault === undefined).length;
    const language = LANGUAGES[made[0]!.language];
    return [version, language, `${right} of ${made.length}`, code(made.flatMap(({ requests }) => pathsOf(requests)))];
  });
  const javascript = Object.entries(JAVASCRIPT).map(([name, paths]) => {
    return [`${name} ${devDependencies[name]}`, 'JavaScript', 'all (`npm test`)', paths];
  });
  const absent = missing.map(({ client, packages, reason }) => [
    `${client} (\`${packages}\`)`,
    '',
    'not tried',
    reason,
  ]);
  const lines = [...rows, ...javascript, ...absent].map((cells) => `| ${cells.join(' | ')} |\n`);
  return `| client | language | calls that work | requests |\n|---|---|---|---|\n${lines.join('')}`;
}

describe('docs/compatibility.md', () => {
  it('shows the last run of the clients (npx vitest run test/drift/clients.test.ts -u writes it)', async () => {
    const page = read('docs', 'compatibility.md');
    const shown = /^\| client \| language \|.*\n(\|.*\n)+/m;
    expect(page).toMatch(shown);
    await expect(page.replace(shown, table)).toMatchFileSnapshot(join(ROOT, 'docs', 'compatibility.md'));
  });

  it('is about a run of every client of the list, in the versions it names', () => {
    const ran = new Set([...calls, ...missing].map(({ client }) => client));
    expect([...ran].sort()).toEqual(CLIENTS.map(({ name }) => name).sort());
    const versions = new Set(calls.map(({ version }) => version));
    const named = CLIENTS.flatMap(({ language, packages }) => (language === 'python' ? packages[0] : []));
    for (const one of named) expect(versions).toContain(one.replace(/\[.*\]/, '').replace('==', ' '));
  });
});
