import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

/** Folder of PyTorch's numbers. */
export const FIXTURES = resolve(import.meta.dirname, '..', '..', process.env.WINNOW_FIXTURES ?? '../shared/fixtures');

/** Why tests that need the fixtures are skipped; empty if the folder exists. */
export const NO_FIXTURES = existsSync(FIXTURES)
  ? ''
  : `no folder ${process.env.WINNOW_FIXTURES ?? '../shared/fixtures'}`;

interface Parameter {
  readonly norm: number;
  readonly first8: readonly number[];
  readonly peak: readonly [number, number];
}

export interface Golden {
  readonly special_ids: { readonly pad: number };
  readonly queries: number;
  readonly inputs: {
    readonly input_ids: number[][];
    readonly attention_mask: number[][];
    readonly token_type_ids?: number[][];
  };
  readonly teacher: readonly (readonly number[])[];
  readonly logits: readonly number[];
  readonly objectives: Readonly<
    Record<
      string,
      {
        loss: number;
        dlogits: number[];
        gradient_norm: number;
        zero_gradient: string[];
        parameters: Record<string, Parameter>;
      }
    >
  >;
  readonly adamw: {
    objective: string;
    betas: number[];
    eps: number;
    weight_decay: number;
    clip_global_norm: number;
    steps: { step: number; lr: number; loss: number; gradient_norm: number }[];
    final_parameters: Record<string, Parameter>;
  };
}

export interface Family {
  readonly name: string;
  /** Exports with a head. */
  readonly exports: readonly string[];
  path(file: string): string;
  /** Maps parameters to initializers of an export. */
  mapping(file: string): readonly (readonly [string, string])[];
}

const readJson = (...parts: readonly string[]): unknown => JSON.parse(readFileSync(join(FIXTURES, ...parts), 'utf8'));

export const golden = (family: Family): Golden => readJson(family.name, 'golden.json') as Golden;

/** Families of the folder, with their exports. */
export function fixtureFamilies(): readonly Family[] {
  const folders = readdirSync(FIXTURES, { withFileTypes: true }).filter((e) => e.isDirectory());
  return folders
    .map(({ name }) => ({
      name,
      exports: readdirSync(join(FIXTURES, name))
        .filter((f) => f.endsWith('.onnx') && !f.startsWith('features-'))
        .sort(),
      path: (file: string) => join(FIXTURES, name, file),
      mapping: (file: string) => mappingOf(name, file),
    }))
    .filter((family) => family.exports.length > 0);
}

function mappingOf(family: string, file: string): readonly (readonly [string, string])[] {
  const all = readJson(family, 'mapping.json') as Record<
    string,
    { parameters?: Record<string, { tensor?: string } | string> }
  >;
  const entry = all[file]?.parameters ?? {};
  return Object.entries(entry).flatMap(([parameter, to]) => {
    const initializer = typeof to === 'string' ? to : to.tensor;
    return initializer === undefined ? [] : [[parameter, initializer] as const];
  });
}
