import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Provider } from '../../src/inference/inference-types.ts';

/** What the checks of one run share; the process of a check gets it as JSON. */
export interface Context {
  /** Where models are measured: `cpu` stands in for the card in a dry run. */
  readonly provider: Provider;
  /** Whether sizes are small: a dry run shows that every part works, not how fast it is. */
  readonly small: boolean;
  /** Folder of this run, removed at its end: models made on the spot, links to libraries. */
  readonly at: string;
  /** Folder of PyTorch's logits; '' for none. */
  readonly fixtures: string;
  /** Folder of a MiniLM-L6 with real weights; '' for random ones. */
  readonly realModel: string;
  /** Folder with the tokenizer of every model. */
  readonly tokenizer: string;
  /** Python with torch and sentence-transformers; '' for none. */
  readonly python: string;
  /** Seconds of one measurement. */
  readonly seconds: number;
  /** Hardware threads. */
  readonly threads: number;
}

/** Tokens of the batches that are measured, the most useful first. */
export const BATCH_TOKENS = [16_384, 65_536, 4096, 32_768, 8192] as const;
/** Tokens of a pair. */
export const PAIR_TOKENS = 128;

export const batchTokens = ({ small }: Context): readonly number[] => (small ? [512, 1024] : BATCH_TOKENS);

/** Returns the first of the folders that exists; '' for none. */
export const firstFolder = (...folders: readonly string[]): string =>
  folders.find((folder) => folder !== '' && existsSync(folder)) ?? '';

/** Folder of a checkout or an unpacked bundle. */
export const ROOT = join(import.meta.dirname, '../..');
