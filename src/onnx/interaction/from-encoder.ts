import { join } from 'node:path';
import { WinnowError } from '../../errors.ts';
import { createRandom } from '../../util/random.ts';
import { Checkpoint, readSettings } from '../architectures/checkpoint.ts';
import { readEncoderWeights } from '../architectures/encoder-weights.ts';
import { appendNormalize, appendPooling, poolingModes } from '../architectures/module-kinds.ts';
import { readModules } from '../architectures/modules.ts';
import { openLayers } from '../architectures/post-norm.ts';
import { float32, sizeOf, type Tensor } from '../tensor.ts';
import { familyOf } from './parts.ts';
import { INTERACTION, type InteractionSettings } from './settings.ts';

/*
 * The start of the cosine form: cross-attention is a copy of the same layer's self-attention behind gates of 0, and the last layer of the head is 0, so
 * that scores are the cosines of the bi-encoder.
 */

/** Deviation of the head's first layer, which must not be 0 for the second one to learn. */
const HEAD_DEVIATION = 0.02;
const SEED = 1;

/**
 * Reads how a folder of sentence-transformers pools.
 * @returns undefined for a folder without modules.
 * @throws WinnowError `invalid_input` for modules that an interaction model does not have.
 */
export async function poolingIn(folder: string): Promise<InteractionSettings['pooling'] | undefined> {
  const modules = await readModules(folder, true);
  if (!modules) return undefined;
  const refuse = (got: string): never => {
    const expected = 'a Pooling of mode mean or cls, and at most a Normalize after it';
    throw new WinnowError('invalid_input', { where: join(folder, 'modules.json'), expected, got });
  };
  const [pooling, ...rest] = modules.list;
  if (pooling?.append !== appendPooling || rest.some(({ append }) => append !== appendNormalize))
    return refuse(modules.list.map(({ name }) => name).join(', '));
  const [mode, ...more] = poolingModes(pooling.settings);
  return (mode === 'mean' || mode === 'cls') && more.length === 0 ? mode : refuse([mode, ...more].join(', '));
}

/** Weights and config.json of an interaction model that was not trained. */
interface Untrained {
  readonly config: Readonly<Record<string, unknown>>;
  readonly weights: ReadonlyMap<string, Tensor>;
}

/**
 * Makes an interaction model of the cosine form from an encoder, whose cosines it gives.
 * @param folder With config.json, and weights or an ONNX file.
 * @throws WinnowError `invalid_input` for encoders of other families, and settings that do not fit.
 */
export async function startFrom(
  folder: string,
  settings: Pick<InteractionSettings, 'top' | 'pooling' | 'queryPrefix' | 'passagePrefix'> & {
    readonly states?: number | undefined;
  },
): Promise<Untrained> {
  const config = await readSettings(folder);
  const weights = await readEncoderWeights(folder);
  const checkpoint = new Checkpoint(folder, config, new Map(weights), { isHeadless: true });
  const { family, layers, sizes } = openLayers(checkpoint, familyOf(checkpoint));
  const { top } = settings;
  if (top > layers.length)
    throw new WinnowError('invalid_input', {
      where: 'top',
      expected: `at most ${layers.length} layers`,
      got: String(top),
    });
  const { query, key, value, attended } = family.names;
  for (let i = 0; i < top; i++) {
    const at = layers[layers.length - top + i]!;
    for (const [name, own] of Object.entries({ query, key, value, output: attended }))
      for (const part of ['weight', 'bias'])
        weights.set(`${INTERACTION}.${i}.cross.${name}.${part}`, weights.get(`${at}${own}.${part}`)!);
    weights.set(`${INTERACTION}.${i}.gate`, zeros([sizes.hidden]));
  }
  const random = createRandom(SEED);
  const head = Float32Array.from({ length: 2 * sizes.hidden ** 2 }, () => HEAD_DEVIATION * random.normal());
  weights.set(`${INTERACTION}.scale`, float32([1], [1]));
  weights.set(`${INTERACTION}.head.0.weight`, float32([sizes.hidden, 2 * sizes.hidden], head));
  weights.set(`${INTERACTION}.head.0.bias`, zeros([sizes.hidden]));
  weights.set(`${INTERACTION}.head.1.weight`, zeros([1, sizes.hidden]));
  weights.set(`${INTERACTION}.head.1.bias`, zeros([1]));
  const own = Object.fromEntries(config.fields().map((field) => [field, config.get(field)]));
  const states = settings.states ?? layers.length;
  return { config: { ...own, [INTERACTION]: { form: 'cosine', ...settings, states } }, weights };
}

const zeros = (dims: readonly number[]): Tensor => float32(dims, new Float32Array(sizeOf(dims)));
