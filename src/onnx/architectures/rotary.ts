import { float32 } from '../tensor.ts';
import { type Parts, rowPositions } from './parts.ts';
import type { Settings } from './settings.ts';

/*
 * Rotary positions (Su et al. 2021): the tables of a row and what turns states by them; for decoders also the frequencies from config.json.
 * Kinds of scaling and their fields are those of `modeling_rope_utils.py` of transformers.
 */

/** What turns queries and keys. */
interface Frequencies {
  /** Radians a position, one for each pair of numbers of a head. */
  readonly each: readonly number[];
  /** Factor of cosines and sines. */
  readonly factor: number;
}

/** What a kind of scaling is computed from. */
interface Stated {
  readonly fields: Settings;
  readonly base: number;
  readonly size: number;
  /** Positions of the pretraining. */
  readonly original: number;
  readonly plain: readonly number[];
}

const SCALINGS = {
  default: ({ plain }: Stated): Frequencies => ({ each: plain, factor: 1 }),
  linear: ({ plain, fields }: Stated): Frequencies => {
    const by = required(fields, 'factor');
    return { each: plain.map((x) => x / by), factor: 1 };
  },
  llama3,
  yarn,
};

const KINDS = Object.keys(SCALINGS) as (keyof typeof SCALINGS)[];

/** Returns frequencies without scaling. */
export const plainFrequencies = (base: number, size: number): readonly number[] =>
  Array.from({ length: size / 2 }, (_, i) => base ** ((-2 * i) / size));

/** Returns a positive number of a field that must be there. */
function required(fields: Settings, field: string): number {
  if (fields.get(field) === undefined) throw fields.fault(field, 'a number above 0', 'nothing');
  return fields.positive(field, 1);
}

/** Long waves are stretched, short ones are not, those between in part (Llama 3.1). */
function llama3({ plain, fields, original }: Stated): Frequencies {
  const by = required(fields, 'factor');
  const low = required(fields, 'low_freq_factor');
  const high = required(fields, 'high_freq_factor');
  const each = plain.map((x) => {
    const turns = (original * x) / (2 * Math.PI);
    if (turns < low) return x / by;
    if (turns > high) return x;
    const share = (turns - low) / (high - low);
    return ((1 - share) * x) / by + share * x;
  });
  return { each, factor: 1 };
}

/** Between stretched and plain frequencies along a ramp, and larger attention scores (Peng et al. 2023). */
function yarn({ plain, fields, base, size, original }: Stated): Frequencies {
  const by = required(fields, 'factor');
  const slowest = fields.positive('beta_fast', 32);
  const fastest = fields.positive('beta_slow', 1);
  const at = (turns: number) => (size * Math.log(original / (turns * 2 * Math.PI))) / (2 * Math.log(base));
  const isWhole = fields.flag('truncate', true);
  const low = Math.max(isWhole ? Math.floor(at(slowest)) : at(slowest), 0);
  const top = Math.min(isWhole ? Math.ceil(at(fastest)) : at(fastest), size - 1);
  const high = top === low ? low + 0.001 : top;
  const each = plain.map((x, i) => {
    const ramp = Math.min(1, Math.max(0, (i - low) / (high - low)));
    return (x / by) * ramp + x * (1 - ramp);
  });
  return { each, factor: fields.positive('attention_factor', yarnFactor(fields, by)) };
}

function yarnFactor(fields: Settings, by: number): number {
  const scale = (weight: number) => (by <= 1 ? 1 : 0.1 * weight * Math.log(by) + 1);
  const both = ['mscale', 'mscale_all_dim'].every(
    (field) => fields.get(field) !== undefined && fields.get(field) !== 0,
  );
  return both ? scale(fields.positive('mscale', 1)) / scale(fields.positive('mscale_all_dim', 1)) : scale(1);
}

/**
 * Reads the frequencies: `rope_parameters`, or `rope_theta` and `rope_scaling` of older files.
 * @param size Width of a head.
 * @throws WinnowError `invalid_input` for kinds of scaling that depend on the length of a row, and unknown ones.
 */
function readFrequencies(settings: Settings, size: number): Frequencies {
  const fields = settings.inside('rope_scaling') ?? settings.inside('rope_parameters');
  const old = settings.positive('rope_theta', 10_000);
  const base = fields?.positive('rope_theta', old) ?? old;
  const plain = plainFrequencies(base, size);
  if (!fields) return { each: plain, factor: 1 };
  const part = fields.positive('partial_rotary_factor', settings.positive('partial_rotary_factor', 1));
  if (part !== 1) throw fields.fault('partial_rotary_factor', '1: heads that are turned as a whole', String(part));
  const named = fields.get('rope_type') === undefined ? 'type' : 'rope_type';
  const kind = fields.choice(named, KINDS, 'default');
  const original =
    settings.stated('original_max_position_embeddings') ??
    fields.stated('original_max_position_embeddings') ??
    settings.count('max_position_embeddings');
  return SCALINGS[kind]({ fields, base, size, original, plain });
}

/** Cosines and sines, [sequence, size] or what broadcasts to the states that are turned. */
export interface Tables {
  readonly cosines: string;
  readonly sines: string;
}

/** Writes the tables of a row, [sequence, size], by the frequencies of config.json. */
export function rotaryTables(parts: Parts, size: number): Tables {
  const frequencies = readFrequencies(parts.checkpoint.settings, size);
  return tablesOf(parts, 'inv_freq', rowPositions(parts), frequencies);
}

/** Writes the tables of positions [sequence]. @param name Of the initializer with the frequencies. */
export function tablesOf({ g }: Parts, name: string, positions: string, { each, factor }: Frequencies): Tables {
  const row = g.initializer(name, float32([1, each.length], each));
  const half = g.mul(g.unsqueeze(g.cast(positions, 'float32'), [1]), row);
  const angles = g.concat([half, half], 1);
  const scaled = (x: string) => (factor === 1 ? x : g.mul(x, g.scalar(factor)));
  return { cosines: scaled(g.op('Cos', [angles])), sines: scaled(g.op('Sin', [angles])) };
}

/** Turns states [..., sequence, size]. */
export function turn({ g }: Parts, states: string, { cosines, sines }: Tables, size: number): string {
  const [low, high] = g.ops('Split', [states, g.ints([size / 2, size / 2])], { axis: -1 }, 2);
  return g.add(g.mul(states, cosines), g.mul(g.concat([g.neg(high!), low!], -1), sines));
}
