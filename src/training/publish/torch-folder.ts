import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { WinnowError } from '../../errors.ts';
import { fromSafetensors } from '../../onnx/architectures/architectures.ts';
import { torchWeights } from '../../onnx/architectures/torch-names.ts';
import type { Model } from '../../onnx/graph.ts';
import { type Feeds, runOnce } from '../../onnx/runner.ts';
import { writeSafetensors } from '../../onnx/safetensors.ts';
import { numbers, type Tensor, tensor } from '../../onnx/tensor.ts';
import { readJsonObject } from '../../registry/folder-files.ts';
import { MODEL_SETTINGS, MODULE_SETTINGS, MODULES } from '../../registry/sentence-transformers.ts';
import { moveSources, setSource, stringifyExact } from '../../util/exact-json.ts';
import { temporaryFolder } from '../../util/files.ts';
import type { Recipe } from '../recipe/recipe.ts';
import type { Backbone } from '../step/backbone.ts';
import { planTorch, type TorchModule } from './torch-plan.ts';

/** File of weights in a folder of transformers and of a module. */
const WEIGHTS = 'model.safetensors';
/** transformers writes it, and refuses files without. */
const METADATA = { format: 'pt' };

const SIGMOID = 'torch.nn.modules.activation.Sigmoid';

/** What sentence-transformers reads of a cross-encoder. */
const CROSS_ENCODER = {
  model_type: 'CrossEncoder',
  activation_fn: SIGMOID,
  default_prompt_name: null,
  prompts: {},
  __version__: { sentence_transformers: '5.0.0' },
};

/** What it reads of an encoder whose states go to modules. */
const ENCODER = {
  transformer_task: 'feature-extraction',
  modality_config: { text: { method: 'forward', method_output_name: 'last_hidden_state' } },
  module_output_name: 'token_embeddings',
};

/** Returns the settings in a file; none where there is none. */
async function readOptional(path: string): Promise<object> {
  return existsSync(path) ? await readJsonObject(path, basename(path)) : {};
}

/** Writes JSON. A whole number that was read as 2.0 stays one: transformers refuses 2 where a field is a float. */
export const writeJson = (path: string, value: unknown): Promise<void> => writeFile(path, `${stringifyExact(value)}\n`);

/** Returns a copy of a parsed object with other fields, whose numbers are written as they were read. */
export function changed(original: object, fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const copy = { ...original, ...fields };
  moveSources(original, copy);
  for (const key of Object.keys(fields)) setSource(copy, key, undefined);
  return copy;
}

/** Returns the weights of a module under the names of its own file, and takes them out of `weights`. */
function takeWeights(weights: Map<string, Tensor>, module: TorchModule): Map<string, Tensor> {
  const taken = new Map<string, Tensor>();
  for (const [prefix, own] of Object.entries(module.weights))
    for (const [name, value] of [...weights])
      if (name.startsWith(prefix)) {
        taken.set(`${own}${name.slice(prefix.length)}`, value);
        weights.delete(name);
      }
  return taken;
}

async function writeModule(folder: string, module: TorchModule, weights: Map<string, Tensor>): Promise<void> {
  const at = join(folder, module.path);
  await mkdir(at, { recursive: true });
  if (module.config) await writeJson(join(at, 'config.json'), module.config);
  if (weights.size > 0) await writeSafetensors(join(at, WEIGHTS), weights, METADATA);
}

async function writeModules(
  folder: string,
  modules: readonly TorchModule[],
  weights: Map<string, Tensor>,
): Promise<void> {
  for (const module of modules) await writeModule(folder, module, takeWeights(weights, module));
  const first = { type: 'sentence_transformers.base.modules.transformer.Transformer', path: '' };
  const list = [first, ...modules].map(({ type, path }, idx) => ({ idx, name: String(idx), path, type }));
  await writeJson(join(folder, MODULES), list);
  await writeJson(join(folder, MODULE_SETTINGS), {
    ...ENCODER,
    ...(await readOptional(join(folder, MODULE_SETTINGS))),
  });
}

/**
 * Writes a model for PyTorch into a folder that has its tokenizer: config.json, `model.safetensors`, the modules after the encoder, if there
 * are any, and what sentence-transformers reads of a cross-encoder.
 * @returns the paths of weights.
 * @throws WinnowError `invalid_input` for a backbone or a head that PyTorch has no modules for.
 */
export async function writeTorchFiles(
  folder: string,
  recipe: Pick<Recipe, 'head'>,
  backbone: Backbone,
  model: Model,
): Promise<readonly string[]> {
  const { architecture, config: own, rename, modules } = await planTorch(backbone, recipe);
  const float32 = { dtype: 'float32', torch_dtype: undefined, quantization_config: undefined };
  const fields = { ...own, ...float32, architectures: [architecture] };
  await writeJson(join(folder, 'config.json'), changed(servedConfig(backbone.config), fields));
  await writeJson(join(folder, MODEL_SETTINGS), CROSS_ENCODER);
  const named = backbone.weights.map(({ name, parameter }) => ({ tensor: name, name: parameter }));
  const weights = torchWeights(model.graph, named);
  if (modules.length > 0) await writeModules(folder, modules, weights);
  const renamed = new Map([...weights].map(([name, value]) => [rename(name), value] as const));
  await writeSafetensors(join(folder, WEIGHTS), renamed, METADATA);
  return [WEIGHTS, ...modules.map(({ path }) => join(path, WEIGHTS))];
}

/** Returns a backbone's config.json as that of a cross-encoder with one label. */
export const servedConfig = (config: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  changed(config, {
    num_labels: 1,
    id2label: { 0: 'LABEL_0' },
    label2id: { LABEL_0: 0 },
    sentence_transformers: { activation_fn: SIGMOID },
  });

const BATCH = 3;
const LENGTH = 12;

/** Makes rows of different tokens and lengths, with two texts where the model tells them apart. */
function rowsFor(model: Model, config: Readonly<Record<string, unknown>>): Feeds {
  const words = Number(config.vocab_size ?? 100);
  const padding = Number(config.pad_token_id ?? 0);
  const types = Number(config.type_vocab_size ?? 1);
  const isText = (row: number, column: number): boolean => column < LENGTH - 3 * row;
  const values: Readonly<Record<string, (row: number, column: number) => number>> = {
    input_ids: (row, column) =>
      isText(row, column) ? 3 + ((row * 17 + column * 5) % Math.max(1, words - 3)) : padding,
    attention_mask: (row, column) => +isText(row, column),
    token_type_ids: (row, column) => +(types > 1 && isText(row, column) && column >= 4),
    position_ids: (_row, column) => column,
  };
  const places = Array.from({ length: BATCH * LENGTH }, (_, i) => [Math.trunc(i / LENGTH), i % LENGTH] as const);
  return Object.fromEntries(
    model.graph.inputs.map(({ name }) => [
      name,
      tensor(
        'int64',
        [BATCH, LENGTH],
        places.map(([row, column]) => values[name]?.(row, column) ?? 0),
      ),
    ]),
  );
}

const scoresOf = async (model: Model, output: string, config: Readonly<Record<string, unknown>>): Promise<number[]> => [
  ...numbers((await runOnce(model, rowsFor(model, config)))[output]!),
];

/** Largest difference of a score, relative to the largest score and 1. */
const TOLERANCE = 1e-4;

/**
 * Checks that the weights in a folder compute what a model computes, by reading them as any folder of PyTorch's is read.
 * @throws WinnowError `invalid_input` where they do not: the names in PyTorch of a weight are not known.
 */
export async function checkTorchFiles(folder: string, backbone: Backbone, model: Model): Promise<void> {
  const refuse = (got: string): never => {
    const expected = `weights of ${backbone.folder} that PyTorch's classes read`;
    throw new WinnowError('invalid_input', { where: 'publish.formats', expected, got: `${got}; publish onnx alone` });
  };
  const read = await fromSafetensors(folder).catch((error) => {
    if (error instanceof WinnowError) return refuse(error.message);
    throw error;
  });
  const output = read.graph.outputs[0]!.name;
  const wanted = await scoresOf(model, backbone.logits, backbone.config);
  const found = await scoresOf(read, output, backbone.config);
  const largest = Math.max(1, ...wanted.map(Math.abs));
  const off = wanted.map((score, i) => Math.abs(score - (found[i] ?? Number.NaN)));
  if (found.length !== wanted.length || !off.every((x) => x <= TOLERANCE * largest))
    refuse(`scores ${found.slice(0, 3).join(', ')} where the graph has ${wanted.slice(0, 3).join(', ')}`);
}

/** Checks before training that a backbone can be published for PyTorch, by writing the untrained one. @throws WinnowError `invalid_input`. */
export async function checkTorchExport(recipe: Pick<Recipe, 'head'>, backbone: Backbone): Promise<void> {
  await using temporary = await temporaryFolder('torch');
  const folder = temporary.path;
  await writeTorchFiles(folder, recipe, backbone, backbone.model);
  await checkTorchFiles(folder, backbone, backbone.model);
}
