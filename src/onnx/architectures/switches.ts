import { isObject } from '../../util/json-files.ts';
import type { Settings } from './settings.ts';

/** Fields that make an encoder attend to earlier tokens only, or to other states. */
const DECODER_FLAGS = ['is_decoder', 'add_cross_attention'] as const;

/** Fields that change weights or positions when they hold anything. */
const CHANGES: Readonly<Record<string, string>> = {
  pruned_heads: 'no heads that are pruned when the model is loaded',
  quantization_config: 'weights in float32, float16 or bfloat16',
};

/** Refuses what changes an encoder's scores in transformers and is not in its graph. @throws WinnowError `invalid_input` with the field. */
export function checkSwitches(settings: Settings): void {
  for (const field of DECODER_FLAGS)
    if (settings.flag(field, false)) throw settings.fault(field, 'false, as of an encoder', 'true');
  for (const [field, expected] of Object.entries(CHANGES)) {
    const value = settings.get(field);
    const isEmpty = value === undefined || (isObject(value) && Object.keys(value).length === 0);
    if (!isEmpty) throw settings.fault(field, expected, JSON.stringify(value).slice(0, 80));
  }
  const scaling = settings.inside('rope_scaling');
  for (const field of ['type', 'rope_type']) scaling?.choice(field, ['default'], 'default');
}
