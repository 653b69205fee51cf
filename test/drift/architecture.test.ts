import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { FLOOR, MAY_IMPORT, ROOMS } from '../support/layers-table.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const page = readFileSync(join(ROOT, 'docs', 'architecture.md'), 'utf8');

/** The first cells, and the last cell as names, of the table whose header begins with `first`. */
function table(first: string): { readonly name: string; readonly last: string }[] {
  const lines = page.slice(page.indexOf(`| ${first} |`)).split('\n');
  const rows = lines.slice(2, lines.indexOf(''));
  return rows.map((row) => {
    const cells = row.split('|').map((cell) => cell.trim());
    return { name: cells[1]!.replaceAll(/[`/]/g, ''), last: cells.at(-2)! };
  });
}

const namesIn = (cell: string): string[] => [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1]!);

describe('docs/architecture.md', () => {
  const folders = table('folder');

  it('has the layer table of the test', () => {
    const shown = folders.map(({ name, last }) => [
      name,
      last === 'everything' ? 'all' : last === 'nothing' ? [] : namesIn(last),
    ]);
    expect(Object.fromEntries(shown)).toEqual(MAY_IMPORT);
    for (const name of FLOOR) expect(page).toMatch(new RegExp(`may also import itself, .*\`${name}(\\.ts|/)\``));
  });

  it('names every folder under src/', () => {
    const real = readdirSync(join(ROOT, 'src'), { withFileTypes: true }).filter((entry) => entry.isDirectory());
    expect(folders.map(({ name }) => name).toSorted()).toEqual(real.map(({ name }) => name).toSorted());
  });

  it.each(Object.entries(ROOMS))('lists the rooms of %s/ in their order', (folder, rooms) => {
    expect(table(`room of \`${folder}/\``).map(({ name }) => name)).toEqual(rooms);
  });

  it('has both drawings', () => {
    expect([...page.matchAll(/^```mermaid\n(\w+)/gm)].map((match) => match[1])).toEqual([
      'sequenceDiagram',
      'flowchart',
    ]);
  });
});
