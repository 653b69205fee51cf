import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readWholeModel } from '../../src/onnx/architectures/whole-model.ts';
import { writeModel } from '../../src/onnx/model-file.ts';
import { createLocalTokenizer } from '../../src/tokenization/local.ts';
import type { BackboneShape } from './backbones.ts';
import { encodeRows } from './engine.ts';
import type { Topic } from './requests.ts';
import { roughInt8 } from './rough-int8.ts';
import { saveRandom } from './torch-sides.ts';

const TOKENIZER_FILES = ['tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json', 'vocab.txt'];

/** Where the int8 file of a folder is. */
const smallOf = (folder: string): string => `${folder}-int8`;

/** Writes the int8 file of a folder into a folder of its own. @param work pairs that show the ranges of states. */
export async function writeInt8(folder: string, work: readonly Topic[]): Promise<void> {
  const tokenizer = await createLocalTokenizer(folder);
  const rows = await encodeRows(tokenizer, work, 512);
  const model = await roughInt8(await readWholeModel(folder), rows, tokenizer.padId);
  await tokenizer.close();
  await writeModel(join(smallOf(folder), 'onnx', 'model_int8.onnx'), model);
}

/** Makes BERT's tokenizer give no token types, for families whose table of them has one row. */
function withoutTokenTypes(folder: string): void {
  const path = join(folder, 'tokenizer_config.json');
  const settings = JSON.parse(readFileSync(path, 'utf8'));
  writeFileSync(path, JSON.stringify({ ...settings, model_input_names: ['input_ids', 'attention_mask'] }));
}

/** A model of random weights: its weights in one folder, its int8 file in another. */
export interface RandomFolders {
  readonly folder: string;
  readonly small: string;
  readonly parameters: number;
}

interface Tools {
  readonly python: string;
  /** Folder of the tokenizer that every model gets. */
  readonly tokenizer: string;
  /** Arguments of Node before the folder, for a process that calls `writeInt8`: its memory is free afterwards. */
  readonly quantize: readonly string[];
}

/** Writes a model with random weights and its int8 file. @throws Error with what ended Python or the quantizing process. */
export function makeFolders(
  { name, config }: BackboneShape,
  at: string,
  { python, tokenizer, quantize }: Tools,
): RandomFolders {
  const folder = join(at, name);
  const small = smallOf(folder);
  const parameters = saveRandom(python, config, folder);
  mkdirSync(join(small, 'onnx'), { recursive: true });
  for (const file of TOKENIZER_FILES.filter((one) => existsSync(join(tokenizer, one))))
    for (const to of [folder, small]) copyFileSync(join(tokenizer, file), join(to, file));
  if (config.type_vocab_size === 1) for (const to of [folder, small]) withoutTokenTypes(to);
  copyFileSync(join(folder, 'config.json'), join(small, 'config.json'));
  const made = spawnSync(process.execPath, [...quantize, folder], { encoding: 'utf8' });
  if (made.status !== 0)
    throw new Error(`no int8 file of ${name}: ${made.stderr.trim().split('\n').slice(-6).join(' ')}`);
  return { folder, small, parameters };
}
