import { WinnowError } from '../../errors.ts';
import { consumers, type Graph, type Node } from '../graph.ts';
import { float32, float32View, type Tensor, transposeTensor } from '../tensor.ts';
import type { Weight } from '../weights.ts';

/*
 * The way back from a graph's weights to those of PyTorch: names and layouts of transformers' classes (5.23).
 */

/** A family's classes and names. */
interface Family {
  /** What class names begin with: `Bert` in `BertModel` and `BertForSequenceClassification`. */
  readonly stem: string;
  /** What names of the encoder's weights begin with in a model with a head. */
  readonly prefix: string;
  /** The two linear layers of a head over the first token's state, where tanh may stand between them. */
  readonly head?: { readonly dense: string; readonly out: string };
}

const POOLER = { dense: 'bert.pooler.dense', out: 'classifier' };
const IN_CLASSIFIER = { dense: 'classifier.dense', out: 'classifier.out_proj' };

/** By `model_type` of config.json. */
const FAMILIES: ReadonlyMap<string, Family> = new Map([
  ['albert', { stem: 'Albert', prefix: 'albert.', head: { dense: 'albert.pooler', out: 'classifier' } }],
  ['bert', { stem: 'Bert', prefix: 'bert.', head: POOLER }],
  ['camembert', { stem: 'Camembert', prefix: 'roberta.', head: IN_CLASSIFIER }],
  ['deberta-v2', { stem: 'DebertaV2', prefix: 'deberta.', head: { dense: 'pooler.dense', out: 'classifier' } }],
  ['distilbert', { stem: 'DistilBert', prefix: 'distilbert.' }],
  ['electra', { stem: 'Electra', prefix: 'electra.' }],
  ['modernbert', { stem: 'ModernBert', prefix: 'model.' }],
  ['mpnet', { stem: 'MPNet', prefix: 'mpnet.', head: IN_CLASSIFIER }],
  ['roberta', { stem: 'Roberta', prefix: 'roberta.', head: IN_CLASSIFIER }],
  ['xlm-roberta', { stem: 'XLMRoberta', prefix: 'roberta.', head: IN_CLASSIFIER }],
]);

/** Returns the family of a `model_type`. @throws WinnowError `invalid_input` for one whose names in PyTorch are not known. */
export function torchFamily(type: unknown, where: string): Family {
  const found = FAMILIES.get(String(type));
  if (found) return found;
  const expected = `a backbone of ${[...FAMILIES.keys()].join(', ')}, whose names in PyTorch are known`;
  throw new WinnowError('invalid_input', { where, expected, got: `model_type ${String(type).slice(0, 80)}` });
}

/** Whether a node reads a weight as [in, out], where PyTorch's linear layers have [out, in]. */
const isTransposed = ({ op, inputs, attrs }: Node, weight: string): boolean =>
  inputs[1] === weight && (op === 'MatMul' || (op === 'Gemm' && !attrs.transB));

/** DeBERTa-v2's convolution, stored as one product over neighbors, [taps · in, out]. */
const CONVOLUTION = /(^|\.)encoder\.conv\.conv\.weight$/;

/** Reorders [taps · in, out] to a convolution's [out, in, taps]. */
function tapsLast(weight: Tensor, width: number): Tensor {
  const [rows, to] = weight.dims as [number, number];
  const taps = rows / width;
  const source = float32View(weight);
  const values = new Float32Array(source.length);
  for (let o = 0; o < to; o++)
    for (let i = 0; i < width; i++)
      for (let t = 0; t < taps; t++) values[(o * width + i) * taps + t] = source[(t * width + i) * to + o]!;
  return float32([to, width, taps], values);
}

/** Returns the weights of a graph in canonical form by their names in PyTorch, in PyTorch's layout. */
export function torchWeights(graph: Graph, weights: readonly Pick<Weight, 'tensor' | 'name'>[]): Map<string, Tensor> {
  const read = consumers(graph);
  return new Map(
    weights.map(({ tensor, name }) => {
      const value = graph.initializers.get(tensor)!;
      const nodes = read.get(tensor) ?? [];
      if (value.dims.length !== 2 || !nodes.some((node) => isTransposed(node, tensor))) return [name, value] as const;
      if (CONVOLUTION.test(name)) return [name, tapsLast(value, value.dims[1]!)] as const;
      return [name, transposeTensor(value)] as const;
    }),
  );
}
