import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { routesOf } from '../../src/http/app.ts';
import { dialectTable } from '../../src/http/openapi/dialect-table.ts';
import { buildDocument, documentText, openApiPath } from '../../src/http/openapi/document.ts';
import { ANSWER_HEADERS, REQUEST_HEADERS, TENSOR_HEADERS } from '../../src/http/openapi/headers.ts';
import { OPERATIONS } from '../../src/http/openapi/operations.ts';
import { fakeDeps } from '../http/fakes.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const committed = readFileSync(join(ROOT, 'openapi.yaml'), 'utf8');
const api = readFileSync(join(ROOT, 'docs', 'api.md'), 'utf8');

describe('openapi.yaml', () => {
  it('is what `npm run openapi` writes', () => {
    expect(documentText(buildDocument())).toBe(committed);
  });

  it('describes every route of the app and no other, with its access', () => {
    const routes = routesOf(fakeDeps()).map(({ method, path, access }) => [`${method.toUpperCase()} ${path}`, access]);
    const operations = Object.entries(OPERATIONS).map(([key, { access }]) => [key, access]);
    expect(Object.fromEntries(routes)).toEqual(Object.fromEntries(operations));
  });

  it('gives every operation a name of its own', () => {
    const { paths } = parse(committed) as { paths: Record<string, Record<string, { operationId: string }>> };
    const ids = Object.values(paths).flatMap((item) => Object.values(item).map(({ operationId }) => operationId));
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids).toHaveLength(Object.keys(OPERATIONS).length);
  });
});

describe('docs/api.md', () => {
  /** `POST /rerank` in the first column of a table. */
  const documented = [...api.matchAll(/^\| `(GET|POST|PUT|DELETE) (\/\S*)`/gm)].map(
    ([, method, path]) => `${method} ${path}`,
  );

  it('has every route, and no other', () => {
    const real = Object.keys(OPERATIONS).map((key) => openApiPath(key));
    expect([...documented].sort()).toEqual([...real].sort());
  });

  it('says of formats and scoring routes what the dialects declare (npx vitest run test/drift -u writes it)', async () => {
    const table = /^\| format \|.*\n(\|.*\n)+/m;
    expect(api).toMatch(table);
    const summaries = new Map(
      Object.entries(OPERATIONS).flatMap(([key, { tag, summary }]) =>
        tag === 'Scoring' ? [[openApiPath(key), summary] as const] : [],
      ),
    );
    const page = api
      .replace(table, () => dialectTable())
      .replace(/^\| `(POST \/\S*)` \| rerank \| .*$/gm, (row, key: string) =>
        summaries.has(key) ? `| \`${key}\` | rerank | ${summaries.get(key)} |` : row,
      );
    await expect(page).toMatchFileSnapshot(join(ROOT, 'docs', 'api.md'));
  });

  it('has every header, and no other', () => {
    const inRequests = { ...REQUEST_HEADERS, ...TENSOR_HEADERS };
    const inAnswers = { ...ANSWER_HEADERS, ...TENSOR_HEADERS };
    const rows = [...api.matchAll(/^\| `([a-z-]+)` \| (request|answer|both) \|/gm)].map(([, name, where]) => [
      name,
      where,
    ]);
    const where = (name: string) => (name in inRequests ? (name in inAnswers ? 'both' : 'request') : 'answer');
    const names = Object.keys({ ...inRequests, ...inAnswers });
    expect(Object.fromEntries(rows)).toEqual(Object.fromEntries(names.map((name) => [name, where(name)])));
  });
});
