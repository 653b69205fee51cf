import { modelOf } from '../builder.ts';
import { isFloat } from '../dtypes.ts';
import type { Model } from '../graph.ts';
import type { Tensor } from '../tensor.ts';
import { albert } from './albert.ts';
import { bert } from './bert.ts';
import { type Answers, Checkpoint, readSettings, readWeights } from './checkpoint.ts';
import { debertaV2 } from './deberta-v2.ts';
import { distilbert } from './distilbert.ts';
import { electra } from './electra.ts';
import { modernbert } from './modernbert.ts';
import { appendModules } from './modular.ts';
import { readModules } from './modules.ts';
import { mpnet } from './mpnet.ts';
import type { Parts } from './parts.ts';
import { qwen2 } from './qwen2.ts';
import { qwen3 } from './qwen3.ts';
import { roberta } from './roberta.ts';
import type { Settings } from './settings.ts';
import { lacksTokenTypes } from './token-types.ts';

/*
 * Graphs from the weights and the config.json of a folder in Hugging Face layout, for models published without an ONNX file. A further
 * family is a file and a line of the table.
 */

/** `model_type` of config.json → what writes the graph. */
const BUILDERS: ReadonlyMap<string, (checkpoint: Checkpoint) => Parts> = new Map([
  ['albert', albert],
  ['bert', bert],
  ['camembert', roberta],
  ['deberta-v2', debertaV2],
  ['distilbert', distilbert],
  ['electra', electra],
  ['modernbert', modernbert],
  ['mpnet', mpnet],
  ['qwen2', qwen2],
  ['qwen3', qwen3],
  ['roberta', roberta],
  ['xlm-roberta', roberta],
]);

/** The `model_type`s whose graph can be built. */
export const FAMILIES: readonly string[] = [...BUILDERS.keys()];

/** Whether the graph of a folder's weights can be built, by its config.json. @throws WinnowError `invalid_input`. */
export const isKnownFamily = async (folder: string): Promise<boolean> =>
  BUILDERS.has(String((await readSettings(folder)).get('model_type')));

const LEFT_OUT = 'winnow.left_out';

const leftOutMetadata = (names: readonly string[]): Model['metadata'] =>
  names.length === 0
    ? {}
    : { [LEFT_OUT]: `${names.length} (${names.slice(0, 3).join(', ')}${names.length > 3 ? ', …' : ''})` };

const HALF = 'winnow.half';

/** Says that a folder's matrices are in half precision, if all of them are. */
function precisionOf(weights: Iterable<Tensor>): Model['metadata'] {
  const dtypes = new Set(
    [...weights].filter(({ dtype, dims }) => isFloat(dtype) && dims.length >= 2).map((t) => t.dtype),
  );
  const isHalved = dtypes.size > 0 && !dtypes.has('float32') && !dtypes.has('float64');
  return isHalved ? { [HALF]: [...dtypes].join(', ') } : {};
}

/** Whether the weights of a model's folder are in half precision. */
export const isHalf = ({ metadata }: Model): boolean => metadata[HALF] !== undefined;

/** Returns how many tensors of its folder a model does not read, and the first names; undefined where it reads all. */
export const leftOutOf = ({ metadata }: Model): string | undefined => metadata[LEFT_OUT];

function builderOf(settings: Settings): (checkpoint: Checkpoint) => Parts {
  const type = settings.get('model_type');
  const build = BUILDERS.get(String(type));
  if (build) return build;
  throw settings.fault('model_type', `one of ${FAMILIES.join(', ')}`, `model_type ${String(type).slice(0, 80)}`);
}

/**
 * Checks, by the small files of a folder, that a graph can be made of its weights, before these are loaded.
 * @param sides Whether the modules of a bi-encoder are part of it.
 * @throws WinnowError `invalid_input` for a family or a module that is not known.
 */
export async function checkFamily(folder: string, sides = false): Promise<void> {
  builderOf(await readSettings(folder));
  await readModules(folder, sides);
}

/**
 * Builds the model of a folder with config.json and `model.safetensors` or `pytorch_model.bin`, whole or in shards, in float32, float16
 * or bfloat16. Its output is `logits` [batch, labels] if the folder has the classification head's weights, else `last_hidden_state`
 * [batch, sequence, hidden]. The modules of a modular cross-encoder of sentence-transformers are part of it. Linear weights are transposed
 * to [in, out] and keep their names; all are float32.
 * @param answers Of a language model: the tokens whose logits' difference is the score, `logits` [batch, 1].
 * @param sides Whether the modules of a bi-encoder are part of it too; its output is then `sentence_embedding` [batch, width].
 * @throws WinnowError `invalid_input` with file and field or tensor: another family, a setting that is not supported, weights that are
 * missing or do not fit config.json; `invalid_graph` for files of other formats and those that hold more than tensors.
 */
export async function fromSafetensors(folder: string, answers?: Answers, sides = false): Promise<Model> {
  builderOf(await readSettings(folder));
  const modules = await readModules(folder, sides);
  const model = await buildFrom(folder, {
    isHeadless: modules?.encoder.output === 'last_hidden_state',
    answers: modules?.answers ?? answers,
  });
  return modules ? appendModules(model, modules) : model;
}

/**
 * Builds the encoder of a folder with weights, without a head; its output is `last_hidden_state` [batch, sequence, hidden].
 * @throws WinnowError as `fromSafetensors`.
 */
export const encoderFromWeights = (folder: string): Promise<Model> =>
  buildFrom(folder, { isHeadless: true, answers: undefined });

async function buildFrom(
  folder: string,
  use: { readonly isHeadless: boolean; readonly answers: Answers | undefined },
): Promise<Model> {
  const settings = await readSettings(folder);
  const build = builderOf(settings);
  const isUntyped = await lacksTokenTypes(folder);
  const weights = await readWeights(folder);
  const precision = precisionOf(weights.values());
  const checkpoint = new Checkpoint(folder, settings, weights, { ...use, isUntyped });
  const { g } = build(checkpoint);
  return { ...modelOf(g.build()), metadata: { ...precision, ...leftOutMetadata(checkpoint.leftOver()) } };
}
