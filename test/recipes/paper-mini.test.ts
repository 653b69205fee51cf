import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { fullCells, searchCells } from '../../src/training/grid/grid.ts';
import { readGrid } from '../../src/training/grid/grid-schema.ts';

const gridOf = (name: string) => readGrid(join(import.meta.dirname, '../../recipes/paper-mini', `${name}.yaml`));
const passagesOf = ({ batch, data, steps }: ReturnType<typeof fullCells>[number]['recipe']): number =>
  steps * batch.queries * (1 + data.sampler.negatives);

describe('recipes/paper-mini', () => {
  it('has 24 cells that differ in backbone, objective and seed only, with at least 16,000 pairs each', () => {
    const loaded = gridOf('grid');
    const cells = fullCells(loaded, new Map([['mini', { 'optimizer.learningRate': 7e-5 }]]));
    expect(cells.length).toBe(24);
    const rest = cells.map(({ recipe: { name: _n, backbone: _b, objective: _o, seed: _s, ...same } }) => same);
    expect(new Set(rest.map((recipe) => JSON.stringify(recipe))).size).toBe(1);
    for (const { recipe } of cells) expect(passagesOf(recipe)).toBeGreaterThanOrEqual(16_000);
    expect(searchCells(loaded).map(({ objective, backbone }) => [objective, backbone])).toEqual([
      ['BCE', 'MiniLM-L3'],
      ['BCE', 'MiniLM-L3'],
      ['BCE', 'MiniLM-L3'],
    ]);
  });

  it('further questions change one thing, at about the same number of passages', () => {
    const negatives = fullCells(gridOf('negatives'), new Map());
    expect(new Set(negatives.map(({ recipe }) => recipe.data.sampler.negatives))).toEqual(new Set([2, 7, 15]));
    for (const { recipe } of negatives) expect(Math.abs(passagesOf(recipe) / 16_000 - 1)).toBeLessThan(0.05);
    const teachers = fullCells(gridOf('teachers'), new Map());
    const files = teachers.map(({ recipe }) => new Set(recipe.data.train.map(({ teacher }) => teacher)).size);
    expect(new Set(files)).toEqual(new Set([1]));
    expect(new Set(teachers.map(({ recipe }) => recipe.data.train[0]!.teacher)).size).toBe(2);
  });

  it('further questions share cells with the first grid, at the rate that its search found', () => {
    const idsOf = (name: string, rate: Readonly<Record<string, unknown>>) =>
      fullCells(gridOf(name), new Map([['mini', rate]])).map(({ id }) => id);
    const first = new Set(idsOf('grid', { 'optimizer.learningRate': 7e-5 }));
    for (const question of ['negatives', 'teachers'])
      expect(idsOf(question, {}).filter((id) => first.has(id)).length).toBe(6);
  });

  it('the full grid has the 162 runs of the paper, with the data of each objective', () => {
    const loaded = gridOf('full');
    const cells = fullCells(loaded, new Map());
    expect(cells.length).toBe(162);
    expect(new Set(cells.map(({ recipe }) => recipe.steps))).toEqual(new Set([200_000]));
    const formats = new Map(cells.map(({ objective, recipe }) => [objective, recipe.data.train[0]!.format]));
    expect(Object.fromEntries(formats)).toEqual({
      BCE: 'triples',
      Hinge: 'triples',
      MarginMSE: 'teacher_tsv',
      InfoNCE: 'trec',
      DistillRankNET: 'trec',
      'ADR-MSE': 'trec',
    });
  });
});
