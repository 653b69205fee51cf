import type { z } from 'zod';
import { kebabCase, writeSpelling } from '../util/spelling.ts';
import { configSchema } from './config-schema.ts';
import type { FieldMeta } from './setting-fields.ts';

/** Names in addition to the derived ones: variable or flag → path of the setting. */
export const ALIASES: Readonly<Record<string, string>> = {
  PORT: 'server.port',
  WINNOW_MODELS: 'registry.folder',
  WINNOW_EXPERIMENTS: 'experiments.file',
  OTEL_EXPORTER_OTLP_ENDPOINT: 'telemetry.otlpEndpoint',
  '--port': 'server.port',
  '--host': 'server.host',
  '--models': 'registry.folder',
  '--model': 'registry.sources',
  '--bi-encoder': 'registry.biEncoder',
  '--pooling': 'registry.pooling',
  '--query-prefix': 'registry.queryPrefix',
  '--passage-prefix': 'registry.passagePrefix',
  '--provider': 'inference.provider',
  '--experiments': 'experiments.file',
};

/** A setting with all its names. */
export interface Setting extends FieldMeta {
  /** `section.key`, its place in the file. */
  readonly path: string;
  readonly section: string;
  readonly env: string;
  readonly flag: string;
  /** Other variables and flags. */
  readonly aliases: readonly string[];
  readonly schema: z.ZodType;
  /** `undefined` where the setting has no default. */
  readonly default: unknown;
}

const screaming = (name: string) => kebabCase(name).replaceAll('-', '_').toUpperCase();

/** Returns the prefix of the variables of a section. */
export const variablePrefix = (section: string): string => `WINNOW_${screaming(section)}_`;

/** Returns all sections without a setting, as the schema needs them. */
export const emptyTree = (): Record<string, Record<string, unknown>> =>
  Object.fromEntries(Object.keys(configSchema.shape).map((section) => [section, {}]));

/** Returns every setting with its names, in the order of the schema. Help, docs and parser use this list. */
export function settings(): readonly Setting[] {
  const defaults = configSchema.parse(emptyTree()) as Record<string, Record<string, unknown>>;
  return Object.entries(configSchema.shape).flatMap(([section, object]) =>
    Object.entries(object.shape as Record<string, z.ZodType>).map(([key, schema]) => {
      const path = `${section}.${key}`;
      return {
        ...(schema.meta() as unknown as FieldMeta),
        path,
        section,
        schema,
        env: variablePrefix(section) + screaming(key),
        flag: `--${kebabCase(section)}-${kebabCase(key)}`,
        aliases: Object.keys(ALIASES).filter((name) => ALIASES[name] === path),
        default: defaults[section]?.[key],
      };
    }),
  );
}

/** Returns a default as help and docs show it. */
export function shownDefault({ default: value, schema }: Setting): string {
  const isEmpty = typeof value === 'object' && value !== null && Object.keys(value).length === 0;
  if (value === undefined || isEmpty || String(value) === '') return 'unset';
  return String(writeSpelling(schema, value));
}
