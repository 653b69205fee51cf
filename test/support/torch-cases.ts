import { existsSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { publishRun } from '../../src/training/publish/publish.ts';
import { changed } from '../../src/training/publish/torch-folder.ts';
import { parseRecipe, type Recipe } from '../../src/training/recipe/recipe.ts';
import { train } from '../../src/training/run/trainer.ts';
import { parseExact, stringifyExact } from '../../src/util/exact-json.ts';
import { type Config, randomWeights, writeCheckpoint } from './tiny-checkpoint.ts';
import { tinyData, writeTinyModel } from './tiny-model.ts';

type Shapes = Readonly<Record<string, readonly number[]>>;

/** A small model of a family: its config.json and the shapes of its weights. */
export interface SmallModel {
  readonly name: string;
  readonly config: Config;
  readonly tensors: Shapes;
}

/** Small models of every family. */
export const SMALL_MODELS: readonly SmallModel[] = readFileSync(
  join(import.meta.dirname, '..', 'onnx', 'encoder-goldens.jsonl'),
  'utf8',
)
  .trimEnd()
  .split('\n')
  .map((line) => parseExact(line) as SmallModel);

const HEAD = /^(classifier|head|pooler|pre_classifier|(bert|albert)\.pooler)\./;

/** The model without its classification head. */
export const bare = ({ name, config, tensors }: SmallModel): SmallModel => ({
  name,
  config: changed(config, { architectures: ['Model'] }),
  tensors: Object.fromEntries(Object.entries(tensors).filter(([tensor]) => !HEAD.test(tensor))),
});

/** A model, the head of the recipe, and whether the result is a classifier of transformers. */
export interface TorchCase extends SmallModel {
  readonly head: Recipe['head'];
}

const named = (name: string): SmallModel => SMALL_MODELS.find((model) => model.name === name)!;
const OWN = [
  'deberta-v2: a convolution over five',
  'bert with three types and silu',
  'roberta whose padding is 0',
  'electra, narrow',
  'albert in groups',
  'mpnet',
  'modernbert with every bias, mean',
];

/** What Python opens: classifiers of each family, new ones, and heads that need modules. */
export const TORCH_CASES: readonly TorchCase[] = [
  ...OWN.map((name) => ({ ...named(name), head: 'auto' as const })),
  ...[...OWN, 'deberta-v2 bare', 'camembert bare'].map((name) => ({ ...bare(named(name)), head: 'auto' as const })),
  { ...bare(named('bert with one type')), head: { pooling: 'mean', hidden: true } },
  { ...bare(named('mpnet')), head: { pooling: 'cls', hidden: false } },
];

const LETTERS = Array.from({ length: 26 }, (_, i) => String.fromCharCode(97 + i));
/** Special tokens as the tiny models have them, and letters, so that all texts differ. */
const TOKENS = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', ...LETTERS, ...LETTERS.map((letter) => `##${letter}`)];
const VOCABULARY = TOKENS.length;

/** Writes a small model with a tokenizer of letters. */
export async function writeSmall(folder: string, { config, tensors }: SmallModel): Promise<string> {
  const tables = Object.fromEntries(
    Object.entries(tensors).map(([name, dims]) => [
      name,
      /(word_embeddings|tok_embeddings)\.weight$/.test(name) ? [VOCABULARY, ...dims.slice(1)] : dims,
    ]),
  );
  const ids = {
    vocab_size: VOCABULARY,
    pad_token_id: 0,
    bos_token_id: 2,
    eos_token_id: 3,
    cls_token_id: 2,
    sep_token_id: 3,
  };
  await writeCheckpoint(folder, config, randomWeights(tables));
  // transformers refuses 2 where its configuration has 2.0.
  await writeFile(join(folder, 'config.json'), stringifyExact(changed(config, ids)));
  const tiny = join(folder, '..', 'tiny');
  if (!existsSync(tiny)) await writeTinyModel(tiny);
  const tokenizer = JSON.parse(readFileSync(join(tiny, 'tokenizer.json'), 'utf8')) as { model: object };
  const vocab = Object.fromEntries(TOKENS.map((token, id) => [token, id]));
  const model = { ...tokenizer.model, vocab };
  await writeFile(join(folder, 'tokenizer.json'), JSON.stringify({ ...tokenizer, model }));
  const settings = JSON.parse(readFileSync(join(tiny, 'tokenizer_config.json'), 'utf8')) as object;
  const types = Number(config.type_vocab_size ?? 1) > 1 ? ['token_type_ids'] : [];
  const inputs = { pad_token: '[PAD]', model_input_names: ['input_ids', ...types, 'attention_mask'] };
  await writeFile(join(folder, 'tokenizer_config.json'), JSON.stringify({ ...settings, ...inputs }));
  return folder;
}

/** Trains a small model for a few steps and publishes it for PyTorch. */
export async function publishTiny(root: string, { head, ...model }: TorchCase) {
  const kind = typeof head === 'string' ? head : `${head.pooling}${head.hidden ? '-dense' : ''}`;
  const name = `${model.name.replace(/\W+/g, '-')}-${Object.keys(model.tensors).length}-${kind}`;
  await writeSmall(join(root, name), model);
  if (!existsSync(join(root, 'lists.jsonl'))) tinyData(join(root, 'lists.jsonl'), 50);
  const document = {
    name,
    backbone: name,
    objective: 'BCE',
    data: { train: [{ format: 'jsonl', path: 'lists.jsonl' }], sampler: { negatives: 3 } },
    head,
    steps: 3,
    maxLength: 16,
    threads: 1,
    publish: { registry: 'registry', formats: ['onnx', 'safetensors'] },
  };
  const loaded = { recipe: parseRecipe(document, 'test'), folder: root, source: JSON.stringify(document) };
  const published = await publishRun(loaded, await train(loaded, join(root, 'runs', name)));
  return { ...published, recipe: loaded.recipe };
}
