import { float32, sizeOf, type Tensor } from '../../src/onnx/tensor.ts';
import { createRandom } from '../../src/util/random.ts';

/** Sizes of an encoder, by the names of config.json. */
export interface EncoderSize {
  readonly vocab_size: number;
  readonly hidden_size: number;
  readonly num_hidden_layers: number;
  readonly intermediate_size: number;
  readonly max_position_embeddings: number;
}

type Shapes = Readonly<Record<string, readonly number[]>>;

const linear = (name: string, to: number, from: number): Shapes => ({
  [`${name}.weight`]: [to, from],
  [`${name}.bias`]: [to],
});
const norm = (name: string, size: number): Shapes => ({ [`${name}.weight`]: [size], [`${name}.bias`]: [size] });

const layers = (count: number, layer: (i: number) => Shapes): Shapes =>
  Object.assign({}, ...Array.from({ length: count }, (_, i) => layer(i)));

/** Shapes of the weights of `BertForSequenceClassification` with one label, by their names in transformers. */
export function bertShapes({
  vocab_size,
  hidden_size: h,
  num_hidden_layers,
  intermediate_size: wide,
  ...rest
}: EncoderSize): Shapes {
  return {
    'bert.embeddings.word_embeddings.weight': [vocab_size, h],
    'bert.embeddings.position_embeddings.weight': [rest.max_position_embeddings, h],
    'bert.embeddings.token_type_embeddings.weight': [2, h],
    ...norm('bert.embeddings.LayerNorm', h),
    ...layers(num_hidden_layers, (i) => {
      const at = `bert.encoder.layer.${i}.`;
      return {
        ...Object.assign({}, ...['query', 'key', 'value'].map((part) => linear(`${at}attention.self.${part}`, h, h))),
        ...linear(`${at}attention.output.dense`, h, h),
        ...norm(`${at}attention.output.LayerNorm`, h),
        ...linear(`${at}intermediate.dense`, wide, h),
        ...linear(`${at}output.dense`, h, wide),
        ...norm(`${at}output.LayerNorm`, h),
      };
    }),
    ...linear('bert.pooler.dense', h, h),
    ...linear('classifier', 1, h),
  };
}

/** Shapes of the weights of `ModernBertForSequenceClassification` with one label. */
export function modernBertShapes({
  vocab_size,
  hidden_size: h,
  num_hidden_layers,
  intermediate_size: wide,
}: EncoderSize): Shapes {
  return {
    'model.embeddings.tok_embeddings.weight': [vocab_size, h],
    'model.embeddings.norm.weight': [h],
    ...layers(num_hidden_layers, (i) => {
      const at = `model.layers.${i}.`;
      return {
        ...(i === 0 ? {} : { [`${at}attn_norm.weight`]: [h] }),
        [`${at}attn.Wqkv.weight`]: [3 * h, h],
        [`${at}attn.Wo.weight`]: [h, h],
        [`${at}mlp_norm.weight`]: [h],
        [`${at}mlp.Wi.weight`]: [2 * wide, h],
        [`${at}mlp.Wo.weight`]: [h, wide],
      };
    }),
    'model.final_norm.weight': [h],
    'head.dense.weight': [h, h],
    'head.norm.weight': [h],
    ...linear('classifier', 1, h),
  };
}

const POOL = 1 << 20;
/** BERT's `initializer_range`, and a larger one for the last layer so that scores differ. */
const DEVIATION = 0.02;
const LAST = 0.5;

/** Returns random weights of these shapes. Large ones repeat one sequence of numbers, each from another place: their arithmetic is what counts. */
export function randomWeights(shapes: Shapes, seed = 7): Map<string, Tensor> {
  const random = createRandom(seed);
  const pool = Float32Array.from({ length: POOL }, () => random.normal());
  const fill = (count: number, deviation: number, center: number): Float32Array => {
    const values = new Float32Array(count);
    let at = random.below(POOL);
    for (let i = 0; i < count; i++) {
      values[i] = center + deviation * pool[at]!;
      at = at + 1 === POOL ? random.below(POOL) : at + 1;
    }
    return values;
  };
  return new Map(
    Object.entries(shapes).map(([name, dims]) => {
      const isNorm = /norm\.weight$/i.test(name);
      const deviation = name.startsWith('classifier') ? LAST : DEVIATION;
      return [name, float32(dims, fill(sizeOf(dims), deviation, isNorm ? 1 : 0))];
    }),
  );
}
