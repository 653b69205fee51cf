import { z } from 'zod';
import { decimalIn } from '../util/cli-numbers.ts';
import { kebabCase } from '../util/spelling.ts';
import { Secret } from './secret.ts';

/*
 * The kinds of setting. Each takes its limits, default and help text, and accepts typed YAML from the file and text from variables and flags.
 * `kind` says in words what is accepted; help, docs and errors use the same words.
 */

/** What help and docs say about a setting, in addition to its names. */
export interface FieldMeta {
  readonly description: string;
  readonly kind: string;
  readonly secret?: true;
  /** The value names a file or folder that must exist at start. */
  readonly onDisk?: 'file' | 'folder';
  /** Values of a repeated flag are added up. */
  readonly isList?: true;
}

const SIZE = /^(\d+(?:\.\d+)?)\s*(KiB|MiB|GiB|TiB)$/;
const UNIT: Readonly<Record<string, number>> = { KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 };

/** Converts text that is a number. Other values stay as they are, so that the error can show them. */
function toNumber(value: unknown): unknown {
  return typeof value === 'string' ? (decimalIn(value) ?? value) : value;
}

/** Converts text such as `0,1` to numbers; text without a comma to one number. */
function toNumbers(value: unknown): unknown {
  const items = toList(value);
  if (!Array.isArray(items)) return toNumber(value);
  return typeof value === 'string' && !value.includes(',') ? toNumber(value) : items.map(toNumber);
}

function toBytes(value: unknown): unknown {
  const match = typeof value === 'string' ? SIZE.exec(value.trim()) : null;
  return match ? Number(match[1]) * (UNIT[match[2]!] ?? 1) : toNumber(value);
}

function toBoolean(value: unknown): unknown {
  return value === 'true' || value === '1' ? true : value === 'false' || value === '0' ? false : value;
}

function toList(value: unknown): unknown {
  if (typeof value !== 'string') return value;
  return value
    .split(',')
    .map((item) => item.trim())
    .filter(Boolean);
}

/** Groups digits by three. Not by `toLocaleString`: loading a locale takes a tenth of a second of every start. */
const words = (n: number) => String(n).replaceAll(/\B(?=(\d{3})+$)/g, ' ');

function number(schema: z.ZodNumber, read: (value: unknown) => unknown, kind: string, min: number, max: number) {
  return z.preprocess(read, schema.min(min, `expected ${kind}`).max(max, `expected ${kind}`));
}

export function integer(min: number, max: number, initial: number, description: string) {
  const kind = `an integer from ${words(min)} to ${words(max)}`;
  return number(z.int(`expected ${kind}`), toNumber, kind, min, max)
    .default(initial)
    .meta({ description, kind } satisfies FieldMeta);
}

/** Makes an integer that has no default: where it is not set, there is no such limit. */
export function optionalInteger(min: number, max: number, description: string) {
  const kind = `an integer from ${words(min)} to ${words(max)}`;
  return number(z.int(`expected ${kind}`), toNumber, kind, min, max)
    .optional()
    .meta({ description, kind } satisfies FieldMeta);
}

/** Makes an integer or several different ones. A single one stays a number, so that it is printed as it was written. */
export function integers(min: number, max: number, initial: number, description: string) {
  const kind = `an integer from ${words(min)} to ${words(max)}, or different ones such as ${min},${min + 1}`;
  const isIndex = (value: unknown) => Number.isInteger(value) && Number(value) >= min && Number(value) <= max;
  // One check for all, so that the error names the setting and shows what was typed.
  const isOneOrMore = (value: unknown) =>
    isIndex(value) ||
    (Array.isArray(value) && value.length > 0 && value.every(isIndex) && new Set(value).size === value.length);
  return z
    .preprocess(toNumbers, z.custom<number | readonly number[]>(isOneOrMore, `expected ${kind}`))
    .default(initial)
    .meta({ description, kind, isList: true } satisfies FieldMeta);
}

export function real(min: number, max: number, initial: number, description: string) {
  const kind = `a number from ${words(min)} to ${words(max)}`;
  return number(z.number(`expected ${kind}`), toNumber, kind, min, max)
    .default(initial)
    .meta({ description, kind } satisfies FieldMeta);
}

/** Makes a number of bytes; text may have a unit (`64MiB`). */
export function bytes(min: number, max: number, initial: number, description: string) {
  const kind = `bytes from ${words(min)} to ${words(max)}, or a size such as 64MiB`;
  return number(z.int(`expected ${kind}`), toBytes, kind, min, max)
    .default(initial)
    .meta({ description, kind } satisfies FieldMeta);
}

/** Makes a size that has no default: where it is not set, the server chooses one. */
export function optionalBytes(min: number, max: number, description: string) {
  const kind = `bytes from ${words(min)} to ${words(max)}, or a size such as 64MiB`;
  return number(z.int(`expected ${kind}`), toBytes, kind, min, max)
    .optional()
    .meta({ description, kind } satisfies FieldMeta);
}

/** What a toggle accepts; its flag may stand without a value. */
export const TOGGLE = 'true or false';

export function toggle(initial: boolean, description: string) {
  const kind = TOGGLE;
  return z
    .preprocess(toBoolean, z.boolean(`expected ${kind}`))
    .default(initial)
    .meta({ description, kind } satisfies FieldMeta);
}

/** Makes a toggle with a third word. */
export function toggleOr<const T extends string>(word: T, initial: boolean, description: string) {
  const kind = `true, false or ${word}`;
  return z
    .preprocess(toBoolean, z.union([z.boolean(), z.literal(word)], `expected ${kind}`))
    .default(initial)
    .meta({ description, kind } satisfies FieldMeta);
}

/** Makes a prefix of paths, empty or such as `/winnow`; a slash at its end is left out. */
export function basePath(description: string) {
  const kind = 'a path that starts with a slash, such as /winnow';
  return z
    .string(`expected ${kind}`)
    .regex(/^(\/[\w.~-]+)*\/?$/, `expected ${kind}`)
    .transform((path) => path.replace(/\/$/, ''))
    .default('')
    .meta({ description, kind } satisfies FieldMeta);
}

export function choice<const T extends readonly [string, ...string[]]>(
  values: T,
  initial: T[number],
  description: string,
) {
  const kind = `one of ${values.map(kebabCase).join(', ')}`;
  return z
    .enum(values, `expected ${kind}`)
    .default(initial as z.util.NoUndefined<T[number]>)
    .meta({ description, kind } satisfies FieldMeta);
}

/** Makes a choice that has no default: where it is not set, nothing is chosen. */
export function optionalChoice<const T extends readonly [string, ...string[]]>(values: T, description: string) {
  const kind = `one of ${values.map(kebabCase).join(', ')}`;
  return z
    .enum(values, `expected ${kind}`)
    .optional()
    .meta({ description, kind } satisfies FieldMeta);
}

export function text(initial: string, description: string, onDisk?: FieldMeta['onDisk']) {
  const kind = onDisk ? `the path of a ${onDisk}` : 'text';
  return z
    .string(`expected ${kind}`)
    .min(1, `expected ${kind}`)
    .default(initial)
    .meta({ description, kind, ...(onDisk ? { onDisk } : {}) } satisfies FieldMeta);
}

export function optionalText(description: string, onDisk?: FieldMeta['onDisk']) {
  const kind = onDisk ? `the path of a ${onDisk}` : 'text';
  return z
    .string(`expected ${kind}`)
    .optional()
    .meta({ description, kind, ...(onDisk ? { onDisk } : {}) } satisfies FieldMeta);
}

export function optionalUrl(description: string) {
  const kind = 'a URL that starts with http:// or https://';
  return z
    .url({ protocol: /^https?$/, error: `expected ${kind}` })
    .optional()
    .meta({ description, kind } satisfies FieldMeta);
}

export function secret(description: string) {
  const kind = 'text, kept secret';
  return z
    .string(`expected ${kind}`)
    .transform((value) => new Secret(value))
    .default(() => new Secret(''))
    .meta({ description, kind, secret: true } satisfies FieldMeta);
}

export function list(item: z.ZodString | z.ZodURL, kind: string, description: string, initial: readonly string[] = []) {
  return z
    .preprocess(toList, z.array(item, `expected ${kind}`))
    .default([...initial])
    .meta({ description, kind, isList: true } satisfies FieldMeta);
}

/** Reads `name=reference, name=reference`. */
function toReferences(value: unknown): unknown {
  if (typeof value !== 'string') return value;
  return Object.fromEntries(
    value
      .split(',')
      .filter((pair) => pair.trim() !== '')
      .map((pair) => {
        const mark = pair.lastIndexOf('=');
        return mark === -1 ? [pair.trim(), ''] : [pair.slice(0, mark).trim(), pair.slice(mark + 1).trim()];
      }),
  );
}

const REFERENCE = /^[A-Za-z0-9][\w.-]{0,127}([@:][A-Za-z0-9][\w.-]{0,127})?$/;

/** A model as requests name it. */
export const reference = z
  .string('expected model, model@version or model:label')
  .regex(REFERENCE, 'expected model, model@version or model:label');

/** Makes a map from names, as clients write them, to references of models. Text reads `name=reference`, separated by commas. */
export function references(description: string) {
  const kind = 'names and references, such as rerank-v3.5=minilm:stable, separated by commas';
  return z
    .preprocess(toReferences, z.record(z.string().min(1).max(512), reference, `expected ${kind}`))
    .default({})
    .meta({ description, kind } satisfies FieldMeta);
}

/** An origin as browsers send it: scheme and host, without a path. */
export const origin = z
  .string()
  .regex(/^(\*|https?:\/\/[^/\s]+)$/, 'expected an origin such as https://app.example.org, or *');

/** Host names without port. */
export const hostName = z
  .string()
  .regex(/^[\w-]+(\.[\w-]+)*$/, 'expected a host name without port, such as winnow.example.org');
