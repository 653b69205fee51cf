import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { describe, expect, it } from 'vitest';

const SRC = join(import.meta.dirname, '..', 'src');

/** Leaf modules beside the folders: anybody may import them. */
const LEAVES = ['errors', 'files', 'random', 'progress'];

/** What a place may import, besides itself and the leaves. A place is a folder of src/ (or a file of it); `a/b` narrows to a sub-folder. */
const MAY_IMPORT: Readonly<Record<string, readonly string[] | 'all'>> = {
  main: 'all',
  cli: [
    'main',
    'config',
    'rerank',
    'experiments',
    'registry',
    'tokenization',
    'scheduling',
    'inference',
    'onnx',
    'training',
    'evaluation',
    'telemetry',
  ],
  config: [],
  http: ['rerank', 'registry', 'experiments', 'telemetry'],
  rerank: ['tokenization', 'scheduling', 'registry', 'experiments'],
  experiments: ['evaluation/statistics'],
  registry: ['inference'],
  tokenization: [],
  scheduling: [],
  inference: ['onnx'],
  onnx: [],
  training: ['onnx', 'tokenization', 'registry', 'evaluation', 'inference/providers'],
  evaluation: [],
  telemetry: [],
  console: [],
};

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .filter((f) => f.endsWith('.ts') && !f.startsWith(join('console', 'web')))
  .map((f) => f.replaceAll('\\', '/'));

function importsOf(file: string): string[] {
  const text = readFileSync(join(SRC, file), 'utf8');
  return [...text.matchAll(/(?:from|import)\s*\(?\s*['"](\.{1,2}\/[^'"]+)['"]/g)].map((m) =>
    normalize(join(dirname(file), m[1]!)).replaceAll('\\', '/'),
  );
}

const place = (file: string) => (file.includes('/') ? file.split('/')[0]! : file.replace(/\.ts$/, ''));

describe('layers', () => {
  it('every file is in a place the house knows', () => {
    expect(files.map(place).filter((p) => !(p in MAY_IMPORT) && !LEAVES.includes(p))).toEqual([]);
  });

  it('nobody imports what his layer may not', () => {
    const wrong: string[] = [];
    for (const file of files)
      for (const target of importsOf(file)) {
        const from = place(file);
        const to = place(target);
        const allowed = MAY_IMPORT[from] ?? [];
        if (from === to || LEAVES.includes(to) || allowed === 'all') continue;
        if (!allowed.some((a) => target === `${a}.ts` || target.startsWith(`${a}/`) || target.startsWith(`${a}.`)))
          wrong.push(`${file} → ${target}`);
      }
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
