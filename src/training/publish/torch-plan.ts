import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { WinnowError } from '../../errors.ts';
import { readModules } from '../../onnx/architectures/modules.ts';
import { torchFamily } from '../../onnx/architectures/torch-names.ts';
import { MODULES } from '../../registry/sentence-transformers.ts';
import { readJsonFile } from '../../util/json-files.ts';
import { isDecoder } from '../../util/known-templates.ts';
import type { Recipe } from '../recipe/recipe.ts';
import { type Backbone, headOf } from '../step/backbone.ts';

/*
 * Which PyTorch modules compute what a graph computes: the classifier of the family, or an encoder with modules of sentence-transformers.
 */

/** A module after the encoder: its settings, and the prefix of its weights in the graph with their names in the module. */
export interface TorchModule {
  /** Class, as modules.json has it. */
  readonly type: string;
  readonly path: string;
  readonly config: object | undefined;
  /** Prefix in the graph → prefix in the module's file. */
  readonly weights: Readonly<Record<string, string>>;
}

interface TorchPlan {
  /** `architectures` of config.json. */
  readonly architecture: string;
  /** Fields of config.json that differ from the backbone's. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Name of an encoder's or head's weight in the graph → name in `model.safetensors`. */
  readonly rename: (name: string) => string;
  /** Empty where the family's classifier does it all. */
  readonly modules: readonly TorchModule[];
}

const WHERE = 'publish.formats';

const refuse = (expected: string, got: string): never => {
  throw new WinnowError('invalid_input', {
    where: WHERE,
    expected,
    got: `${got}; publish onnx alone, or change the backbone`,
  });
};

const ST = 'sentence_transformers';
const TYPES = {
  Pooling: `${ST}.sentence_transformer.modules.pooling.Pooling`,
  Dense: `${ST}.base.modules.dense.Dense`,
};

const denseModule = (
  index: number,
  from: string,
  to: string,
  sizes: readonly [number, number],
  activation: string,
) => ({
  type: TYPES.Dense,
  path: `${index}_Dense`,
  config: {
    in_features: sizes[0],
    out_features: sizes[1],
    bias: true,
    activation_function: `torch.nn.modules.${activation}`,
    module_input_name: 'sentence_embedding',
    module_output_name: to,
  },
  weights: { [from]: 'linear.' },
});

const MODES = { cls: 'cls', mean: 'mean', last: 'lasttoken' } as const;

/** The modules that compute a new head. */
function modulesOf(
  { pooling, hidden }: { pooling: keyof typeof MODES; hidden: boolean },
  width: number,
): TorchModule[] {
  const config = { embedding_dimension: width, pooling_mode: MODES[pooling], include_prompt: true };
  const first = { type: TYPES.Pooling, path: '1_Pooling', config, weights: {} };
  const dense = hidden ? [denseModule(2, 'head.dense.', 'sentence_embedding', [width, width], 'activation.Tanh')] : [];
  return [first, ...dense, denseModule(2 + dense.length, 'head.out.', 'scores', [width, 1], 'linear.Identity')];
}

/** The modules of a modular backbone, as they are. */
async function ownModules(folder: string): Promise<TorchModule[]> {
  const listed = (await readJsonFile(join(folder, MODULES))) as { type: string; path: string }[];
  return Promise.all(
    listed.slice(1).map(async ({ type, path }) => {
      const file = join(folder, path, 'config.json');
      const config = path !== '' && existsSync(file) ? ((await readJsonFile(file)) as object) : undefined;
      return { type, path, config, weights: { [`${path}.`]: '' } };
    }),
  );
}

const without =
  (prefix: string) =>
  (name: string): string =>
    name.startsWith(prefix) ? name.slice(prefix.length) : name;

/**
 * Returns how a backbone with its head is laid out in PyTorch.
 * @throws WinnowError `invalid_input` for a backbone or a head that no class of transformers or module of sentence-transformers computes.
 */
export async function planTorch(backbone: Backbone, recipe: Pick<Recipe, 'head'>): Promise<TorchPlan> {
  const { config, folder, freshHead } = backbone;
  if (isDecoder(config))
    return refuse('an encoder', `a decoder (model_type ${String(config.model_type)}), whose pairs stand in a template`);
  const { stem, prefix, head } = torchFamily(config.model_type, WHERE);
  const encoder = { architecture: `${stem}Model`, config: {}, rename: without(prefix) };
  if (!freshHead) {
    if (await readModules(folder)) return { ...encoder, modules: await ownModules(folder) };
    return { architecture: `${stem}ForSequenceClassification`, config: {}, rename: (name) => name, modules: [] };
  }
  const { pooling, hidden } = headOf(recipe.head, config);
  if (pooling === 'pair')
    return refuse('a head that PyTorch has modules for (head.pooling cls or mean)', 'head.pooling pair');
  if (pooling !== 'cls' || !hidden || !head) {
    const width = Number(config.hidden_size ?? config.dim);
    return { ...encoder, modules: modulesOf({ pooling, hidden }, width) };
  }
  const isHead = (name: string): boolean => name.startsWith('head.');
  return {
    architecture: `${stem}ForSequenceClassification`,
    // DeBERTa reads the activation of its pooler here; the others have tanh.
    config: stem === 'DebertaV2' ? { pooler_hidden_act: 'tanh' } : {},
    rename: (name) =>
      isHead(name)
        ? name.replace(/^head\.dense/, head.dense).replace(/^head\.out/, head.out)
        : `${prefix}${without(prefix)(name)}`,
    modules: [],
  };
}
