import { float32, float32View, type Tensor } from '../tensor.ts';
import type { Answers, Checkpoint } from './checkpoint.ts';
import {
  activate,
  activationIn,
  biasOf,
  classify,
  isText,
  linear,
  outputStates,
  type Parts,
  rowPositions,
  start,
} from './parts.ts';
import { rotaryTables, type Tables, turn } from './rotary.ts';
import type { Settings } from './settings.ts';

/*
 * Decoders laid out as Qwen's: root-mean-square normalization before each half of a layer, rotary positions, heads of queries that share keys
 * and values, gated linear units, and attention to earlier tokens only. A score is read at the last token that is no padding, on whichever
 * side padding is; the last layer computes queries and all that follows for this token alone.
 */

/** How one family of decoders differs from the others. */
export interface DecoderFamily {
  /** Whether queries, keys and values have a bias, and the projection after attention. */
  readonly biases: (settings: Settings) => { readonly attention: boolean; readonly output: boolean };
  /** Whether each head of queries and keys is normalized. */
  readonly headNorm: boolean;
  /** Width of a head where config.json does not state it; undefined: the hidden size through the heads. */
  readonly headSize: number | undefined;
}

interface Sizes {
  readonly hidden: number;
  /** Heads of keys and values, and the heads of queries that share each of them. */
  readonly groups: number;
  readonly shared: number;
  readonly size: number;
  readonly epsilon: number;
}

/** What all layers of one kind of attention share. */
interface Shared {
  readonly tables: Tables;
  /** [batch, 1, 1, queries, sequence] or what broadcasts to it. */
  readonly mask: string;
}

/** The last token of each row: [batch, 1, sequence], 1 at its place and 0 elsewhere; and its place, [batch, 1]. */
interface Last {
  readonly weights: string;
  readonly place: string;
}

const EMBEDDINGS = 'embed_tokens.weight';
const CLASSIFIER = 'score';

/**
 * Returns the builder of a family's graphs: output `logits` if the checkpoint has a classifier, or is a language model whose answers
 * are known; else `last_hidden_state`.
 */
export const decoder =
  (family: DecoderFamily) =>
  (checkpoint: Checkpoint): Parts => {
    const { settings } = checkpoint;
    const parts = start(checkpoint, ['input_ids', 'attention_mask']);
    const { g } = parts;
    const at = checkpoint.has(`model.${EMBEDDINGS}`) ? 'model.' : '';
    const sizes = readSizes(settings, family);
    const { hidden } = sizes;
    const table = checkpoint.take(`${at}${EMBEDDINGS}`, [settings.stated('vocab_size'), hidden]);
    const head = headOf(checkpoint, table, hidden);
    let x = g.gather(g.initializer(`${at}${EMBEDDINGS}`, table), 'input_ids');
    const layers = settings.count('num_hidden_layers');
    const last = head && lastToken(parts);
    const maskOf = masks(parts, last);
    const tables = rotaryTables(parts, sizes.size);
    for (let i = 0; i < layers; i++) {
      const only = i === layers - 1 ? last : undefined;
      x = layer(parts, family, `${at}layers.${i}.`, x, { tables, mask: maskOf(i, only !== undefined), only }, sizes);
    }
    x = rootNorm(parts, x, `${at}norm`, hidden, sizes.epsilon);
    if (head) head(parts, g.squeeze(x, [1]));
    else outputStates(parts, x, hidden);
    checkpoint.checkUnused([`${at}embed_tokens`, `${at}layers.`, `${at}norm.`]);
    return parts;
  };

function readSizes(settings: Settings, { headSize }: DecoderFamily): Sizes {
  const hidden = settings.count('hidden_size');
  const heads = settings.count('num_attention_heads');
  const groups = settings.stated('num_key_value_heads') ?? heads;
  if (heads % groups !== 0) throw settings.fault('num_key_value_heads', `a divisor of ${heads} heads`, String(groups));
  const stated = settings.stated('head_dim') ?? headSize;
  if (stated === undefined && hidden % heads !== 0)
    throw settings.fault('num_attention_heads', `a divisor of the hidden size ${hidden}`, String(heads));
  const size = stated ?? hidden / heads;
  if (size % 2 !== 0) throw settings.fault('head_dim', 'heads of even size', String(size));
  return { hidden, groups, shared: heads / groups, size, epsilon: settings.positive('rms_norm_eps', 1e-6) };
}

/** Returns what writes the output `logits` from the last token's states [batch, hidden]; undefined for a bare decoder. */
function headOf(
  checkpoint: Checkpoint,
  table: Tensor,
  hidden: number,
): ((parts: Parts, x: string) => void) | undefined {
  const { settings, use } = checkpoint;
  if (use.isHeadless) return undefined;
  if (checkpoint.has(`${CLASSIFIER}.weight`) || settings.saysClassifier())
    return (parts, x) => classify(parts, x, CLASSIFIER, hidden, false);
  const { answers } = use;
  if (!answers || !settings.saysLanguageModel()) return undefined;
  const words = settings.flag('tie_word_embeddings', false)
    ? table
    : checkpoint.take('lm_head.weight', [settings.stated('vocab_size'), hidden]);
  const weight = answerWeight(checkpoint, words, hidden, answers);
  return ({ g }, x) => {
    g.output(g.matmul(x, g.initializer('head.weight', weight)), 'float32', ['batch', 1], 'logits');
  };
}

/** Narrows the head of a language model to the difference of two of its rows, [hidden, 1]. */
function answerWeight({ settings }: Checkpoint, words: Tensor, hidden: number, { yes, no }: Answers): Tensor {
  const all = float32View(words);
  const row = (id: number): Float32Array => {
    if (id >= words.dims[0]!)
      throw settings.fault('vocab_size', `above the id of an answer, ${id}`, `${words.dims[0]}`);
    return all.subarray(id * hidden, (id + 1) * hidden);
  };
  const [plus, minus] = [row(yes), no === undefined ? undefined : row(no)];
  return float32(
    [hidden, 1],
    plus.map((x, i) => x - (minus?.[i] ?? 0)),
  );
}

/** Finds the last token that is no padding. */
function lastToken(parts: Parts): Last {
  const { g } = parts;
  const positions = g.unsqueeze(rowPositions(parts), [0]);
  const place = g.reduceMax(g.mul('attention_mask', positions), [1]);
  return { place, weights: g.unsqueeze(g.cast(g.equal(positions, place), 'float32'), [1]) };
}

const LAYER_KINDS = ['full_attention', 'sliding_attention'] as const;

/** Returns whether a layer attends to a window of earlier tokens only. Source: `Qwen2Config`, `Qwen3Config` of transformers. */
function windowsOf(settings: Settings): { readonly reach: number; readonly has: (layer: number) => boolean } {
  const layers = settings.count('num_hidden_layers');
  const stated = settings.flag('use_sliding_window', false) ? settings.stated('sliding_window') : undefined;
  const from = settings.get('max_window_layers') === 0 ? 0 : (settings.stated('max_window_layers') ?? 28);
  const kinds = settings.list('layer_types');
  if (kinds === undefined) return { reach: stated ?? 0, has: (i) => stated !== undefined && i >= from };
  if (kinds.length !== layers) throw settings.fault('layer_types', `${layers} layers`, String(kinds.length));
  kinds.forEach((kind, i) => {
    if (!LAYER_KINDS.some((known) => known === kind))
      throw settings.fault(`layer_types[${i}]`, LAYER_KINDS.join(' or '), String(kind).slice(0, 80));
    if (kind === LAYER_KINDS[1] && stated === undefined)
      throw settings.fault(
        'sliding_window',
        `a number of tokens and \`use_sliding_window\`, for layer ${i}`,
        'nothing',
      );
  });
  return { reach: stated ?? 0, has: (i) => kinds[i] === LAYER_KINDS[1] };
}

/** Returns the masks of layers, each made when it is first asked for: for every token's attention, or for the last one's. */
function masks(parts: Parts, last: Last | undefined): (layer: number, onlyLast: boolean) => string {
  const { g, checkpoint } = parts;
  const { reach, has } = windowsOf(checkpoint.settings);
  const made = new Map<string, string>();
  const text = isText(parts);
  const positions = rowPositions(parts);
  const make = (isWindow: boolean, onlyLast: boolean): string => {
    const keys = g.unsqueeze(positions, [0]);
    // [batch, 1, 1, 1] for the last token, else [sequence, 1].
    const queries = onlyLast ? g.unsqueeze(last!.place, [1, 2]) : g.unsqueeze(positions, [1]);
    const earlier = onlyLast ? text : g.op('And', [text, g.op('LessOrEqual', [keys, queries])]);
    const near = () => g.less(g.sub(queries, keys), g.scalar(reach, 'int64'));
    return g.unsqueeze(biasOf(parts, isWindow ? g.op('And', [earlier, near()]) : earlier), [1]);
  };
  return (layer, onlyLast) => {
    const key = `${has(layer)} ${onlyLast}`;
    const mask = made.get(key) ?? make(has(layer), onlyLast);
    made.set(key, mask);
    return mask;
  };
}

/** x / √(mean x² + ε) · weight */
function rootNorm({ g, checkpoint }: Parts, x: string, name: string, size: number, epsilon: number): string {
  const mean = g.reduceMean(g.op('Pow', [x, g.scalar(2)]), [-1], true);
  const unit = g.div(x, g.sqrt(g.add(mean, g.scalar(epsilon))));
  return g.mul(unit, g.initializer(`${name}.weight`, checkpoint.take(`${name}.weight`, [size])));
}

type LayerInputs = Shared & { readonly only: Last | undefined };

function layer(parts: Parts, family: DecoderFamily, at: string, x: string, shared: LayerInputs, sizes: Sizes): string {
  const { g, checkpoint } = parts;
  const { hidden, epsilon } = sizes;
  const wide = checkpoint.settings.count('intermediate_size');
  const input = rootNorm(parts, x, `${at}input_layernorm`, hidden, epsilon);
  const { only } = shared;
  const rest = only ? g.matmul(only.weights, x) : x;
  const middle = g.add(rest, attention(parts, family, `${at}self_attn.`, input, shared, sizes));
  const normed = rootNorm(parts, middle, `${at}post_attention_layernorm`, hidden, epsilon);
  const widen = (name: string) => linear(parts, normed, `${at}mlp.${name}`, { from: hidden, to: wide, bias: false });
  const gate = activate(parts, widen('gate_proj'), activationIn(parts, 'hidden_act', 'silu'));
  const gated = g.mul(gate, widen('up_proj'));
  return g.add(middle, linear(parts, gated, `${at}mlp.down_proj`, { from: wide, to: hidden, bias: false }));
}

function attention(
  parts: Parts,
  family: DecoderFamily,
  at: string,
  x: string,
  { tables, mask, only }: LayerInputs,
  { hidden, groups, shared, size, epsilon }: Sizes,
): string {
  const { g, checkpoint } = parts;
  const biases = family.biases(checkpoint.settings);
  // [batch, groups, shared, sequence, size]
  const project = (from: string, name: string, each: number): string => {
    const to = groups * each * size;
    const flat = linear(parts, from, `${at}${name}_proj`, { from: hidden, to, bias: biases.attention });
    const split = g.reshape(flat, [0, 0, groups, each, size]);
    const isNormed = family.headNorm && name !== 'v';
    return g.transpose(isNormed ? rootNorm(parts, split, `${at}${name}_norm`, size, epsilon) : split, [0, 2, 3, 1, 4]);
  };
  const pick = (table: string) => (only ? g.unsqueeze(g.matmul(only.weights, table), [1, 2]) : table);
  const asked = { cosines: pick(tables.cosines), sines: pick(tables.sines) };
  const query = turn(parts, project(only ? g.matmul(only.weights, x) : x, 'q', shared), asked, size);
  const keys = g.transpose(turn(parts, project(x, 'k', 1), tables, size), [0, 1, 2, 4, 3]);
  const scores = g.matmul(g.mul(query, g.scalar(1 / Math.sqrt(size))), keys);
  const mixed = g.matmul(g.softmax(g.add(scores, mask)), project(x, 'v', 1));
  const wide = groups * shared * size;
  const rows = g.reshape(g.transpose(mixed, [0, 3, 1, 2, 4]), [0, 0, wide]);
  return linear(parts, rows, `${at}o_proj`, { from: wide, to: hidden, bias: biases.output });
}
