import { z } from 'zod';

/*
 * What people type is spelled in kebab-case (`rank-llm`, `max-length`); what is stored, hashed, logged or sent over HTTP keeps the spelling
 * the schemas have. The two meet here: a typed document is rewritten into the schema's spelling before it is parsed.
 */

type Schema = z.core.$ZodType;

interface Spelling {
  /** Documented name of the field, where the schema's own name is an old spelling. */
  readonly key?: string;
  /** Documented spelling by the schema's value, where kebab-case of the value is not it. */
  readonly values?: Readonly<Record<string, string>>;
  /** Schema of a value that only the value itself decides, such as the options of a named objective. */
  readonly shapeOf?: (value: unknown) => Schema | undefined;
  /** The record's keys are dotted paths into this schema, its values lists of values for that field. */
  readonly pathsOf?: Schema;
}

const SPELLINGS = new WeakMap<Schema, Spelling>();

/** States what of a schema's spelling does not follow by rule, and returns the schema. Comes last: later methods make other schemas. */
export function spelled<S extends Schema>(schema: S, spelling: Spelling): S {
  SPELLINGS.set(schema, spelling);
  return schema;
}

/** An old spelling that was accepted. */
interface OldSpelling {
  /** Field, flag or variable it was found at. */
  readonly at: string;
  readonly old: string;
  readonly now: string;
}

/** A document in the schema's spelling, with what was found on the way. */
interface Respelled {
  readonly document: unknown;
  readonly old: readonly OldSpelling[];
  /** Keys that were given in two spellings. */
  readonly issues: readonly z.core.$ZodIssueCustom[];
}

/**
 * Returns the kebab-case spelling of a key or value: `maxLength` and `rank_llm` become `max-length` and `rank-llm`. Names that begin with a
 * capital letter (`InfoNCE`) or hold other characters stay as they are.
 */
export const kebabCase = (name: string): string =>
  /^[a-z][\w+]*$/.test(name)
    ? name.replaceAll('_', '-').replaceAll(/(?<!-)[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
    : name;

/** Returns the place of a field as people write it: `data.train[0].format`. */
export const fieldName = (path: readonly PropertyKey[]): string =>
  path.reduce<string>(
    (text, key) => (typeof key === 'number' ? `${text}[${key}]` : text ? `${text}.${String(key)}` : String(key)),
    '',
  );

/** Which way a document is rewritten: as typed → as the schema spells it, or back. */
type Direction = 'read' | 'write';

interface Walk {
  readonly direction: Direction;
  readonly old: OldSpelling[];
  readonly issues: z.core.$ZodIssueCustom[];
}

/** The parts of a schema's definition that are followed here. */
interface Definition {
  readonly type: string;
  readonly innerType?: Schema;
  readonly in?: Schema;
  readonly out?: Schema;
  readonly shape?: Shape;
  readonly element?: Schema;
  readonly valueType?: Schema;
  readonly options?: readonly Schema[];
  readonly entries?: Readonly<Record<string, unknown>>;
  readonly values?: readonly unknown[];
}

type Shape = Readonly<Record<string, Schema>>;
type Path = readonly PropertyKey[];
type Mapping = Readonly<Record<string, unknown>>;

const isMapping = (value: unknown): value is Mapping =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const definitionOf = (schema: Schema): Definition => schema._zod.def as unknown as Definition;

/** Returns the documented spelling of one of a schema's values. */
export const documentedValue = (schema: Schema, value: string): string =>
  SPELLINGS.get(schema)?.values?.[value] ?? kebabCase(value);

/** Returns the documented spelling of the key a schema stands under. */
export const documentedKey = (schema: Schema, key: string): string => SPELLINGS.get(schema)?.key ?? key;

function respellValue(schema: Schema, members: readonly unknown[], value: unknown, path: Path, walk: Walk): unknown {
  if (typeof value !== 'string') return value;
  const texts = members.filter((member) => typeof member === 'string');
  if (walk.direction === 'write') return texts.includes(value) ? documentedValue(schema, value) : value;
  const meant = texts.find((member) => documentedValue(schema, member) === value);
  if (meant !== undefined) return meant;
  if (texts.includes(value)) walk.old.push({ at: fieldName(path), old: value, now: documentedValue(schema, value) });
  return value;
}

/** The schema's key for each spelling of it. */
function keysOf(shape: Shape): ReadonlyMap<string, string> {
  const names = Object.keys(shape);
  const documented = names.map((name) => [documentedKey(shape[name]!, name), name] as const);
  return new Map([
    ...documented.map(([typed, name]) => [kebabCase(typed), name] as const),
    ...documented,
    ...names.map((name) => [name, name] as const),
  ]);
}

function respellMapping(shape: Shape, value: Mapping, path: Path, walk: Walk): Mapping {
  const keys = keysOf(shape);
  const typedAs = new Map<string, string>();
  const entries: [string, unknown][] = [];
  for (const [typed, inner] of Object.entries(value)) {
    const key = keys.get(typed);
    if (key === undefined) {
      entries.push([typed, inner]);
      continue;
    }
    const documented = documentedKey(shape[key]!, key);
    const other = typedAs.get(key);
    if (other !== undefined)
      walk.issues.push({
        code: 'custom',
        path: [...path, documented],
        input: inner,
        params: { got: `${other} and ${typed}` },
        message: `expected the key in one spelling, got ${other} and ${typed}`,
      });
    else if (walk.direction === 'read' && typed === key && documented !== key)
      walk.old.push({ at: fieldName([...path, typed]), old: typed, now: documented });
    typedAs.set(key, typed);
    const respelled = respell(shape[key]!, inner, [...path, typed], walk);
    if (other === undefined) entries.push([walk.direction === 'read' ? key : documented, respelled]);
  }
  return Object.fromEntries(entries);
}

/** Rewrites a value by the first member of a union that takes it; by the most alike one where none does. */
function respellUnion(options: readonly Schema[], value: unknown, path: Path, walk: Walk): unknown {
  const tries = options.map((schema) => {
    const own: Walk = { direction: walk.direction, old: [], issues: [] };
    const respelled = respell(schema, value, path, own);
    const fits = z.safeParse(schema, walk.direction === 'read' ? respelled : value).success;
    return { own, respelled, fits, known: knownKeys(schema, respelled) };
  });
  const chosen = tries.find(({ fits }) => fits) ?? tries.toSorted((a, b) => b.known - a.known)[0];
  if (!chosen) return value;
  walk.old.push(...chosen.own.old);
  walk.issues.push(...chosen.own.issues);
  return chosen.respelled;
}

function knownKeys(schema: Schema, value: unknown): number {
  const { shape } = definitionOf(schema);
  return shape && isMapping(value) ? Object.keys(value).filter((key) => key in shape).length : 0;
}

/** Follows a dotted path: its keys in the schema's spelling, and the schema it leads to. */
function respellPath(schema: Schema, typed: string): { readonly field: string; readonly leaf: Schema | undefined } {
  let leaf: Schema | undefined = schema;
  const field = typed.split('.').map((part) => {
    const shape: Shape = (leaf && shapeBelow(leaf)) ?? {};
    const key = keysOf(shape).get(part);
    leaf = key === undefined ? undefined : shape[key];
    return key ?? part;
  });
  return { field: field.join('.'), leaf };
}

function respellPaths(schema: Schema, value: Mapping, path: Path, walk: Walk): Mapping {
  return Object.fromEntries(
    Object.entries(value).map(([typed, values]) => {
      const { field, leaf } = respellPath(schema, typed);
      const each = (inner: unknown, i: number) => (leaf ? respell(leaf, inner, [...path, typed, i], walk) : inner);
      return [field, Array.isArray(values) ? values.map(each) : values];
    }),
  );
}

/** The schema inside wrappers that change no spelling: optional, default, pipe and the like. */
function unwrapped(schema: Schema): Schema | undefined {
  const { type, in: input, out, innerType } = definitionOf(schema);
  if (type !== 'pipe') return innerType;
  return input && definitionOf(input).type === 'transform' ? out : input;
}

function shapeBelow(schema: Schema): Shape | undefined {
  const inner = unwrapped(schema);
  return definitionOf(schema).shape ?? (inner && shapeBelow(inner));
}

function respell(schema: Schema, value: unknown, path: Path, walk: Walk): unknown {
  const own = SPELLINGS.get(schema);
  const decided = own?.shapeOf?.(value);
  if (decided) return respell(decided, value, path, walk);
  if (own?.pathsOf && isMapping(value)) return respellPaths(own.pathsOf, value, path, walk);
  const { type, shape, element, valueType, options, entries, values } = definitionOf(schema);
  if (type === 'enum') return respellValue(schema, Object.values(entries ?? {}), value, path, walk);
  if (type === 'literal') return respellValue(schema, values ?? [], value, path, walk);
  if (type === 'union') return respellUnion(options ?? [], value, path, walk);
  if (shape && isMapping(value)) return respellMapping(shape, value, path, walk);
  if (element && Array.isArray(value)) return value.map((item, i) => respell(element, item, [...path, i], walk));
  if (valueType && isMapping(value))
    return Object.fromEntries(
      Object.entries(value).map(([key, inner]) => [key, respell(valueType, inner, [...path, key], walk)]),
    );
  const inner = unwrapped(schema);
  return inner ? respell(inner, value, path, walk) : value;
}

/** Returns a typed document in the spelling of its schema, with the old spellings in it; `warnOfOld` prints them. */
export function readSpelling(schema: Schema, document: unknown, path: Path = []): Respelled {
  const walk: Walk = { direction: 'read', old: [], issues: [] };
  return { document: respell(schema, document, path, walk), old: walk.old, issues: walk.issues };
}

/** Returns a parsed document in the documented spelling, for text that people read and copy. */
export const writeSpelling = (schema: Schema, document: unknown): unknown =>
  respell(schema, document, [], { direction: 'write', old: [], issues: [] });

const warned = new Set<string>();

/** Prints one line on standard error for each old spelling that this process has not named yet. */
export function warnOfOld(
  spellings: readonly OldSpelling[],
  write: (line: string) => unknown = (line) => process.stderr.write(line),
): void {
  for (const { at, old, now } of spellings) {
    const key = `${old} ${now}`;
    if (warned.has(key)) continue;
    warned.add(key);
    write(`winnow: ${at ? `${at}: ` : ''}'${old}' is spelled '${now}' now; the old spelling still works\n`);
  }
}

/** Rewrites, warns of old spellings and parses; issues name fields as they were typed. */
export function parseTyped<T>(
  schema: z.ZodType<T>,
  document: unknown,
):
  | { readonly data: T; readonly issues?: undefined }
  | { readonly data?: undefined; readonly issues: readonly z.core.$ZodIssue[]; readonly document: unknown } {
  const read = readSpelling(schema, document);
  warnOfOld(read.old);
  const parsed = schema.safeParse(read.document);
  if (parsed.success && read.issues.length === 0) return { data: parsed.data };
  return { issues: [...read.issues, ...(parsed.error?.issues ?? [])], document: read.document };
}
