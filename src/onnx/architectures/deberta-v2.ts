import { float32, float32View, type Tensor } from '../tensor.ts';
import type { Checkpoint } from './checkpoint.ts';
import { disentangled, readRelative } from './disentangled.ts';
import {
  activate,
  activationIn,
  biasOf,
  isText,
  linear,
  lookUp,
  MOST_LAYERS,
  norm,
  type Parts,
  parameter,
  readHeads,
  rowPositions,
  start,
} from './parts.ts';
import { afterAttention, BERT_FIELDS, BERT_NAMES, finish, type Sizes } from './post-norm.ts';
import { checkSwitches } from './switches.ts';

/*
 * DeBERTa-v2 and v3 (He et al. 2021, 2023): laid out as BERT, with attention scores that also depend on the distance of two tokens, and in
 * the large v2 models a convolution beside the first layer.
 */

const NAMES = {
  ...BERT_NAMES,
  query: 'attention.self.query_proj',
  key: 'attention.self.key_proj',
  value: 'attention.self.value_proj',
};

/** Builds the graph: output `logits` if the checkpoint has the pooler and the classifier, else `last_hidden_state`. */
export function debertaV2(checkpoint: Checkpoint): Parts {
  const { settings } = checkpoint;
  checkSwitches(settings);
  const types = settings.integer('type_vocab_size', 0, 0);
  const hasTypeInput = types > 1 && !checkpoint.use.isUntyped;
  const parts = start(checkpoint, ['input_ids', 'attention_mask', ...(hasTypeInput ? ['token_type_ids'] : [])]);
  const at = checkpoint.has('deberta.embeddings.word_embeddings.weight') ? 'deberta.' : '';
  const heads = readHeads(settings, 'hidden_size', 'num_attention_heads');
  const sizes = { ...heads, epsilon: settings.positive('layer_norm_eps', 1e-7) };
  checkWidths(checkpoint, sizes);
  const embedded = embeddings(
    parts,
    at,
    types === 0 ? undefined : hasTypeInput ? 'token_type_ids' : parts.g.ints([0]),
    sizes,
  );
  const scores = disentangled(parts, at, readRelative(settings), biasOf(parts, isText(parts)), sizes);
  let x = embedded;
  for (let i = 0; i < settings.bounded('num_hidden_layers', MOST_LAYERS); i++) {
    const layer = `${at}${NAMES.layers}${i}.`;
    const mixed = scores(x, `${layer}attention.self.`);
    x = afterAttention(parts, { fields: BERT_FIELDS, names: NAMES }, layer, { x, mixed }, sizes);
    if (i === 0 && settings.integer('conv_kernel_size', 0, 0) > 0) x = convolved(parts, at, embedded, x, sizes);
  }
  const activation = activationIn(parts, 'pooler_hidden_act');
  finish(parts, { head: { dense: 'pooler.dense', activation, out: 'classifier' } }, x, heads.hidden);
  checkpoint.checkUnused([`${at}embeddings.`, `${at}encoder.`]);
  return parts;
}

/** Widths that transformers reads from config.json, and that would not fit the layers around them. */
function checkWidths({ settings }: Checkpoint, { hidden, size }: Sizes): void {
  for (const [field, width] of [
    ['attention_head_size', size],
    ['pooler_hidden_size', hidden],
  ] as const) {
    const stated = settings.stated(field) ?? width;
    if (stated !== width) throw settings.fault(field, `${width}, as the hidden size implies`, String(stated));
  }
}

/**
 * Words, and positions and types where config.json has them; projected if they are narrower than the layers, then normalized.
 * @param types Name of the tokens' types, if there is a table of them.
 */
function embeddings(parts: Parts, prefix: string, types: string | undefined, { hidden, epsilon }: Sizes): string {
  const { g, checkpoint } = parts;
  const { settings } = checkpoint;
  const at = `${prefix}embeddings.`;
  const width = settings.stated('embedding_size') ?? hidden;
  const table = (name: string, field: string, ids: string): string =>
    lookUp(parts, `${at}${name}_embeddings.weight`, [settings.stated(field), width], ids);
  let x = table('word', 'vocab_size', 'input_ids');
  if (settings.flag('position_biased_input', true))
    x = g.add(x, table('position', 'max_position_embeddings', g.unsqueeze(rowPositions(parts), [0])));
  // Pretraining had such a table for its decoder; transformers leaves it out as well.
  else checkpoint.leaveOut(`${at}position_embeddings.weight`);
  if (types !== undefined) x = g.add(x, table('token_type', 'type_vocab_size', types));
  if (width !== hidden) x = linear(parts, x, `${at}embed_proj`, { from: width, to: hidden, bias: false });
  return norm(parts, x, `${at}LayerNorm`, { size: hidden, epsilon });
}

/**
 * Adds a convolution over the embeddings to the first layer's states. It is one product with the neighbors' embeddings side by side, which
 * is as fast as a convolution and has gradients and int8 forms like any linear layer.
 */
function convolved(parts: Parts, prefix: string, embedded: string, x: string, { hidden, epsilon }: Sizes): string {
  const { g, checkpoint } = parts;
  const { settings } = checkpoint;
  const taps = settings.bounded('conv_kernel_size', 99);
  if (taps % 2 === 0) throw settings.fault('conv_kernel_size', 'an odd number', String(taps));
  const groups = settings.stated('conv_groups') ?? 1;
  if (groups !== 1) throw settings.fault('conv_groups', '1', String(groups));
  const at = `${prefix}encoder.conv.`;
  const side = (taps - 1) / 2;
  // Padding tokens are 0, as what lies beyond the row is: a row's score does not depend on its padding.
  const real = g.mul(embedded, g.unsqueeze(g.cast('attention_mask', 'float32'), [2]));
  const padded = g.op('Pad', [real, g.ints([0, side, 0, 0, side, 0]), g.scalar(0)]);
  const neighbors = Array.from({ length: taps }, (_, tap) =>
    g.slice(padded, [tap], [tap === taps - 1 ? Number.MAX_SAFE_INTEGER : tap - taps + 1], [1]),
  );
  const weight = parameter(parts, `${at}conv.weight`, () =>
    tapsFirst(checkpoint.take(`${at}conv.weight`, [hidden, hidden, taps])),
  );
  const bias = parameter(parts, `${at}conv.bias`, () => checkpoint.take(`${at}conv.bias`, [hidden]));
  const out = g.add(g.matmul(taps === 1 ? neighbors[0]! : g.concat(neighbors, 2), weight), bias);
  const active = activate(parts, out, activationIn(parts, 'conv_act', 'tanh'));
  return norm(parts, g.add(x, active), `${at}LayerNorm`, { size: hidden, epsilon });
}

/** Reorders a convolution's weight [out, in, taps] to [taps · in, out]. */
function tapsFirst(weight: Tensor): Tensor {
  const [to, from, taps] = weight.dims as [number, number, number];
  const source = float32View(weight);
  const values = new Float32Array(source.length);
  for (let o = 0; o < to; o++)
    for (let i = 0; i < from; i++)
      for (let t = 0; t < taps; t++) values[(t * from + i) * to + o] = source[(o * from + i) * taps + t]!;
  return float32([taps * from, to], values);
}
