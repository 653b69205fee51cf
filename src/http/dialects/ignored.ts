import { z } from 'zod';
import { isObject } from '../../util/json-files.ts';
import { isWide } from '../json/parse-in-turns.ts';

/** Fields that clients send and that change neither scores nor what an answer holds. */
const IDLE: ReadonlySet<string> = new Set([
  'api_version',
  'cache_salt',
  'client_name',
  'encoding_format',
  'id',
  'metadata',
  'outputs',
  'request_id',
  'stream',
]);

/** The most names that are returned; a body may have thousands of fields. */
const MOST = 16;

/** Whether a value asks for nothing: absent, or empty. */
const isEmpty = (value: unknown) =>
  value === null || value === undefined || value === '' || (isObject(value) && !isWide(value) && isBare(value));

function isBare(value: object): boolean {
  for (const _ in value) return false;
  return true;
}

/** Returns a schema without `nullish` and `preprocess` around it. */
function unwrapped(schema: unknown): unknown {
  if (schema instanceof z.ZodPipe) return unwrapped(schema.out);
  return schema instanceof z.ZodOptional || schema instanceof z.ZodNullable ? unwrapped(schema.unwrap()) : schema;
}

/** A name that a header may hold, as it is; any other one in quotes, without what is not printable ASCII. */
function shown(name: string): string {
  if (/^[\w.[\]*-]{1,64}$/.test(name)) return name;
  return JSON.stringify(name.slice(0, 64)).replaceAll(/[^ -~]/g, '?');
}

function* unread(schema: z.ZodObject, body: Readonly<Record<string, unknown>>, at: string): Generator<string> {
  if (isWide(body)) {
    yield `${at}*`;
    return;
  }
  for (const name of Object.keys(body)) {
    const value = body[name];
    if (isEmpty(value)) continue;
    if (Object.hasOwn(schema.shape, name)) yield* inside(schema.shape[name], value, at + name);
    else if (!IDLE.has(name)) yield shown(at + name);
  }
}

/** Yields the unread fields of a field's own objects. Lists whose members the schema leaves open are not looked at. */
function* inside(schema: unknown, value: unknown, at: string): Generator<string> {
  const known = unwrapped(schema);
  if (known instanceof z.ZodObject && isObject(value)) yield* unread(known, value, `${at}.`);
  if (known instanceof z.ZodArray && known.element instanceof z.ZodObject && Array.isArray(value))
    for (const [i, member] of value.entries())
      if (isObject(member)) yield* unread(known.element, member, `${at}[${i}].`);
}

/**
 * Returns the names of a body's fields that its dialect does not read, such as `instruction`: at most 16, each as ASCII text. Fields that
 * are null or empty ask for nothing and do not count, nor do those that can have no effect anywhere. `*` stands for the fields of an object
 * that has too many to be listed.
 */
export function ignoredFields(schema: z.ZodType, body: unknown): readonly string[] {
  if (!(schema instanceof z.ZodObject) || !isObject(body)) return [];
  const names: string[] = [];
  for (const name of unread(schema, body, '')) if (names.push(name) === MOST) break;
  return names;
}
