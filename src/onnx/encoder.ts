import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { WinnowError } from '../errors.ts';
import { readJsonFile } from '../util/json-files.ts';
import { GraphBuilder, modelOf } from './builder.ts';
import type { Model } from './graph.ts';
import { readSafetensors } from './safetensors.ts';
import { castTensor, type Tensor, transposeTensor } from './tensor.ts';

/*
 * Builds the graph of a BERT-like encoder from the weights and the config.json of a folder in Hugging Face layout, for models published
 * without an ONNX file. A further family is one entry of FAMILIES.
 */

type Config = Readonly<Record<string, unknown>>;

/** What tells one family of encoders from another. */
interface Family {
  /** Prefix of the encoder's weights in a classification checkpoint. */
  readonly prefix: string;
  /** Whether token types are an input; if not, every token is of type 0. */
  readonly tokenTypes: boolean;
  /** `row`: positions count from 0. `tokens`: from padding id + 1, over the tokens that are not padding. */
  readonly positions: 'row' | 'tokens';
  /** Weights of the classification head, in the order dense, activation, output. */
  readonly head: { readonly dense: string; readonly activation: 'Tanh' | 'Gelu'; readonly out: string };
}

const ROBERTA: Family = {
  prefix: 'roberta.',
  tokenTypes: false,
  positions: 'tokens',
  head: { dense: 'classifier.dense', activation: 'Tanh', out: 'classifier.out_proj' },
};

const FAMILIES: Readonly<Record<string, Family>> = {
  bert: {
    prefix: 'bert.',
    tokenTypes: true,
    positions: 'row',
    head: { dense: 'bert.pooler.dense', activation: 'Tanh', out: 'classifier' },
  },
  electra: {
    prefix: 'electra.',
    tokenTypes: true,
    positions: 'row',
    head: { dense: 'classifier.dense', activation: 'Gelu', out: 'classifier.out_proj' },
  },
  roberta: ROBERTA,
  'xlm-roberta': ROBERTA,
  camembert: ROBERTA,
};

/** The `model_type`s whose graph can be built. */
export const ENCODER_FAMILIES: readonly string[] = Object.keys(FAMILIES);

/**
 * Builds the model of a folder with `model.safetensors` and `config.json`: BERT, RoBERTa (XLM-RoBERTa, CamemBERT) or ELECTRA.
 * Its output is `logits` [batch, labels] if the folder has the classification head's weights, else `last_hidden_state`
 * [batch, sequence, hidden]. Linear weights are transposed to [in, out] and keep their names.
 * @throws WinnowError `invalid_input` for another family or an unsupported setting of config.json, or naming the first missing tensor.
 */
export async function fromSafetensors(folder: string): Promise<Model> {
  const config = (await readJsonFile(join(folder, 'config.json'))) as Config;
  const encoder = new EncoderBuilder(folder, config, await readWeights(folder));
  return encoder.build();
}

/** Reads `model.safetensors`, or the parts that `model.safetensors.index.json` lists. */
async function readWeights(folder: string): Promise<ReadonlyMap<string, Tensor>> {
  const single = join(folder, 'model.safetensors');
  const index = join(folder, 'model.safetensors.index.json');
  if (existsSync(single)) return (await readSafetensors(single)).tensors;
  if (!existsSync(index))
    throw new WinnowError('invalid_input', { where: folder, expected: 'model.safetensors', got: 'no such file' });
  const { weight_map: map } = (await readJsonFile(index)) as { readonly weight_map: Readonly<Record<string, string>> };
  const parts = [...new Set(Object.values(map))];
  const read = await Promise.all(parts.map((part) => readSafetensors(join(folder, part))));
  return new Map(read.flatMap(({ tensors }) => [...tensors]));
}

const ACTIVATIONS: Readonly<Record<string, (g: GraphBuilder, x: string) => string>> = {
  gelu: (g, x) => g.op('Gelu', [x], { approximate: 'none' }),
  gelu_new: (g, x) => g.op('Gelu', [x], { approximate: 'tanh' }),
  gelu_pytorch_tanh: (g, x) => g.op('Gelu', [x], { approximate: 'tanh' }),
  relu: (g, x) => g.relu(x),
};

/** Stands for −∞ in a padding mask: finite, so that the softmax of a fully masked row is not NaN. */
const LOWEST = -3.4028234663852886e38;

class EncoderBuilder {
  readonly #folder: string;
  readonly #config: Config;
  readonly #weights: ReadonlyMap<string, Tensor>;
  readonly #family: Family;
  readonly #g = new GraphBuilder('encoder');
  readonly #prefix: string;

  constructor(folder: string, config: Config, weights: ReadonlyMap<string, Tensor>) {
    this.#folder = folder;
    this.#config = config;
    this.#weights = weights;
    const family = FAMILIES[String(config.model_type)];
    if (!family) throw this.#fault('model_type', ENCODER_FAMILIES.join(', '), String(config.model_type));
    this.#family = family;
    const position = config.position_embedding_type ?? 'absolute';
    if (position !== 'absolute') throw this.#fault('position_embedding_type', 'absolute', String(position));
    // A bare encoder's checkpoint names its weights without the prefix.
    this.#prefix = weights.has(`${family.prefix}embeddings.word_embeddings.weight`) ? family.prefix : '';
  }

  build(): Model {
    const g = this.#g;
    g.input('input_ids', 'int64', ['batch', 'sequence']);
    g.input('attention_mask', 'int64', ['batch', 'sequence']);
    if (this.#family.tokenTypes) g.input('token_type_ids', 'int64', ['batch', 'sequence']);
    let x = this.#embeddings();
    const mask = this.#mask();
    const layers = this.#number('num_hidden_layers');
    for (let i = 0; i < layers; i++) x = this.#layer(x, mask, `${this.#prefix}encoder.layer.${i}.`);
    const { dense, activation, out } = this.#family.head;
    if (!this.#weights.has(`${out}.weight`) || !this.#weights.has(`${dense}.weight`)) {
      g.output(x, 'float32', ['batch', 'sequence', this.#number('hidden_size')], 'last_hidden_state');
      return modelOf(g.build());
    }
    const first = this.#linear(g.gather(x, g.scalar(0, 'int64'), 1), dense);
    const active = activation === 'Tanh' ? g.op('Tanh', [first]) : g.op('Gelu', [first], { approximate: 'none' });
    const logits = this.#linear(active, out);
    g.output(logits, 'float32', ['batch', this.#tensor(`${out}.weight`).dims[0]!], 'logits');
    return modelOf(g.build());
  }

  #embeddings(): string {
    const g = this.#g;
    const at = `${this.#prefix}embeddings.`;
    const words = g.gather(this.#table(`${at}word_embeddings.weight`), 'input_ids');
    const positions = g.gather(this.#table(`${at}position_embeddings.weight`), this.#positions());
    const typeTable = this.#table(`${at}token_type_embeddings.weight`);
    const types = g.gather(typeTable, this.#family.tokenTypes ? 'token_type_ids' : g.ints([0]));
    const normed = this.#norm(g.add(g.add(words, types), positions), `${at}LayerNorm`);
    const project = `${this.#prefix}embeddings_project`;
    return this.#weights.has(`${project}.weight`) ? this.#linear(normed, project) : normed;
  }

  #positions(): string {
    const g = this.#g;
    const [zero, one] = [g.scalar(0, 'int64'), g.scalar(1, 'int64')];
    if (this.#family.positions === 'row') {
      const length = g.squeeze(g.slice(g.shape('input_ids'), [1], [2], [0]), [0]);
      return g.unsqueeze(g.op('Range', [zero, length, one]), [0]);
    }
    const padding = g.scalar(this.#number('pad_token_id'), 'int64');
    const real = g.cast(g.op('Not', [g.equal('input_ids', padding)]), 'int64');
    return g.add(g.mul(g.op('CumSum', [real, one]), real), padding);
  }

  /** Bias of the attention scores, [batch, 1, 1, sequence]: 0 for tokens, the lowest float32 for padding. */
  #mask(): string {
    const g = this.#g;
    const open = g.cast(g.unsqueeze('attention_mask', [1, 2]), 'bool');
    return g.where(open, g.scalar(0), g.scalar(LOWEST));
  }

  #layer(x: string, mask: string, at: string): string {
    const g = this.#g;
    const heads = this.#number('num_attention_heads');
    const size = this.#number('hidden_size') / heads;
    const headsOf = (part: string, perm: readonly number[]): string =>
      g.transpose(g.reshape(this.#linear(x, `${at}attention.self.${part}`), [0, 0, heads, size]), perm);
    const query = headsOf('query', [0, 2, 1, 3]);
    const key = headsOf('key', [0, 2, 3, 1]);
    const value = headsOf('value', [0, 2, 1, 3]);
    const scores = g.mul(g.matmul(query, key), g.scalar(1 / Math.sqrt(size)));
    const mixed = g.matmul(g.softmax(g.add(scores, mask)), value);
    const rows = g.reshape(g.transpose(mixed, [0, 2, 1, 3]), [0, 0, heads * size]);
    const attended = this.#linear(rows, `${at}attention.output.dense`);
    const middle = this.#norm(g.add(attended, x), `${at}attention.output.LayerNorm`);
    const wide = this.#activate(this.#linear(middle, `${at}intermediate.dense`));
    return this.#norm(g.add(this.#linear(wide, `${at}output.dense`), middle), `${at}output.LayerNorm`);
  }

  #activate(x: string): string {
    const name = String(this.#config.hidden_act ?? 'gelu');
    const activation = ACTIVATIONS[name];
    if (!activation) throw this.#fault('hidden_act', Object.keys(ACTIVATIONS).join(', '), name);
    return activation(this.#g, x);
  }

  #linear(x: string, name: string): string {
    const weight = this.#g.initializer(`${name}.weight`, transposeTensor(this.#tensor(`${name}.weight`)));
    return this.#g.add(this.#g.matmul(x, weight), this.#g.initializer(`${name}.bias`, this.#tensor(`${name}.bias`)));
  }

  #norm(x: string, name: string): string {
    const parameter = (wanted: string, old: string): string => {
      const found = this.#weights.has(`${name}.${wanted}`) ? wanted : old;
      return this.#g.initializer(`${name}.${wanted}`, this.#tensor(`${name}.${found}`));
    };
    const inputs = [x, parameter('weight', 'gamma'), parameter('bias', 'beta')];
    return this.#g.op('LayerNormalization', inputs, {
      axis: -1,
      epsilon: Number(this.#config.layer_norm_eps ?? 1e-12),
    });
  }

  #table(name: string): string {
    return this.#g.initializer(name, this.#tensor(name));
  }

  #tensor(name: string): Tensor {
    const found = this.#weights.get(name);
    if (!found) {
      const got = `${this.#weights.size} tensors without it`;
      throw new WinnowError('invalid_input', { where: this.#folder, expected: `a tensor ${name}`, got });
    }
    return castTensor(found, 'float32');
  }

  #number(key: string): number {
    const value = this.#config[key];
    if (typeof value !== 'number') throw this.#fault(key, 'a number', String(value));
    return value;
  }

  #fault(field: string, expected: string, got: string): WinnowError {
    return new WinnowError('invalid_input', { where: `${join(this.#folder, 'config.json')}: ${field}`, expected, got });
  }
}
