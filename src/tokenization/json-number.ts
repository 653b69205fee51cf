import type { Definition } from './tokenizer-definition.ts';

/** Returns a definition from a JSON file with the scores of Unigram pieces as the Rust library reads them. */
export function withScoresAsRead(definition: Definition): Definition {
  const { model } = definition;
  if (model.type !== 'Unigram') return definition;
  const vocab = model.vocab.map(([piece, score]) => [piece, asReadByRust(score)] as const);
  return { ...definition, model: { ...model, vocab } };
}

/**
 * Returns a number as the Rust library reads it from JSON: digits as a whole number, then one multiplication or division by a power of ten.
 * With more than 15 digits that may be one unit in the last place off, which decides between segmentations of equal score.
 */
export function asReadByRust(value: number): number {
  const [, whole = '', fraction = '', exponent = '0'] =
    /^(\d+)(?:\.(\d+))?(?:e([+-]\d+))?$/.exec(String(Math.abs(value))) ?? [];
  if (whole.length + fraction.length <= 15) return value;
  const power = Number(exponent) - fraction.length;
  const digits = Number(whole + fraction);
  const read = power < 0 ? digits / Number(`1e${-power}`) : digits * Number(`1e${power}`);
  return Number.isFinite(read) && -power <= 308 ? Math.sign(value) * read : value;
}
