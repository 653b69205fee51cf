import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { WinnowError } from '../../errors.ts';
import { leftOutOf } from '../../onnx/architectures/architectures.ts';
import { MASK_INPUT, TYPES_INPUT } from '../../onnx/architectures/pooling.ts';
import { readWholeModel } from '../../onnx/architectures/whole-model.ts';
import { allNames, holdWeights, type Model } from '../../onnx/graph.ts';
import { prepare } from '../../onnx/prepare.ts';
import { readApart } from '../../onnx/rewrites/apart.ts';
import { attachHead, freshHead } from '../../onnx/rewrites/head.ts';
import { narrowModel } from '../../onnx/rewrites/narrow.ts';
import { matches, type Weight } from '../../onnx/weights.ts';
import { answerIds } from '../../tokenization/answer-tokens.ts';
import { openTokenizer } from '../../tokenization/load.ts';
import { readJsonFile } from '../../util/json-files.ts';
import { isDecoder } from '../../util/known-templates.ts';
import type { InteractionEncoder } from '../interaction/encoder.ts';
import type { Recipe } from '../recipe/recipe.ts';
import { checkPositions } from './feeds.ts';
import { LOGITS, loadInteraction } from './interaction-backbone.ts';
import { type Adapter, createAdapters } from './lora.ts';
import type { TrainableWeight } from './trainable.ts';

/** A model ready to be trained: its graph in canonical form, its weights and its config.json. */
export interface Backbone {
  readonly folder: string;
  readonly model: Model;
  /** Name of the value that holds the scores, [rows, 1]. */
  readonly logits: string;
  /** Name of the value that tells tokens (1) from padding (0), [rows, tokens]; absent where rows have none. */
  readonly mask?: string;
  /** All weights, trainable or frozen, in the graph's order. */
  readonly weights: readonly (TrainableWeight & { readonly parameter: string; readonly frozen: boolean })[];
  readonly config: Readonly<Record<string, unknown>>;
  /** Low-rank matrices that are trained beside the weights, which are then frozen; none without `lora`. */
  readonly adapters: readonly Adapter[];
  /** Of an interaction model: its encoder, whose passages are read apart. */
  readonly interaction?: InteractionEncoder;
  /** Whether the head was added with random weights. */
  readonly freshHead: boolean;
  /** How many tensors of the folder are not read, such as those of a language model's head, and the first names. */
  readonly leftOut?: string;
}

/** Prefix of the initializers of an attached head. */
const HEAD = 'head.';
/** Parts of names that exporters give to weights outside the encoder. */
const HEAD_PARTS = ['classifier', 'pooler', 'score.', HEAD];

/** Returns the output that holds one score per pair; undefined where the model has none. */
function scoreOutput(model: Model): string | undefined {
  const { outputs } = model.graph;
  return (
    outputs.find((o) => o.name === 'logits') ??
    (outputs.length === 1 && outputs[0]!.dims?.length === 2 ? outputs[0] : undefined)
  )?.name;
}

/**
 * Returns the settings of a new head. `auto` is what classifiers of the family have: BERT's pooler; of decoders, whose first token sees no
 * other, the last one's state.
 */
export function headOf(head: Recipe['head'], config: Readonly<Record<string, unknown>>) {
  if (head !== 'auto') return head;
  return isDecoder(config) ? { pooling: 'last' as const, hidden: false } : { pooling: 'cls' as const, hidden: true };
}

/** Refuses a `pair` head where the tokenizer gives query and passage the same type, so that the head would see one text. */
async function checkSides(folder: string): Promise<void> {
  const { template } = await openTokenizer(folder);
  if (template.secondType === 1) return;
  throw new WinnowError('invalid_input', {
    where: 'recipe',
    expected: 'head.pooling cls, mean or last, because the tokenizer gives query and passage the same token type',
    got: 'head.pooling pair',
  });
}

async function withHead(
  folder: string,
  model: Model,
  head: Recipe['head'],
  config: Readonly<Record<string, unknown>>,
  seed: number,
): Promise<{ model: Model; fresh: boolean; mask?: string }> {
  if (head === 'auto' && scoreOutput(model) !== undefined) return { model, fresh: false };
  const { pooling, hidden } = headOf(head, config);
  const apart = head !== 'auto' && head.apart === true;
  // DistilBERT calls it `dim`.
  const width = config.hidden_size ?? config.dim;
  if (typeof width !== 'number')
    throw new WinnowError('invalid_input', {
      where: 'config.json',
      expected: 'hidden_size, a number',
      got: typeof width,
    });
  const hasTypes = model.graph.inputs.some(({ name }) => name === TYPES_INPUT);
  if (pooling === 'pair' && !hasTypes) await checkSides(folder);
  const fresh = freshHead({
    pooling,
    hidden: width,
    seed,
    silent: apart,
    ...(head !== 'auto' && { scale: head.scale, nearest: head.nearest }),
    ...(hidden ? { dense: 'tanh' as const } : {}),
  });
  if (!apart) return { model: attachHead(model, fresh), fresh: true };
  const { model: towers, mask, sides } = await readApart(model);
  return { model: attachHead(towers, fresh, { mask, sides }), fresh: true, mask };
}

type Settings = Pick<Recipe, 'head' | 'seed' | 'freeze'> & Partial<Pick<Recipe, 'lora' | 'optimizer' | 'interaction'>>;

function weightsOf(model: Model, found: readonly Weight[], settings: Settings): Backbone['weights'] {
  const { freeze, optimizer } = settings;
  const rates = optimizer?.rates ?? [];
  const weights = found.map(({ tensor, name, decay }): Backbone['weights'][number] => ({
    name: tensor,
    parameter: name,
    value: model.graph.initializers.get(tensor)!,
    decays: decay,
    group: HEAD_PARTS.some((part) => name.startsWith(part) || name.includes(`.${part}`)) ? 'head' : 'backbone',
    rate: rates.find(({ match }) => matches([match], tensor, name))?.factor,
    frozen: matches(freeze, tensor, name),
  }));
  return checkRates({ weights }, settings).weights;
}

/** Refuses factors on learning rates that have no effect. */
function checkRates<T extends Pick<Backbone, 'weights'>>(backbone: T, { optimizer }: Pick<Settings, 'optimizer'>): T {
  const { weights } = backbone;
  const isUsed = (match: string) => weights.some((w) => !w.frozen && matches([match], w.name, w.parameter));
  const unmatched = (optimizer?.rates ?? []).find(({ match }) => !isUsed(match));
  if (unmatched)
    throw new WinnowError('invalid_input', {
      where: 'recipe optimizer.rates',
      expected: 'parts of names of trained weights',
      got: `"${unmatched.match}", which matches none of ${weights.filter((w) => !w.frozen).length}`,
    });
  return backbone;
}

/**
 * Reads a model folder in Hugging Face layout, adds a head where it has none or the recipe asks for another, and prepares it for training.
 * @throws WinnowError `invalid_input` for folders without a model and patterns that match no weight; `invalid_graph` for models the engine
 * cannot run.
 */
export async function loadBackbone(folder: string, recipe: Settings): Promise<Backbone> {
  if (recipe.interaction) {
    const loaded = await loadInteraction(folder, recipe.interaction, recipe);
    const { config } = loaded.interaction;
    return checkRates({ ...loaded, folder, config, logits: LOGITS, freshHead: true, adapters: [] }, recipe);
  }
  const config = (
    existsSync(join(folder, 'config.json')) ? await readJsonFile(join(folder, 'config.json')) : {}
  ) as Record<string, unknown>;
  const encoder = holdWeights(
    await readWholeModel(folder, async () => (recipe.head === 'auto' ? answerIds(folder) : undefined)),
  );
  checkPositions(encoder, config, folder);
  const leftOut = leftOutOf(encoder);
  const { model: scored, fresh, mask = MASK_INPUT } = await withHead(folder, encoder, recipe.head, config, recipe.seed);
  const output = scoreOutput(scored)!;
  const { model: canonical, weights: found } = await prepare(scored, { output });
  const model = await narrowModel(canonical);
  const weights = weightsOf(model, found, recipe);
  const { lora } = recipe;
  return {
    folder,
    model,
    logits: output,
    ...(allNames(model.graph).has(mask) && { mask }),
    config,
    freshHead: fresh,
    ...(leftOut !== undefined && { leftOut }),
    adapters: lora ? createAdapters(model.graph, weights, lora, recipe.seed) : [],
    // With adapters, the encoder itself is frozen.
    weights: lora ? weights.map((w) => (w.group === 'head' ? w : { ...w, frozen: true })) : weights,
  };
}

/** Returns the weights that are not frozen, and the adapters. */
export const trainable = ({ weights, adapters }: Backbone): readonly TrainableWeight[] => [
  ...adapters.flatMap(({ down, up }) => [down, up]),
  ...weights.filter((w) => !w.frozen),
];

/** Replaces the weights of a model by those of a state. */
export function withWeights(model: Model, state: ReadonlyMap<string, Float32Array>): Model {
  const initializers = new Map(
    [...model.graph.initializers].map(([name, value]) => {
      const data = state.get(name);
      return [
        name,
        data
          ? { ...value, bytes: new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength) }
          : value,
      ] as const;
    }),
  );
  return { ...model, graph: { ...model.graph, initializers } };
}
