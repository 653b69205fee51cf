import { parseJson } from './parse-json.ts';

/** Holder of a number → key → the number as it is written, where `String(number)` is something else. */
const SOURCES = new WeakMap<object, Map<string, string>>();

/** What JavaScript may print otherwise than it is written: many digits, zeros at the end or after the point, an exponent, −0. */
const CHANGED = /[[:,]\s*-?(?:[\d.]{16}|\d+\.\d*0(?!\d)|0\.00000|\d+(?:\.\d+)?[eE]|(?<=-)0)/;

function keepSource(this: object, key: string, value: unknown, context?: { readonly source?: string }): unknown {
  const source = context?.source;
  if (typeof value !== 'number' || source === undefined || source === String(value)) return value;
  const sources = SOURCES.get(this) ?? new Map<string, string>();
  SOURCES.set(this, sources.set(key, source));
  return value;
}

/**
 * Parses JSON and remembers how its numbers are written, for `sourceOf`. Numbers above 2^53 are ids as a rule (tweets, snowflakes), and
 * doubles round them to those of other documents.
 */
export function parseExact(text: string): unknown {
  return CHANGED.test(text) ? parseJson(text, keepSource) : parseJson(text);
}

/** Returns the number at `key` of an object or array from `parseExact` as it is written. */
export const sourceOf = (holder: object, key: string, value: number): string =>
  SOURCES.get(holder)?.get(key) ?? String(value);

/** Remembers how the number at `key` of an object or array is written, or forgets it where `source` is undefined. */
export function setSource(holder: object, key: string, source: string | undefined): void {
  const sources = SOURCES.get(holder);
  if (source === undefined) sources?.delete(key);
  else SOURCES.set(holder, (sources ?? new Map<string, string>()).set(key, source));
}

/**
 * Lets a copy of an object remember the numbers of the original, which is used no more; or a list those of one that was appended to it from
 * `offset` on.
 */
export function moveSources(original: object, copy: object, offset = 0): void {
  const sources = SOURCES.get(original);
  if (!sources) return;
  if (offset === 0 && !SOURCES.has(copy)) SOURCES.set(copy, sources);
  else for (const [key, source] of sources) setSource(copy, offset > 0 ? String(Number(key) + offset) : key, source);
}

/** Whether a value from `parseExact` holds a number that JavaScript would print otherwise than it is written. */
function hasSources(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return (SOURCES.get(value)?.size ?? 0) > 0 || Object.values(value).some(hasSources);
}

/** Returns a value from `parseExact` as JSON, with its numbers as they are written. */
export function stringifyExact(value: unknown): string {
  return hasSources(value) ? exactText(value) : JSON.stringify(value);
}

function exactText(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const text = (key: string, item: unknown) =>
    typeof item === 'number' ? sourceOf(value, key, item) : exactText(item);
  if (Array.isArray(value)) return `[${value.map((item, i) => text(String(i), item)).join(',')}]`;
  const fields = Object.entries(value).filter(([, item]) => item !== undefined);
  return `{${fields.map(([key, item]) => `${JSON.stringify(key)}:${text(key, item)}`).join(',')}}`;
}

/** Tokens of JSON that matter for keys; everything else lies between them. */
const TOKENS = /"(?:[^"\\]|\\.)*"|[{}[\]:]/g;

function keysIn(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  const own = Array.isArray(value) ? 0 : Object.keys(value).length;
  return Object.values(value).reduce<number>((sum, item) => sum + keysIn(item), own);
}

/** Counts the colons outside strings. */
function keysWritten(text: string): number {
  let count = 0;
  let inside = false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 34) inside = !inside;
    else if (code === 92) i++;
    else if (code === 58 && !inside) count++;
  }
  return count;
}

/** Returns a key that an object of valid JSON has twice; `JSON.parse` keeps the last of them and drops the others. */
export function repeatedKey(text: string, value: unknown): string | undefined {
  if (keysWritten(text) === keysIn(value)) return undefined;
  const open: Set<string>[] = [];
  let last = '';
  for (const [token] of text.matchAll(TOKENS)) {
    if (token === '{' || token === '[') open.push(new Set());
    else if (token === '}' || token === ']') open.pop();
    else if (token !== ':') last = token;
    else {
      const key = parseJson(last) as string;
      if (open.at(-1)?.has(key)) return key;
      open.at(-1)?.add(key);
    }
  }
  return undefined;
}
