import { cpSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { referenceRegistry, SHIPPED } from '../support/shipped.ts';

export const ROOT = join(import.meta.dirname, '../..');
const SHARED = process.env.WINNOW_SHARED ?? join(ROOT, '../shared');

export const TREC_DL = join(SHARED, 'data/trec-dl/BM25.dl19.top100.json');
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
    for (const version of versions) cpSync(SHIPPED, join(folder, 'm', version), { recursive: true });
    writeFileSync(join(folder, 'm', 'labels.json'), JSON.stringify({ stable: versions[0] }));
    return folder;
  }

  /** A registry with the model whose scores are known from another binding of the engine. */
  referenceRegistry(): string {
    const folder = referenceRegistry();
    this.#folders.push(folder);
    return folder;
  }

  clear(): void {
    for (const folder of this.#folders) rmSync(folder, { recursive: true, force: true });
  }
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
