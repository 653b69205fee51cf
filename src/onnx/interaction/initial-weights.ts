import { createRandom, deriveSeed } from '../../util/random.ts';
import type { Checkpoint } from '../architectures/checkpoint.ts';
import { openLayers } from '../architectures/post-norm.ts';
import { float32, type Tensor } from '../tensor.ts';
import { crossName, gateName, headName, layerName, NAMES, normName } from './names.ts';
import { familyOf } from './parts.ts';
import type { InteractionSettings } from './settings.ts';

type Weights = ReadonlyMap<string, Tensor>;

/** Deviation of new matrices; that of BERT's. */
const DEVIATION = 0.02;

interface Start {
  /** What the cosine is multiplied by. */
  readonly scale: number;
  readonly seed: number;
}

const zeros = (...dims: number[]): Tensor => float32(dims, new Float32Array(dims.reduce((a, b) => a * b, 1)));

function randomMatrix(rows: number, columns: number, seed: number, name: string): Tensor {
  const random = createRandom(deriveSeed(seed, name));
  return float32(
    [rows, columns],
    Float32Array.from({ length: rows * columns }, () => DEVIATION * random.normal()),
  );
}

/** Copies all weights whose names begin with `from` to names that begin with `to`. */
const copies = (weights: Weights, from: string, to: string): [string, Tensor][] =>
  [...weights].flatMap(([name, value]) => (name.startsWith(from) ? [[`${to}${name.slice(from.length)}`, value]] : []));

/** Gates, scale and perceptron, of which nothing is added to the cosine yet. */
function cosineWeights(hidden: number, layers: number, { scale, seed }: Start): [string, Tensor][] {
  return [
    ...Array.from({ length: layers }, (_, i): [string, Tensor] => [gateName(i), zeros(hidden)]),
    [NAMES.scale, float32([1], [scale])],
    [`${headName(0)}.weight`, randomMatrix(hidden, 2 * hidden, seed, headName(0))],
    [`${headName(0)}.bias`, zeros(hidden)],
    [`${headName(1)}.weight`, zeros(1, hidden)],
    [`${headName(1)}.bias`, zeros(1)],
  ];
}

/** Pooler, of the encoder where it has one, and a new classifier. */
function firstWeights(weights: Weights, pooler: string, hidden: number, { seed }: Start): [string, Tensor][] {
  const own = weights.get(`${pooler}.weight`);
  const bias = weights.get(`${pooler}.bias`);
  return [
    [`${NAMES.pooler}.weight`, own ?? randomMatrix(hidden, hidden, seed, NAMES.pooler)],
    [`${NAMES.pooler}.bias`, own && bias ? bias : zeros(hidden)],
    [`${NAMES.classifier}.weight`, randomMatrix(1, hidden, seed, NAMES.classifier)],
    [`${NAMES.classifier}.bias`, zeros(1)],
  ];
}

/**
 * Returns the weights of an untrained interaction model beside its encoder's, in PyTorch's layout: the query's layers of the top and their
 * cross-attention begin as the encoder's layers. In form cosine nothing is added to the cosine.
 * @param checkpoint of the encoder, with config.json; it is used up.
 */
export function initialWeights(
  checkpoint: Checkpoint,
  weights: Weights,
  { form, top, bottom }: Pick<InteractionSettings, 'form' | 'top' | 'bottom'>,
  begin: Start,
): Map<string, Tensor> {
  const family = familyOf(checkpoint);
  const { layers, sizes, prefix } = openLayers(checkpoint, family);
  const { names } = family;
  const own: [string, Tensor][] = [];
  for (let i = 0; i < top; i++) {
    const at = layers[bottom + i]!;
    own.push(...copies(weights, at, layerName(i)));
    const parts = { query: names.query, key: names.key, value: names.value, output: names.attended };
    for (const [part, name] of Object.entries(parts))
      own.push(...copies(weights, `${at}${name}.`, `${crossName(i)}${part}.`));
    if (form === 'first') own.push(...copies(weights, `${at}${names.middleNorm}.`, `${normName(i)}.`));
  }
  const named = [family.head.dense, `${prefix}${family.head.dense.replace(family.prefix, '')}`];
  const pooler = named.find((name) => weights.has(`${name}.weight`)) ?? '';
  own.push(
    ...(form === 'cosine'
      ? cosineWeights(sizes.hidden, top, begin)
      : firstWeights(weights, pooler, sizes.hidden, begin)),
  );
  return new Map(own);
}
