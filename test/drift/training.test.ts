import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { FAMILIES } from '../../src/onnx/architectures/architectures.ts';
import { FIELDS } from '../../src/training/data/sources.ts';
import { gridSchema } from '../../src/training/grid/grid-schema.ts';
import { createObjective, OBJECTIVES } from '../../src/training/objectives/catalog.ts';
import { PRESETS } from '../../src/training/recipe/presets.ts';
import { parseRecipe } from '../../src/training/recipe/recipe.ts';
import { gridTable, recipeTable } from '../../src/training/recipe-help.ts';
import { kebabCase, parseTyped } from '../../src/util/spelling.ts';

const page = (name: string): string => readFileSync(join(import.meta.dirname, '..', '..', 'docs', name), 'utf8');
const yamlIn = (text: string): Record<string, unknown>[] =>
  [...text.matchAll(/```yaml\n([\s\S]*?)```/g)].map((match) => parse(match[1]!));

describe('docs/training-reference.md', () => {
  const text = page('training-reference.md');

  it('lists every field of recipes and grids (npx node src/training/recipe-help.ts prints the tables)', () => {
    expect(text).toContain(recipeTable());
    expect(text).toContain(gridTable());
  });

  it('names every preset', () => {
    for (const preset of Object.keys(PRESETS)) expect(text).toContain(`preset: ${preset}`);
  });
});

describe('docs/training-data.md', () => {
  it('names every format', () => {
    const text = page('training-data.md');
    for (const format of Object.keys(FIELDS)) expect(text).toContain(`| \`${kebabCase(format)}\` |`);
  });
});

describe('docs/training.md', () => {
  const text = page('training.md');

  it('its examples are a recipe and a grid', () => {
    const [recipe, grid, ...rest] = yamlIn(text);
    expect(rest).toEqual([]);
    expect(parseRecipe(recipe, 'docs').objective).toBe('InfoNCE');
    expect(parseTyped(gridSchema, grid).data?.objectives.length).toBe(6);
    const { name, backbone, objective, ...shared } = parseRecipe(recipe, 'docs');
    expect([name, backbone, objective, Object.keys(shared).length > 10]).toEqual([
      'my-reranker',
      'backbones/all-minilm-l6-v2',
      'InfoNCE',
      true,
    ]);
  });
});

describe('docs/gradients.md', () => {
  it('names every family that is read from safetensors', () => {
    const [, names = ''] = /pytorch_model\.bin` and no ONNX file\s+\(([^:]+):/.exec(page('gradients.md')) ?? [];
    expect(names.toLowerCase().split(', ').toSorted()).toEqual(FAMILIES.toSorted());
  });
});

describe('docs/objectives.md', () => {
  it('has a row an objective, with what it needs and its options', () => {
    const rows = new Map(
      [...page('objectives.md').matchAll(/^\| `([^`]+)` \|.*\| ([^|]*) \| ([^|]*) ?\|$/gm)].map((m) => [
        m[1]!,
        { needs: m[2]!, options: m[3]! },
      ]),
    );
    expect([...rows.keys()]).toEqual([...OBJECTIVES.keys()]);
    for (const [name, kind] of OBJECTIVES) {
      const { needs, options } = rows.get(name)!;
      const plain = createObjective(name).needs;
      expect([name, needs.includes('judgements'), needs.includes('teacher') || !plain.teacher]).toEqual([
        name,
        plain.relevance,
        true,
      ]);
      const defaults = kind.options.parse({}) as Record<string, unknown>;
      expect(options.trim()).toBe(
        Object.entries(defaults)
          .map(([key, value]) => `\`${key}\` (${typeof value === 'string' ? `\`${kebabCase(value)}\`` : value})`)
          .join(', '),
      );
    }
  });
});
