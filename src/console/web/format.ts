/* Numbers and times as text. All functions are pure. */

const NBSP = '\u00a0';

export const count = (value: number): string => Math.round(value).toLocaleString('en-GB').replaceAll(',', '\u202f');

/** Formats with three significant digits: `0.0123`, `4.56`, `789`. */
export function figure(value: number): string {
  if (!Number.isFinite(value)) return '–';
  if (value === 0) return '0';
  if (Math.abs(value) >= 1000) return count(value);
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(6, digits)).replace('-', '−');
}

export const fixed = (value: number, digits: number): string =>
  Number.isFinite(value) ? value.toFixed(digits).replace('-', '−') : '–';

/** Formats a p-value as the command line does: three decimals, or two significant digits and a power of ten below .001. */
export function pText(p: number): string {
  if (!Number.isFinite(p)) return '–';
  if (p === 0) return '< 1e-300';
  return p >= 0.001 ? p.toFixed(3).replace(/^0/, '') : p.toExponential(1);
}

export function duration(ms: number): string {
  if (!Number.isFinite(ms)) return '–';
  return ms < 1000 ? `${ms < 10 ? ms.toFixed(1) : Math.round(ms)}${NBSP}ms` : `${figure(ms / 1000)}${NBSP}s`;
}

export function bytes(value: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let i = 0;
  let rest = value;
  while (rest >= 1000 && i < units.length - 1) {
    rest /= 1000;
    i++;
  }
  return `${i === 0 ? rest : figure(rest)}${NBSP}${units[i]}`;
}

export const percent = (share: number, digits = 1): string =>
  Number.isFinite(share) ? `${fixed(100 * share, digits)}${NBSP}%` : '–';

/** Adds a plus sign to positive numbers: `+1.2 %`. */
export const signed = (text: string): string => (/^[−–]/.test(text) || !/[1-9]/.test(text) ? text : `+${text}`);

export function moment(ms: number): string {
  return new Date(ms).toISOString().slice(0, 16).replace('T', ' ');
}

export function ago(ms: number, now: number): string {
  const seconds = Math.max(0, (now - ms) / 1000);
  const steps: readonly (readonly [number, string])[] = [
    [86_400, 'd'],
    [3600, 'h'],
    [60, 'min'],
  ];
  const step = steps.find(([size]) => seconds >= size);
  return step ? `${Math.floor(seconds / step[0])}${NBSP}${step[1]} ago` : 'just now';
}
