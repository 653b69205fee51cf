/**
 * A number with `digits` decimals. Exact halves go to the even digit, as Python and R print them (`toFixed` rounds them up): 5.625 is
 * 5.62, 5.375 is 5.38.
 */
export function fixed(value: number, digits: number): string {
  const exactHalf = Number.isInteger(value * 2 ** (digits + 1)) && Math.abs((value * 10 ** digits) % 1) === 0.5;
  if (!exactHalf) return value.toFixed(digits);
  const below = Math.floor(value * 10 ** digits);
  return ((below % 2 === 0 ? below : below + 1) / 10 ** digits).toFixed(digits);
}

/** A share of 1 as tables of the field print it: `.456`. */
export const share = (value: number, digits = 3): string => fixed(value, digits).replace(/^(-?)0\./, '$1.');

/** A signed difference: `+.012`. */
export const signed = (value: number, digits = 3): string =>
  `${value < 0 ? '−' : '+'}${share(Math.abs(value), digits)}`;

/** A p-value: three decimals, or its power of ten. */
export function pValue(p: number): string {
  if (Number.isNaN(p)) return 'n/a';
  if (p === 0) return '< 1e-300';
  return p >= 0.001 ? share(p, 3) : p.toExponential(1);
}

/** Width on a terminal: what East Asian and combining characters do is left aside, report labels have none. */
export const pad = (text: string, width: number, right: boolean): string =>
  right ? text.padStart(width) : text.padEnd(width);
