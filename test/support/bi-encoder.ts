import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A small BERT in the layout of Hugging Face. */
export const BACKBONE = join(import.meta.dirname, '../../../shared/hub/bert-backbone');

/** Writes a bi-encoder of `BACKBONE` in the layout of sentence-transformers: mean of the states, length 1, a prompt a side. */
export function writeBiEncoder(folder: string): string {
  cpSync(BACKBONE, folder, { recursive: true });
  const { hidden_size: width } = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as {
    hidden_size: number;
  };
  const module = (path: string, type: string) => ({ path, type: `sentence_transformers.models.${type}` });
  const modules = [module('', 'Transformer'), module('1_Pooling', 'Pooling'), module('2_Normalize', 'Normalize')];
  writeFileSync(join(folder, 'modules.json'), JSON.stringify(modules));
  writeFileSync(
    join(folder, 'config_sentence_transformers.json'),
    JSON.stringify({ prompts: { query: 'search: ', document: 'text: ' } }),
  );
  mkdirSync(join(folder, '1_Pooling'));
  writeFileSync(
    join(folder, '1_Pooling/config.json'),
    JSON.stringify({ word_embedding_dimension: width, pooling_mode_mean_tokens: true }),
  );
  return folder;
}
