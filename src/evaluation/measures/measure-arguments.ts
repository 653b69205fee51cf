import { WinnowError } from '../../errors.ts';
import type { Gains, MeasureParams } from './params.ts';

/** @throws WinnowError `invalid_input` that names the measure. */
export const failMeasure = (text: string, expected: string, got: string): never => {
  throw new WinnowError('invalid_input', { where: `measure ${text}`, expected, got });
};

/** Splits at commas outside braces and quotes. */
function splitArguments(text: string): string[] {
  const parts = text.match(/(?:\{[^}]*\}|'[^']*'|"[^"]*"|[^,'"{])+/g) ?? [];
  return parts.map((part) => part.trim()).filter((part) => part !== '');
}

function readGains(text: string, value: string): Gains {
  if (value === 'exp' || value === 'linear') return value;
  const gains = new Map<number, number>();
  for (const pair of value.replace(/^\{|\}$/g, '').split(',')) {
    const match = /^\s*(\d+)\s*[:=]\s*(-?\d+(?:\.\d+)?)\s*$/.exec(pair);
    if (match === null) return failMeasure(text, 'gains=exp or gains={grade:gain,…}', value);
    if (Number(match[1]) !== Number(match[2])) gains.set(Number(match[1]), Number(match[2]));
  }
  return gains.size > 0 ? gains : 'linear';
}

const DCG: Readonly<Record<string, Gains>> = { log2: 'linear', 'exp-log2': 'exp' };
const TIES: Readonly<Record<string, MeasureParams['ties']>> = {
  descending: 'descending',
  desc: 'descending',
  ascending: 'ascending',
  asc: 'ascending',
};
const SWITCH: Readonly<Record<string, boolean>> = { true: true, false: false, True: true, False: false };

function choose<T>(text: string, table: Readonly<Record<string, T>>, value: string, key: string): T {
  if (Object.hasOwn(table, value)) return table[value]!;
  return failMeasure(text, `${key} to be one of ${Object.keys(table).join(', ')}`, value);
}

function number(text: string, key: string, value: string, test: (n: number) => boolean, expected: string): number {
  const n = value === '' ? Number.NaN : Number(value);
  return test(n) ? n : failMeasure(text, `${key} to be ${expected}`, value === '' ? 'nothing' : value);
}

type Reader = (text: string, value: string) => Partial<MeasureParams>;

/** Argument name → reader of the parameters it sets. */
const READERS: Readonly<Record<string, Reader>> = {
  rel: (text, v) => ({
    rel: number(text, 'rel', v, (n) => Number.isInteger(n) && n >= 0, 'a whole number of at least 0'),
  }),
  cutoff: (text, v) => ({
    cutoff: number(text, 'cutoff', v, (n) => Number.isInteger(n) && n >= 1, 'a whole number of at least 1'),
  }),
  gains: (text, v) => ({ gains: readGains(text, v) }),
  dcg: (text, v) => ({ gains: choose(text, DCG, v, 'dcg') }),
  p: (text, v) => ({ p: number(text, 'p', v, (n) => n > 0 && n < 1, 'between 0 and 1') }),
  beta: (text, v) => ({ beta: number(text, 'beta', v, (n) => n > 0 && Number.isFinite(n), 'above 0') }),
  recall: (text, v) => ({ recall: number(text, 'recall', v, (n) => n >= 0 && n <= 1, 'between 0 and 1') }),
  max_rel: (text, v) => ({
    maxRel: number(text, 'max_rel', v, (n) => Number.isInteger(n) && n >= 1 && n <= 30, 'a whole number from 1 to 30'),
  }),
  ties: (text, v) => ({ ties: choose(text, TIES, v, 'ties') }),
  judged_only: (text, v) => ({ judgedOnly: choose(text, SWITCH, v, 'judged_only') }),
};

/**
 * Reads arguments such as `rel=2,gains={1:3}`.
 *
 * @throws WinnowError `invalid_input` for a name outside `accepts` and for a value out of range.
 */
export function readArguments(text: string, inside: string, accepts: readonly string[]): Partial<MeasureParams> {
  let params: Partial<MeasureParams> = {};
  for (const part of splitArguments(inside)) {
    const [, key = '', value = ''] = /^(\w+)\s*=\s*(.*)$/s.exec(part) ?? [];
    const reader = READERS[key];
    if (reader === undefined || !accepts.includes(key))
      return failMeasure(text, accepts.length > 0 ? `parameters among ${accepts.join(', ')}` : 'no parameters', part);
    params = { ...params, ...reader(text, value.trim().replace(/^(['"])(.*)\1$/s, '$2')) };
  }
  return params;
}
