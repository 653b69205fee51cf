import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { BpeModelEncoder } from '../../src/tokenization/bpe.ts';
import { normalizerFor } from '../../src/tokenization/normalizers.ts';
import { preTokenizerFor } from '../../src/tokenization/pre-tokenizers.ts';
import { SectionEncoder } from '../../src/tokenization/section-encoder.ts';
import type { Definition } from '../../src/tokenization/tokenizer-definition.ts';
import { readTokenizerFolder } from '../../src/tokenization/tokenizer-folder.ts';
import { UnigramModelEncoder } from '../../src/tokenization/unigram.ts';
import { WordPieceModelEncoder } from '../../src/tokenization/wordpiece-model.ts';
import { LibraryEncoder } from './library-encoder.ts';

/** Folder of real data, models and vocabularies beside the project. */
export const SHARED = join(import.meta.dirname, '..', '..', '..', 'shared');
export const hasShared = existsSync(join(SHARED, 'tokenizers'));
export const TOKENIZERS = join(SHARED, 'tokenizers');
export { SHIPPED } from '../support/shipped.ts';

const PLAIN_TEXT = /\.(toks|1400|qry|txt|readme)$/;

function stringsIn(value: unknown, found: string[]): void {
  if (typeof value === 'string') found.push(value);
  else if (typeof value === 'object' && value !== null) for (const part of Object.values(value)) stringsIn(part, found);
}

/** Every text of one file: strings of JSON and JSON lines wherever they stand, lines of plain text. */
function textsOf(path: string): string[] {
  const content = readFileSync(path, 'utf8');
  if (PLAIN_TEXT.test(path)) return content.split('\n');
  const found: string[] = [];
  if (path.endsWith('.jsonl')) for (const line of content.split('\n')) stringsIn(line && JSON.parse(line), found);
  if (path.endsWith('.json')) stringsIn(JSON.parse(content), found);
  return found;
}

/** The distinct texts of one data set of shared/data. */
export function corpusTexts(name: string): string[] {
  const folder = join(SHARED, 'data', name);
  return [...new Set(readdirSync(folder).flatMap((file) => textsOf(join(folder, file))))].filter((t) => t !== '');
}

export function corpusNames(): string[] {
  return readdirSync(join(SHARED, 'data'));
}

/** Every n-th text, so that all parts of a corpus are seen. */
export function sampled<T>(items: readonly T[], most: number): T[] {
  const step = Math.max(1, Math.floor(items.length / most));
  return items.filter((_, i) => i % step === 0);
}

export interface GoldText {
  readonly input: string;
  readonly ids: readonly number[];
}

/** Texts with the ids that Hugging Face's original tokenizers give, special tokens included. */
export function goldTexts(model: string): GoldText[] {
  const file = join(TOKENIZERS, 'gold-ids', `${model}.json`);
  return (JSON.parse(readFileSync(file, 'utf8')) as { datasets: GoldText[] }).datasets;
}

/** Encodes by the steps of normalizer, pre-tokenizer and model, which quicker paths are held to. */
export function stepEncoder(definition: Definition): SectionEncoder {
  const { model, normalizer, preTokenizer, file } = definition;
  const normalize = normalizer === null ? null : normalizerFor(normalizer, file);
  const encoder =
    model.type === 'WordPiece'
      ? new WordPieceModelEncoder(model)
      : model.type === 'BPE'
        ? new BpeModelEncoder(model, file)
        : new UnigramModelEncoder(model);
  return new SectionEncoder(definition, normalize, preTokenizerFor(preTokenizer, file), encoder);
}

/** The JavaScript library on the same folder, another implementation of the same tokenizers. */
export async function libraryEncoder(folder: string): Promise<LibraryEncoder> {
  const { definition, settings } = await readTokenizerFolder(folder);
  return new LibraryEncoder(definition, settings.config);
}
