import type { Checkpoint } from './checkpoint.ts';
import {
  type Activation,
  activate,
  activationIn,
  attend,
  biasOf,
  classify,
  type Heads,
  isText,
  linear,
  lookUp,
  MOST_LAYERS,
  norm,
  outputStates,
  type Parts,
  readHeads,
  rowPositions,
  splitHeads,
  start,
} from './parts.ts';
import type { Settings } from './settings.ts';
import { checkSwitches } from './switches.ts';

/*
 * Encoders laid out as BERT's: learned positions, attention over the whole row, a layer normalization after each half of a layer. Families
 * differ in names and a few choices, which are data.
 */

/** How one family of such encoders differs from the others. */
export interface PostNormFamily {
  /** Prefix of the encoder's weights in a checkpoint with a head. */
  readonly prefix: string;
  /** `input`: the token's type is an input. `zero`: there is a table, and every token is of type 0. `none`: there is no table. */
  readonly tokenTypes: 'input' | 'zero' | 'none';
  /** `row`: positions count from 0. `tokens`: from padding id + 1, over the tokens that are not padding. */
  readonly positions: 'row' | 'tokens';
  /** Padding id that positions follow, where the family does not read `pad_token_id`. */
  readonly padding?: number;
  /** Weights of the classification head, in the order dense, activation, output. */
  readonly head: { readonly dense: string; readonly activation: Activation; readonly out: string };
  /** Fields of config.json. */
  readonly fields: Readonly<Record<'hidden' | 'heads' | 'layers' | 'wide' | 'activation', string>>;
  /** Names of a layer's weights, after `layers` and the layer's number. */
  readonly names: Readonly<Record<LayerPart, string>> & { readonly layers: string };
  /** Returns each layer's name in its place, where names are not plain numbers; layers of one name share weights. */
  readonly layersOf?: (settings: Settings) => readonly string[];
  /** What config.json means where it names no activation; `gelu` if absent. */
  readonly activation?: Activation;
  /** The projection of the embeddings, where there always is one, and their width where config.json does not state it. */
  readonly projection?: { readonly name: string; readonly width: number };
  /**
   * Writes what is added to attention scores in addition to the mask, [heads, sequence, sequence], once for all layers.
   * @param at Prefix of the encoder's weights.
   */
  readonly scoreBias?: (parts: Parts, at: string, heads: number) => string;
}

type LayerPart = 'query' | 'key' | 'value' | 'attended' | 'middleNorm' | 'up' | 'down' | 'lastNorm';

export const BERT_FIELDS: PostNormFamily['fields'] = {
  hidden: 'hidden_size',
  heads: 'num_attention_heads',
  layers: 'num_hidden_layers',
  wide: 'intermediate_size',
  activation: 'hidden_act',
};

export const BERT_NAMES: PostNormFamily['names'] = {
  layers: 'encoder.layer.',
  query: 'attention.self.query',
  key: 'attention.self.key',
  value: 'attention.self.value',
  attended: 'attention.output.dense',
  middleNorm: 'attention.output.LayerNorm',
  up: 'intermediate.dense',
  down: 'output.dense',
  lastNorm: 'output.LayerNorm',
};

export interface Sizes extends Heads {
  readonly epsilon: number;
}

/** An encoder whose layers are appended one after another. */
export interface LayerStack {
  readonly parts: Parts;
  readonly family: PostNormFamily;
  readonly sizes: Sizes;
  /** What the encoder's weights are named after. */
  readonly prefix: string;
  /** What the weights of each layer are named after, in order. */
  readonly layers: readonly string[];
  /** States before the first layer, [batch, sequence, hidden]. */
  readonly x: string;
  /** What is added to attention scores, [batch, 1 or heads, 1 or sequence, sequence]. */
  readonly mask: string;
}

/**
 * Starts the graph of an encoder: inputs, embeddings and mask.
 * @param batch name of the first size of the inputs.
 * @throws WinnowError `invalid_input` for settings or weights that do not fit.
 */
export function openLayers(checkpoint: Checkpoint, family: PostNormFamily, batch?: string): LayerStack {
  const { settings } = checkpoint;
  checkSwitches(settings);
  settings.choice('position_embedding_type', ['absolute'], 'absolute');
  const types = tokenTypesOf(checkpoint, family) === 'input' ? ['token_type_ids'] : [];
  const parts = start(checkpoint, ['input_ids', 'attention_mask', ...types], batch);
  // A bare encoder's checkpoint names its weights without the prefix.
  const prefix = checkpoint.has(`${family.prefix}embeddings.word_embeddings.weight`) ? family.prefix : '';
  const heads = readHeads(settings, family.fields.hidden, family.fields.heads);
  const sizes = { ...heads, epsilon: settings.positive('layer_norm_eps', 1e-12) };
  const x = embeddings(parts, family, prefix, sizes);
  const open = biasOf(parts, isText(parts));
  const mask = family.scoreBias ? parts.g.add(open, family.scoreBias(parts, prefix, sizes.heads)) : open;
  const names = family.layersOf?.(settings) ?? numbered(settings.bounded(family.fields.layers, MOST_LAYERS));
  const layers = names.map((name) => `${prefix}${family.names.layers}${name}.`);
  return { parts, family, sizes, prefix, layers, x, mask };
}

/** Returns the builder of a family's graphs: output `logits` if the checkpoint has the head's weights, else `last_hidden_state`. */
export const postNorm =
  (family: PostNormFamily) =>
  (checkpoint: Checkpoint): Parts => {
    const stack = openLayers(checkpoint, family);
    const { parts, sizes, prefix, layers } = stack;
    const x = layers.reduce((states, at) => appendLayer(stack, at, states), stack.x);
    finish(parts, family, x, sizes.hidden);
    checkpoint.checkUnused([`${prefix}embeddings`, `${prefix}${family.names.layers}`]);
    return parts;
  };

const numbered = (count: number): readonly string[] => Array.from({ length: count }, (_, i) => String(i));

const tokenTypesOf = ({ use, settings }: Checkpoint, { tokenTypes }: PostNormFamily): PostNormFamily['tokenTypes'] =>
  tokenTypes === 'input' && (use.isUntyped || settings.get('type_vocab_size') === 1) ? 'zero' : tokenTypes;

function embeddings(parts: Parts, family: PostNormFamily, prefix: string, { hidden, epsilon }: Sizes): string {
  const { g, checkpoint } = parts;
  const { settings } = checkpoint;
  const at = `${prefix}embeddings.`;
  const { projection } = family;
  const width = settings.stated('embedding_size') ?? projection?.width ?? hidden;
  const table = (name: string, field: string, ids: string): string =>
    lookUp(parts, `${at}${name}_embeddings.weight`, [settings.stated(field), width], ids);
  const words = table('word', 'vocab_size', 'input_ids');
  const types = tokenTypesOf(checkpoint, family);
  const typed =
    types === 'none'
      ? words
      : g.add(words, table('token_type', 'type_vocab_size', types === 'input' ? 'token_type_ids' : g.ints([0])));
  const placed = g.add(typed, table('position', 'max_position_embeddings', positions(parts, family)));
  const normed = norm(parts, placed, `${at}LayerNorm`, { size: width, epsilon });
  if (!projection && width === hidden) return normed;
  return linear(parts, normed, `${prefix}${projection?.name ?? 'embeddings_project'}`, { from: width, to: hidden });
}

function positions(parts: Parts, family: PostNormFamily): string {
  const { g, checkpoint } = parts;
  if (family.positions === 'row') return g.unsqueeze(rowPositions(parts), [0]);
  const padding = g.scalar(family.padding ?? checkpoint.settings.integer('pad_token_id', 0, 1), 'int64');
  const real = g.cast(g.op('Not', [g.equal('input_ids', padding)]), 'int64');
  return g.add(g.mul(g.op('CumSum', [real, g.scalar(1, 'int64')]), real), padding);
}

/**
 * Appends a layer, whose weights are named after `at`.
 * @param x the states it reads, [batch, sequence, hidden], as it returns.
 */
export function appendLayer(stack: LayerStack, at: string, x: string): string {
  const { parts, family, sizes } = stack;
  const attended = selfAttention(stack, at, { x, of: x, mask: stack.mask });
  return feedForward(parts, family, at, halfNorm(parts, family, at, parts.g.add(attended, x), sizes), sizes);
}

/** What a layer's attention reads. */
interface Attending {
  /** States that are looked at, [batch, sequence, hidden]. */
  readonly x: string;
  /** Those that look: the same, or the first one of each row. */
  readonly of: string;
  readonly mask: string;
}

/** Appends a layer's attention with its output projection; returns as many states as look. */
export function selfAttention({ parts, family, sizes }: LayerStack, at: string, { x, of, mask }: Attending): string {
  const { hidden, heads, size } = sizes;
  const { names } = family;
  const square = { from: hidden, to: hidden };
  const headsOf = (from: string, name: string, perm: readonly number[]): string =>
    splitHeads(parts, linear(parts, from, `${at}${name}`, square), heads, size, perm);
  const query = headsOf(of, names.query, [0, 2, 1, 3]);
  const keys = headsOf(x, names.key, [0, 2, 3, 1]);
  const value = headsOf(x, names.value, [0, 2, 1, 3]);
  return linear(parts, attend(parts, { query, keys, value, mask }, sizes), `${at}${names.attended}`, square);
}

/** Appends the normalization behind a layer's attention. */
export const halfNorm = (
  parts: Parts,
  { names }: Pick<PostNormFamily, 'names'>,
  at: string,
  sum: string,
  { hidden, epsilon }: Sizes,
): string => norm(parts, sum, `${at}${names.middleNorm}`, { size: hidden, epsilon });

/**
 * The rest of a layer: output projection and feed-forward part, each added to its input and normalized.
 * @param at Prefix of the layer's weights.
 * @param states `x`: the layer's input; `mixed`: what its attention gives, both [batch, sequence, hidden].
 */
export function afterAttention(
  parts: Parts,
  family: Pick<PostNormFamily, 'fields' | 'names' | 'activation'>,
  at: string,
  { x, mixed }: { readonly x: string; readonly mixed: string },
  sizes: Sizes,
): string {
  const { hidden } = sizes;
  const attended = linear(parts, mixed, `${at}${family.names.attended}`, { from: hidden, to: hidden });
  return feedForward(parts, family, at, halfNorm(parts, family, at, parts.g.add(attended, x), sizes), sizes);
}

/** The feed-forward part of a layer, added to its input and normalized. */
export function feedForward(
  parts: Parts,
  { fields, names, activation }: Pick<PostNormFamily, 'fields' | 'names' | 'activation'>,
  at: string,
  middle: string,
  { hidden, epsilon }: Sizes,
): string {
  const { g, checkpoint } = parts;
  const wide = checkpoint.settings.count(fields.wide);
  const up = linear(parts, middle, `${at}${names.up}`, { from: hidden, to: wide });
  const active = activate(parts, up, activationIn(parts, fields.activation, activation));
  const down = linear(parts, active, `${at}${names.down}`, { from: wide, to: hidden });
  return norm(parts, g.add(down, middle), `${at}${names.lastNorm}`, { size: hidden, epsilon });
}

/** Writes the head over the first token's state, if the checkpoint has its weights; else the states are the output. */
export function finish(parts: Parts, { head }: Pick<PostNormFamily, 'head'>, x: string, hidden: number): void {
  const { g, checkpoint } = parts;
  const found = [head.out, head.dense].filter((name) => checkpoint.has(`${name}.weight`));
  // BERT's pooler alone is no head: its language model has one. Half a head is one that misses a tensor, where config.json says classifier.
  if (checkpoint.isHeadless || found.length < (checkpoint.settings.saysClassifier() ? 1 : 2)) {
    outputStates(parts, x, hidden);
    return;
  }
  const first = linear(parts, g.gather(x, g.scalar(0, 'int64'), 1), head.dense, { from: hidden, to: hidden });
  classify(parts, activate(parts, first, head.activation), head.out, hidden);
}
