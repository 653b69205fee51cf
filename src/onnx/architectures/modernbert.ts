import type { Checkpoint } from './checkpoint.ts';
import {
  activate,
  activationIn,
  attend,
  biasOf,
  classify,
  type Heads,
  isText,
  linear,
  lookUp,
  norm,
  outputStates,
  type Parts,
  readHeads,
  rowPositions,
  splitHeads,
  start,
} from './parts.ts';
import { plainFrequencies, type Tables, tablesOf, turn } from './rotary.ts';
import type { Settings } from './settings.ts';
import { checkSwitches } from './switches.ts';

/*
 * ModernBERT (Warner et al. 2024; the Ettin encoders too): rotary positions, layer normalization before each half of a layer, gated linear
 * units, and attention over the whole row in some layers and over a window around each token in the others.
 */

const KINDS = ['full_attention', 'sliding_attention'] as const;
type Kind = (typeof KINDS)[number];

/** What the layers of one kind share: rotary tables [sequence, size] and the bias of attention scores. */
interface Shared {
  readonly tables: Tables;
  readonly mask: string;
}

interface Sizes extends Heads {
  readonly epsilon: number;
  readonly normBias: boolean;
}

/** Builds the graph: output `logits` if the checkpoint has a classifier, else `last_hidden_state`. */
export function modernbert(checkpoint: Checkpoint): Parts {
  const { settings } = checkpoint;
  checkSwitches(settings);
  const parts = start(checkpoint, ['input_ids', 'attention_mask']);
  const at = checkpoint.has('model.embeddings.tok_embeddings.weight') ? 'model.' : '';
  const heads = readHeads(settings, 'hidden_size', 'num_attention_heads');
  const { hidden, size } = heads;
  if (size % 2 !== 0) throw settings.fault('num_attention_heads', 'heads of even size', `${size}`);
  const epsilon = settings.positive('norm_eps', 1e-5);
  const sizes = { ...heads, epsilon, normBias: settings.flag('norm_bias', false) };
  const words = lookUp(
    parts,
    `${at}embeddings.tok_embeddings.weight`,
    [settings.stated('vocab_size'), hidden],
    'input_ids',
  );
  let x = normOf(parts, words, `${at}embeddings.norm`, sizes);
  const shared = sharedParts(parts, size);
  const kindOf = kindsOf(settings);
  for (let i = 0; i < settings.count('num_hidden_layers'); i++)
    x = layer(parts, x, `${at}layers.${i}.`, shared(kindOf(i)), sizes, i === 0);
  x = normOf(parts, x, `${at}final_norm`, sizes);
  finish(parts, x, sizes);
  checkpoint.checkUnused([
    `${at}embeddings.`,
    `${at}layers.`,
    `${at}final_norm.`,
    ...(hasHead(checkpoint) ? ['head.'] : []),
  ]);
  return parts;
}

/** Returns the kind of a layer: as listed, else one of full attention and then `global_attn_every_n_layers` − 1 of windows. */
function kindsOf(settings: Settings): (layer: number) => Kind {
  const listed = settings.list('layer_types');
  const every = settings.stated('global_attn_every_n_layers') ?? 3;
  if (listed === undefined) return (i) => KINDS[i % every === 0 ? 0 : 1];
  const layers = settings.count('num_hidden_layers');
  if (listed.length !== layers) throw settings.fault('layer_types', `${layers} layers`, `${listed.length}`);
  return (i) => {
    const kind = KINDS.find((k) => k === listed[i]);
    if (kind === undefined)
      throw settings.fault(`layer_types[${i}]`, KINDS.join(' or '), String(listed[i]).slice(0, 80));
    return kind;
  };
}

/** Returns the base of the rotary frequencies; older files have two fields for it, of which the local one may be null. */
function rotaryBase(settings: Settings, kind: Kind): number {
  const rotary = settings.inside('rope_parameters')?.inside(kind);
  rotary?.choice('rope_type', ['default'], 'default');
  const global = settings.positive('global_rope_theta', 160_000);
  const old = kind === 'full_attention' ? global : localBase(settings, global);
  return rotary?.positive('rope_theta', old) ?? old;
}

/** A null means the global base; a field left out, the default of the configuration's class. */
function localBase(settings: Settings, global: number): number {
  return settings.isNull('local_rope_theta') ? global : settings.positive('local_rope_theta', 10_000);
}

/** Returns the parts that layers of a kind share, each made when it is first asked for. */
function sharedParts(parts: Parts, size: number): (kind: Kind) => Shared {
  const { g, checkpoint } = parts;
  const { settings } = checkpoint;
  const text = isText(parts);
  const positions = rowPositions(parts);
  const made = new Map<Kind, Shared>();
  const make = (kind: Kind): Shared => {
    const base = rotaryBase(settings, kind);
    const frequencies = { each: plainFrequencies(base, size), factor: 1 };
    const tables = tablesOf(parts, `inv_freq.${kind}`, positions, frequencies);
    const open = kind === 'full_attention' ? text : g.op('And', [text, window(parts, positions)]);
    return { tables, mask: biasOf(parts, open) };
  };
  return (kind) => {
    const found = made.get(kind) ?? make(kind);
    made.set(kind, found);
    return found;
  };
}

/** Whether two tokens are at most half of `local_attention` apart, [sequence, sequence]. */
function window({ g, checkpoint }: Parts, positions: string): string {
  const reach = Math.floor((checkpoint.settings.stated('local_attention') ?? 128) / 2);
  const apart = g.op('Abs', [g.sub(g.unsqueeze(positions, [1]), g.unsqueeze(positions, [0]))]);
  return g.op('LessOrEqual', [apart, g.scalar(reach, 'int64')]);
}

const normOf = (parts: Parts, x: string, name: string, { hidden, epsilon, normBias }: Sizes): string =>
  norm(parts, x, name, { size: hidden, epsilon, bias: normBias });

/** One layer. The first has no normalization before attention: that of the embeddings stands there. */
function layer(parts: Parts, x: string, at: string, shared: Shared, sizes: Sizes, isFirst: boolean): string {
  const { g, checkpoint } = parts;
  const { settings } = checkpoint;
  const input = isFirst ? x : normOf(parts, x, `${at}attn_norm`, sizes);
  const middle = g.add(x, attention(parts, input, at, shared, sizes));
  const bias = settings.flag('mlp_bias', false);
  const wide = settings.count('intermediate_size');
  const normed = normOf(parts, middle, `${at}mlp_norm`, sizes);
  const both = linear(parts, normed, `${at}mlp.Wi`, { from: sizes.hidden, to: 2 * wide, bias });
  const [up, gate] = g.ops('Split', [both, g.ints([wide, wide])], { axis: -1 }, 2);
  const gated = g.mul(activate(parts, up!, activationIn(parts, 'hidden_activation')), gate!);
  return g.add(middle, linear(parts, gated, `${at}mlp.Wo`, { from: wide, to: sizes.hidden, bias }));
}

function attention(parts: Parts, x: string, at: string, { tables, mask }: Shared, sizes: Sizes): string {
  const { g, checkpoint } = parts;
  const { hidden, heads, size } = sizes;
  const bias = checkpoint.settings.flag('attention_bias', false);
  const all = linear(parts, x, `${at}attn.Wqkv`, { from: hidden, to: 3 * hidden, bias });
  const [query, key, value] = g
    .ops('Split', [all, g.ints([hidden, hidden, hidden])], { axis: -1 }, 3)
    .map((part) => splitHeads(parts, part, heads, size, [0, 2, 1, 3])) as [string, string, string];
  const turned = (states: string): string => turn(parts, states, tables, size);
  const keys = g.transpose(turned(key), [0, 1, 3, 2]);
  const mixed = attend(parts, { query: turned(query), keys, value, mask }, sizes);
  return linear(parts, mixed, `${at}attn.Wo`, { from: hidden, to: hidden, bias });
}

/** The dense layer alone is a language model's, unless config.json says classifier: then the rest is missing. */
const hasHead = (checkpoint: Checkpoint): boolean =>
  !checkpoint.isHeadless &&
  (checkpoint.has('classifier.weight') ||
    (checkpoint.settings.saysClassifier() && checkpoint.has('head.dense.weight')));

function finish(parts: Parts, x: string, sizes: Sizes): void {
  const { g, checkpoint } = parts;
  const { settings } = checkpoint;
  const { hidden } = sizes;
  if (!hasHead(checkpoint)) {
    outputStates(parts, x, hidden);
    return;
  }
  const pooling = settings.choice('classifier_pooling', ['cls', 'mean'], 'cls');
  const pooled = pooling === 'cls' ? g.gather(x, g.scalar(0, 'int64'), 1) : meanOf(parts, x);
  const bias = settings.flag('classifier_bias', false);
  const dense = linear(parts, pooled, 'head.dense', { from: hidden, to: hidden, bias });
  const active = activate(parts, dense, activationIn(parts, 'classifier_activation'));
  classify(parts, normOf(parts, active, 'head.norm', sizes), 'classifier', hidden);
}

/** Mean over the tokens that are no padding. */
function meanOf({ g }: Parts, x: string): string {
  const weights = g.unsqueeze(g.cast('attention_mask', 'float32'), [2]);
  return g.div(g.reduceSum(g.mul(x, weights), [1], false), g.reduceSum(weights, [1], false));
}
