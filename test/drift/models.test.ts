import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '..', '..');
const { model } = JSON.parse(readFileSync(join(ROOT, 'models/default.json'), 'utf8')) as { model: string };
const shipped = readdirSync(join(ROOT, 'models'), { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map((entry) => entry.name);
const pages = [
  'README.md',
  ...readdirSync(join(ROOT, 'docs'))
    .filter((file) => file.endsWith('.md'))
    .map((file) => `docs/${file}`),
].map((page) => [page, readFileSync(join(ROOT, page), 'utf8').replaceAll(/\s+/g, ' ')] as const);

describe('the models that pages name', () => {
  it('the default model is the one of models/default.json', () => {
    const named = pages.flatMap(([page, text]) =>
      [...text.matchAll(/default model(?: is|,|:)? `(\w[\w.-]*)`/gi)].map((match) => [page, match[1]]),
    );
    expect(named).toContainEqual(['docs/models-shipped.md', model]);
    expect(named.filter(([, name]) => name !== model)).toEqual([]);
  });

  it('the page on shipped models verifies every one', () => {
    const text = readFileSync(join(ROOT, 'docs/models-shipped.md'), 'utf8');
    const verified = [...text.matchAll(/^(\S+)@1: admitted/gm)].map((match) => match[1]);
    expect(verified).toEqual(shipped.toSorted());
  });
});
