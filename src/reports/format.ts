/**
 * Formats a number with `digits` decimals. Exact halves go to the even digit, as Python and R print them (`toFixed` rounds them up): 5.625
 * is 5.62, 5.375 is 5.38.
 */
export function fixed(value: number, digits: number): string {
  const exactHalf = Number.isInteger(value * 2 ** (digits + 1)) && Math.abs((value * 10 ** digits) % 1) === 0.5;
  if (!exactHalf) return value.toFixed(digits);
  const below = Math.floor(value * 10 ** digits);
  return ((below % 2 === 0 ? below : below + 1) / 10 ** digits).toFixed(digits);
}

/** Formats a share of 1 without its leading zero, as tables of retrieval papers print it: `.456`. */
export const share = (value: number, digits = 3): string => fixed(value, digits).replace(/^(-?)0\./, '$1.');

/** Puts the sign of `value` before the text of its magnitude; the minus is U+2212, as wide as the plus. */
export const withSign = (value: number, magnitude: string): string => `${value < 0 ? '−' : '+'}${magnitude}`;

/** Formats a difference of two shares with its sign: `+.012`. */
export const signed = (value: number, digits = 3): string => withSign(value, share(Math.abs(value), digits));

/** Formats a share of 1 in percent: `12.3 %`. */
export const percent = (value: number, digits = 1): string => `${(100 * value).toFixed(digits)} %`;

/** Formats a relative change in percent with its sign: `+1.25 %`. */
export const signedPercent = (value: number, digits = 2): string => withSign(value, percent(Math.abs(value), digits));

/** Formats a p-value: three decimals, or two significant digits and a power of ten below .001; `n/a` for NaN. */
export function pValue(p: number): string {
  if (Number.isNaN(p)) return 'n/a';
  if (p === 0) return '< 1e-300';
  return p >= 0.001 ? share(p, 3) : p.toExponential(1);
}

/** Formats a p-value as a statement: `p = .012`, `p < 1e-300`. */
export const pStatement = (p: number): string => (p === 0 ? `p ${pValue(p)}` : `p = ${pValue(p)}`);

/** Pads to a width in UTF-16 units. Wide and combining characters are not measured: report labels have none. */
export const pad = (text: string, width: number, right: boolean): string =>
  right ? text.padStart(width) : text.padEnd(width);
