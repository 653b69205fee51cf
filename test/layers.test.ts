import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { describe, expect, it } from 'vitest';
import { FLOOR, MAY_IMPORT, ROOMS } from './support/layers-table.ts';

const SRC = join(import.meta.dirname, '..', 'src');

/** The console's page is built for browsers: it may import types of the server, and no code. */
const PAGE = 'console/web/';

const sources = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .map((f) => f.replaceAll('\\', '/'))
  .filter((f) => /\.tsx?$/.test(f));
const files = sources.filter((f) => !f.startsWith(PAGE));

function importsOf(file: string): string[] {
  const text = readFileSync(join(SRC, file), 'utf8');
  return [...text.matchAll(/(?:from|import)\s*\(?\s*['"](\.{1,2}\/[^'"]+)['"]/g)].map((m) =>
    normalize(join(dirname(file), m[1]!)).replaceAll('\\', '/'),
  );
}

const folderOf = (file: string) => (file.includes('/') ? file.split('/')[0]! : file.replace(/\.ts$/, ''));
const roomOf = (file: string) => file.split('/')[1]!.replace(/\.ts$/, '');

describe('layers', () => {
  it('every file is in a folder of the table', () => {
    expect(files.map(folderOf).filter((p) => !(p in MAY_IMPORT) && !FLOOR.includes(p))).toEqual([]);
  });

  it('every import stays within what its folder may import', () => {
    const wrong: string[] = [];
    for (const file of files)
      for (const target of importsOf(file)) {
        const from = folderOf(file);
        const to = folderOf(target);
        const allowed = MAY_IMPORT[from] ?? [];
        if (from === to || FLOOR.includes(to) || allowed === 'all') continue;
        if (!allowed.some((a) => target === `${a}.ts` || target.startsWith(`${a}/`) || target.startsWith(`${a}.`)))
          wrong.push(`${file} → ${target}`);
      }
    expect(wrong).toEqual([]);
  });

  for (const [folder, rooms] of Object.entries(ROOMS))
    it(`the rooms of ${folder}/ stand on one another in one order`, () => {
      const wrong: string[] = [];
      for (const file of files.filter((f) => f.startsWith(`${folder}/`) && rooms.includes(roomOf(f))))
        for (const target of importsOf(file).filter((t) => t.startsWith(`${folder}/`)))
          if (rooms.indexOf(roomOf(target)) > rooms.indexOf(roomOf(file)) || !rooms.includes(roomOf(target)))
            wrong.push(`${file} → ${target}`);
      expect(wrong).toEqual([]);
    });

  it("the console's page imports only types of the server", () => {
    const wrong: string[] = [];
    for (const file of sources.filter((f) => f.startsWith(PAGE)))
      for (const [, specifier] of readFileSync(join(SRC, file), 'utf8').matchAll(
        /^(?:import|export)(?! type\b)[^'";]*['"](\.{1,2}\/[^'"]+)['"]/gm,
      ))
        if (!normalize(join(dirname(file), specifier!)).startsWith(PAGE)) wrong.push(`${file} → ${specifier}`);
    expect(wrong).toEqual([]);
  });

  it('there are no cycles between files', () => {
    const graph = new Map(files.map((f) => [f, importsOf(f).filter((t) => files.includes(t))]));
    const state = new Map<string, 'open' | 'done'>();
    const cycles: string[] = [];
    const visit = (file: string, path: readonly string[]): void => {
      if (state.get(file) === 'done') return;
      if (state.get(file) === 'open') {
        cycles.push([...path.slice(path.indexOf(file)), file].join(' → '));
        return;
      }
      state.set(file, 'open');
      for (const next of graph.get(file) ?? []) visit(next, [...path, file]);
      state.set(file, 'done');
    };
    for (const file of files) visit(file, []);
    expect(cycles).toEqual([]);
  });

  it('imports stay inside src/', () => {
    expect(
      files.flatMap((f) =>
        importsOf(f)
          .filter((t) => relative('.', t).startsWith('..'))
          .map((t) => `${f} → ${t}`),
      ),
    ).toEqual([]);
  });
});
