import { join } from 'node:path';
import { WinnowError } from '../../errors.ts';
import { Checkpoint, readSettings } from '../architectures/checkpoint.ts';
import { readEncoderWeights } from '../architectures/encoder-weights.ts';
import { appendNormalize, appendPooling, poolingModes } from '../architectures/module-kinds.ts';
import { readModules } from '../architectures/modules.ts';
import { openLayers } from '../architectures/post-norm.ts';
import type { Tensor } from '../tensor.ts';
import { initialWeights } from './initial-weights.ts';
import { COPIED } from './names.ts';
import { familyOf } from './parts.ts';
import { INTERACTION, type InteractionSettings } from './settings.ts';

/** Seed of the head's first layer, which must not be 0 for the second one to learn. */
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
  const open = () => new Checkpoint(folder, config, new Map(weights), { isHeadless: true });
  const checkpoint = open();
  const { layers } = openLayers(checkpoint, familyOf(checkpoint));
  const { top } = settings;
  if (top > layers.length)
    throw new WinnowError('invalid_input', {
      where: 'top',
      expected: `at most ${layers.length} layers`,
      got: String(top),
    });
  const start = { form: 'cosine', top, bottom: layers.length - top } as const;
  // The query's layers are the encoder's own until they are trained.
  for (const [name, value] of initialWeights(open(), weights, start, { scale: 1, seed: SEED }))
    if (!COPIED.test(name)) weights.set(name, value);
  const own = Object.fromEntries(config.fields().map((field) => [field, config.get(field)]));
  const states = settings.states ?? layers.length;
  return { config: { ...own, [INTERACTION]: { form: 'cosine', ...settings, states } }, weights };
}
