import { z } from 'zod';
import { documentedKey, documentedValue } from '../util/spelling.ts';
import { gridSchema } from './grid/grid-schema.ts';
import { recipeSchema } from './recipe/recipe.ts';

/** The part of JSON Schema that zod writes for recipes and grids. */
interface Node {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly properties?: Readonly<Record<string, Node>>;
  readonly items?: Node;
  readonly prefixItems?: readonly Node[];
  readonly anyOf?: readonly Node[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly required?: readonly string[];
}

const code = (value: unknown): string => `\`${typeof value === 'string' ? value : JSON.stringify(value)}\``;

function limits({ minimum, maximum, exclusiveMinimum }: Node): string {
  const low =
    exclusiveMinimum !== undefined ? `above ${exclusiveMinimum}` : minimum !== undefined ? `from ${minimum}` : '';
  const high = maximum !== undefined && maximum < Number.MAX_SAFE_INTEGER ? `to ${maximum}` : '';
  return [low, high].filter(Boolean).join(' ');
}

const TYPES: Readonly<Record<string, string>> = {
  integer: 'whole number',
  string: 'text',
  boolean: 'true or false',
  object: 'mapping',
};

/** Describes the values of a field. */
function typeOf(node: Node): string {
  if (node.anyOf) return [...new Set(node.anyOf.map(typeOf))].join(', or ');
  if (node.enum) return node.enum.map(code).join(', ');
  if (node.const !== undefined) return code(node.const);
  if (node.prefixItems) return `[${node.prefixItems.map((item) => typeOf(item)).join(', ')}]`;
  if (node.type === 'array') return `list of ${typeOf(node.items ?? {})}`;
  const name = TYPES[node.type ?? ''] ?? node.type ?? 'anything';
  return [name, limits(node)].filter(Boolean).join(' ');
}

interface Row {
  readonly field: string;
  readonly type: string;
  readonly initial: string;
  readonly meaning: string;
}

/** Returns one row per field; mappings and lists have a row of their own where they have a description. */
function rowsOf(node: Node, path: string): Row[] {
  return Object.entries(node.properties ?? {}).flatMap(([key, child]) => {
    const field = path === '' ? key : `${path}.${key}`;
    if (child.properties) {
      const head = child.description ? [{ field, type: 'mapping', initial: '', meaning: child.description }] : [];
      return [...head, ...rowsOf(child, field)];
    }
    if (child.items?.properties)
      return [
        { field: `${field}[]`, type: 'list', initial: '', meaning: child.description ?? '' },
        ...rowsOf(child.items, `${field}[]`),
      ];
    const needed = node.required?.includes(key) ?? false;
    const initial = child.default !== undefined ? code(child.default) : needed ? '**needed**' : '';
    return [{ field, type: typeOf(child), initial, meaning: child.description ?? '' }];
  });
}

const cell = (text: string): string => text.replaceAll('|', '\\|');

interface Written {
  readonly zodSchema: z.core.$ZodType;
  readonly jsonSchema: z.core.JSONSchema.BaseSchema;
}

/** Replaces keys and values in zod's JSON Schema by their documented spelling. */
function document({ zodSchema, jsonSchema }: Written): void {
  const { shape = {} } = zodSchema._zod.def as { readonly shape?: Readonly<Record<string, z.core.$ZodType>> };
  const documentedOf = <T>(value: T) => (typeof value === 'string' ? documentedValue(zodSchema, value) : value);
  if (jsonSchema.properties)
    jsonSchema.properties = Object.fromEntries(
      Object.entries(jsonSchema.properties).map(([key, inner]) => [documentedKey(shape[key]!, key), inner]),
    );
  if (!jsonSchema.enum) return;
  jsonSchema.enum = jsonSchema.enum.map(documentedOf);
  if (jsonSchema.default !== undefined) jsonSchema.default = documentedOf(jsonSchema.default);
}

/** Returns a Markdown table of all fields of a schema: name, values, default, meaning. */
function fieldsTable(schema: z.ZodType, skip: (field: string) => boolean = () => false): string {
  const root = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any', override: document }) as Node;
  const rows = rowsOf(root, '').filter(({ field }) => !skip(field));
  const lines = rows.map(
    ({ field, type, initial, meaning }) => `| \`${field}\` | ${cell(type)} | ${cell(initial)} | ${cell(meaning)} |`,
  );
  return ['| field | values | default | |', '|---|---|---|---|', ...lines].join('\n');
}

/** Returns the table of a recipe's fields; those of the data of validations are the same as of `data.train` and left out. */
export const recipeTable = (): string =>
  fieldsTable(recipeSchema, (field) => /^validation\.(sets\[\]\.)?data\./.test(field));
/** Returns the table of a grid's fields. */
export const gridTable = (): string => fieldsTable(gridSchema);

if (import.meta.main) process.stdout.write(`${recipeTable()}\n\n${gridTable()}\n`);
