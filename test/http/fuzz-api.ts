import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { parse } from 'yaml';

/*
 * Generates requests from openapi.yaml: bodies that its schemas allow, the same with a part replaced, dropped or added, and their text with
 * bytes changed. None may cause a server error.
 */

type Schema = Readonly<Record<string, unknown>>;

export interface FuzzOperation {
  readonly name: string;
  readonly method: string;
  readonly path: string;
  readonly body: Schema | undefined;
}

interface Spec {
  readonly paths: Record<
    string,
    Record<string, { requestBody?: { content: { 'application/json': { schema: Schema } } } }>
  >;
  readonly components: { readonly schemas: Record<string, Schema> };
}

const spec = parse(readFileSync(join(import.meta.dirname, '..', '..', 'openapi.yaml'), 'utf8')) as Spec;

/** Every operation of openapi.yaml. */
export const OPERATIONS: readonly FuzzOperation[] = Object.entries(spec.paths).flatMap(([path, item]) =>
  Object.entries(item).map(([method, operation]) => ({
    name: `${method.toUpperCase()} ${path}`,
    method: method.toUpperCase(),
    path,
    body: operation.requestBody?.content['application/json'].schema,
  })),
);

/** Strings that are known to break services. */
const nasty = fc.constantFrom(
  '',
  '\u0000',
  '\ud800',
  'a\udfff',
  '\uFEFF',
  '\u202e',
  '../../etc/passwd',
  '__proto__',
  'constructor',
  'tiny@',
  '@1',
  ':stable',
  'tiny:stable',
  'tiny@1',
  '%00',
  '{{7*7}}',
  'NaN',
  '[SEP] [CLS] [PAD]',
  '𝔘𝔫𝔦𝔠𝔬𝔡𝔢',
  'a'.repeat(5000),
);

const text = fc.oneof(fc.string(), fc.string({ unit: 'binary' }), nasty);

const anything: fc.Arbitrary<unknown> = fc.oneof(
  text,
  fc.jsonValue({ maxDepth: 3 }) as fc.Arbitrary<unknown>,
  fc.constantFrom<unknown>(null, true, 0, -1, 1.5, 1e308, -0, 2 ** 53, [], {}, [[]], [null]),
);

function resolve(schema: Schema): Schema {
  const name = typeof schema.$ref === 'string' ? schema.$ref.split('/').at(-1) : undefined;
  return name ? spec.components.schemas[name]! : schema;
}

function objectOf(schema: Schema): fc.Arbitrary<unknown> {
  const properties = (schema.properties ?? {}) as Record<string, Schema>;
  const arbitraries = Object.fromEntries(Object.entries(properties).map(([name, value]) => [name, allowedBy(value)]));
  return fc.record(arbitraries, { requiredKeys: (schema.required ?? []) as string[] });
}

const BY_TYPE: Readonly<Record<string, (schema: Schema) => fc.Arbitrary<unknown>>> = {
  string: () => text,
  boolean: () => fc.boolean(),
  null: () => fc.constant(null),
  number: () => fc.double({ noNaN: true }),
  integer: ({ minimum, maximum }) =>
    fc.oneof(
      fc.integer({ min: (minimum as number) ?? -100, max: Math.min((maximum as number) ?? 100, 100) }),
      fc.maxSafeInteger(),
    ),
  array: ({ items, minItems }) =>
    fc.array(allowedBy((items ?? {}) as Schema), { minLength: (minItems as number) ?? 0, maxLength: 6 }),
  object: objectOf,
};

/** Values that a JSON schema allows, and numbers and strings just outside of it. */
function allowedBy(reference: Schema): fc.Arbitrary<unknown> {
  const schema = resolve(reference);
  if (Array.isArray(schema.anyOf)) return fc.oneof(...(schema.anyOf as Schema[]).map(allowedBy));
  if (Array.isArray(schema.enum)) return fc.constantFrom(...(schema.enum as unknown[]));
  const types = [schema.type ?? []].flat() as string[];
  return types.length === 0 ? anything : fc.oneof(...types.map((type) => BY_TYPE[type]!(schema)));
}

/** A body with one member of it, or all of it, replaced. */
function mutated(body: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  return fc.tuple(body, fc.nat(), anything, fc.boolean()).map(([value, at, replacement, drop]) => {
    if (typeof value !== 'object' || value === null) return replacement;
    const copy = structuredClone(value) as Record<string, unknown>;
    const keys = Object.keys(copy);
    const key = keys[at % (keys.length + 1)] ?? 'extra';
    if (drop) delete copy[key];
    else copy[key] = replacement;
    return copy;
  });
}

/** JSON text with some bytes overwritten, or cut off. */
function garbled(body: fc.Arbitrary<unknown>): fc.Arbitrary<Buffer> {
  return fc
    .tuple(body, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }), fc.option(fc.nat()))
    .map(([value, changes, cut]) => {
      const bytes = Buffer.from(JSON.stringify(value) ?? '');
      for (const [at, byte] of changes) if (bytes.length > 0) bytes[at % bytes.length] = byte;
      return cut === null ? bytes : bytes.subarray(0, cut % (bytes.length + 1));
    });
}

export interface FuzzRequest {
  readonly method: string;
  readonly path: string;
  readonly body: Buffer | undefined;
  readonly headers: Readonly<Record<string, string>>;
}

const headerValue = fc.string({ unit: fc.integer({ min: 0x20, max: 0x7e }).map((c) => String.fromCharCode(c)) });

const headers = fc.record(
  {
    'content-type': fc.constantFrom(
      'application/json',
      'application/json',
      'text/plain',
      'application/json; charset=latin1',
    ),
    'content-encoding': fc.constantFrom('identity', 'identity', 'gzip', 'br'),
    'x-winnow-deadline-ms': fc.oneof(fc.constant('1000'), headerValue),
    'x-winnow-lane': fc.oneof(fc.constantFrom('batch', 'interactive'), headerValue),
    'x-winnow-arm': headerValue,
    'x-user-id': headerValue,
    'x-request-id': headerValue,
    traceparent: headerValue,
    origin: headerValue,
  },
  { requiredKeys: ['content-type'] },
);

const segment = fc.oneof(fc.constantFrom('tiny', 'tiny@1', 'tiny:stable', 'stable', '1'), text).map((value) =>
  // A lone surrogate has no percent encoding.
  encodeURIComponent(value.toWellFormed()),
);

/** Requests to one operation. */
export function requestsTo({ method, path, body }: FuzzOperation): fc.Arbitrary<FuzzRequest> {
  const parameters = [...path.matchAll(/\{\w+\}/g)].map(() => segment);
  const allowed = body ? allowedBy(body) : anything;
  const asJson = (values: fc.Arbitrary<unknown>) => values.map((value) => Buffer.from(JSON.stringify(value) ?? ''));
  const bodies = fc.oneof(
    { weight: 3, arbitrary: asJson(allowed) },
    { weight: 3, arbitrary: asJson(mutated(allowed)) },
    { weight: 1, arbitrary: garbled(allowed) },
    { weight: 1, arbitrary: asJson(anything) },
  );
  return fc
    .tuple(
      fc.tuple(...parameters),
      body ? bodies : fc.constant(undefined),
      fc.oneof(fc.constant({ 'content-type': 'application/json' }), headers),
    )
    .map(([values, bytes, sent]) => {
      let next = 0;
      const filled = path.replace(/\{\w+\}/g, () => values[next++] ?? '');
      return { method, path: filled || '/', body: bytes, headers: sent as Record<string, string> };
    });
}

/** Formats a request for the message of a failing test. */
export const shown = ({ method, path, body, headers: sent }: FuzzRequest) =>
  `${method} ${path} ${JSON.stringify(sent)} ${body?.toString('latin1').slice(0, 2000) ?? ''}`;

/** Texts with their lengths, some of which are wrong. */
const packedTexts = fc
  .array(
    fc.tuple(fc.string({ maxLength: 8 }), fc.oneof(fc.constant(0), fc.constant(0), fc.integer({ min: -4, max: 4 }))),
  )
  .map((texts) =>
    Buffer.concat(
      texts.flatMap(([one, error]) => {
        const bytes = Buffer.from(one);
        return [Buffer.from(Uint32Array.of(bytes.length + error).buffer), bytes];
      }),
    ),
  );

/** Usually right, sometimes another number or no number. */
const about = (right: number): fc.Arbitrary<unknown> => {
  const near = fc.integer({ min: -2, max: 2 }).map((by) => right + by);
  return fc.oneof({ weight: 6, arbitrary: fc.constant(right) }, near, fc.maxSafeInteger(), anything);
};

/** Requests to KServe's infer with texts as bytes; sizes, shapes and the length of the JSON are right or not. */
export const binaryTensors: fc.Arbitrary<FuzzRequest> = fc
  .tuple(packedTexts, packedTexts, fc.nat(5), fc.boolean(), fc.boolean())
  .chain(([first, passages, count, asBytes, one]) => {
    const query = one ? Buffer.concat([Buffer.from(Uint32Array.of(1).buffer), Buffer.from('q')]) : first;
    return fc
      .tuple(about(query.length), about(passages.length), about(count), fc.integer({ min: -3, max: 3 }))
      .map(([querySize, size, shape, shift]) => {
        const inputs = [
          { name: 'query', shape: [1], datatype: 'BYTES', parameters: { binary_data_size: querySize } },
          { name: 'passages', shape: [shape], datatype: 'BYTES', parameters: { binary_data_size: size } },
        ];
        const json = Buffer.from(JSON.stringify({ inputs, parameters: { binary_data_output: asBytes } }));
        const length = json.length + (one ? 0 : shift);
        return {
          method: 'POST',
          path: '/v2/models/tiny/infer',
          body: Buffer.concat([json, query, passages]),
          headers: { 'inference-header-content-length': String(length) },
        };
      });
  });
