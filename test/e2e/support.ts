import { cpSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const ROOT = join(import.meta.dirname, '../..');
const SHARED = process.env.WINNOW_SHARED ?? join(ROOT, '../shared');

export const TREC_DL = join(SHARED, 'data/trec-dl/BM25.dl19.top100.json');
export const REFERENCE_MODEL = join(SHARED, 'models/minilm-l6-reference');
export const hasReference = existsSync(join(REFERENCE_MODEL, 'reference-scores.json'));
export const hasTrecDl = existsSync(TREC_DL);

/** Folders made by a test file; remove them when it ends. */
export class Scratch {
  readonly #folders: string[] = [];

  make(): string {
    const folder = mkdtempSync(join(tmpdir(), 'winnow-e2e-'));
    this.#folders.push(folder);
    return folder;
  }

  /** A registry whose model `m` is the shipped default under the versions named; `stable` is the first. */
  registry(...versions: readonly string[]): string {
    const folder = this.make();
    for (const version of versions) cpSync(shippedVersion(), join(folder, 'm', version), { recursive: true });
    writeFileSync(join(folder, 'm', 'labels.json'), JSON.stringify({ stable: versions[0] }));
    return folder;
  }

  /** A registry with the model whose scores are known from another binding of the engine. */
  referenceRegistry(): string {
    const folder = this.make();
    const version = join(folder, 'reference', '1');
    cpSync(REFERENCE_MODEL, version, { recursive: true });
    const manifest = { format: 1, maxLength: 192, truncation: 'longest_first', activation: 'sigmoid' };
    writeFileSync(join(version, 'model.json'), JSON.stringify(manifest));
    return folder;
  }

  clear(): void {
    for (const folder of this.#folders) rmSync(folder, { recursive: true, force: true });
  }
}

/** Folder of the first shipped model's first version: the default of a server nobody told otherwise. */
export function shippedVersion(): string {
  const models = join(ROOT, 'models');
  const folders = (path: string) =>
    readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
      .map((entry) => entry.name)
      .toSorted();
  const model = folders(models)[0]!;
  return join(models, model, folders(join(models, model))[0]!);
}

/** Five passages of plainly different relevance to the query, the best one not first. */
export const FLEAS = {
  query: 'how long does a flea live',
  passages: [
    'The committee will meet on Thursday to discuss the new tariff on copper imports.',
    'A flea can live up to a year, but its general lifespan depends on its living conditions.',
    'Dogs and cats often scratch when they are bitten by small insects.',
    'The life cycle of a flea lasts from 20 days to an entire year.',
    'Bridges are inspected every five years.',
  ],
} as const;

/** Indices in the order of falling scores, ties by index. */
export function orderOf(scores: ArrayLike<number>): number[] {
  return Array.from(scores, (_, i) => i).toSorted((a, b) => scores[b]! - scores[a]! || a - b);
}

export const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
