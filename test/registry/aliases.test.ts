import { describe, expect, it } from 'vitest';
import { Aliases, lastStages, nameProblems } from '../../src/registry/aliases.ts';

const MODELS = ['minilm', 'other'];
const isModel = (name: string) => MODELS.includes(name);

describe('aliases', () => {
  const aliases = new Aliases({
    'rerank-v3.5': 'minilm:stable',
    '/models/bge': 'minilm@2',
    'bge:latest': 'other',
    'minilm:latest': 'minilm:stable',
  });

  it.each([
    ['rerank-v3.5', 'minilm:stable'],
    ['/models/bge', 'minilm@2'],
    ['bge:latest', 'other'],
    ['minilm', 'minilm'],
    ['minilm:none', 'minilm:none'],
    ['bge', 'bge'],
    // A tag of an own model may be an alias; all its other labels and versions stay its own.
    ['minilm:latest', 'minilm:stable'],
    ['minilm:canary', 'minilm:canary'],
    ['Rerank-v3.5', 'Rerank-v3.5'],
    ['__proto__', '__proto__'],
    ['', ''],
  ])('%j means %j', (name, reference) => {
    expect(aliases.canonical(name, isModel)).toBe(reference);
  });

  it('give all other names to one model, and never those of models', () => {
    const all = new Aliases({ '*': 'other', 'rerank-v3.5': 'minilm' });
    expect(['a/b', 'rerank-v3.5', 'minilm@9', 'minilm', '*'].map((name) => all.canonical(name, isModel))).toEqual([
      'other',
      'minilm',
      'minilm@9',
      'minilm',
      'other',
    ]);
    expect(all.named()).toEqual([['rerank-v3.5', 'minilm']]);
  });

  it('that have no effect are problems', () => {
    const problems = new Aliases({ minilm: 'other', x: 'absent', y: 'other' }).problems(isModel);
    expect(problems).toEqual([
      { alias: 'minilm', reason: expect.stringContaining('no effect') },
      { alias: 'x', reason: 'expected a model of the registry, got absent' },
    ]);
  });
});

describe('names of cascades', () => {
  const cascades = {
    accurate: [{ model: 'other' }, { model: 'minilm:stable' }],
    minilm: [{ model: 'other' }, { model: 'minilm' }],
    broken: [{ model: 'gone@1' }, { model: 'absent' }],
  };

  it('stand for the last stage where no cascade can run', () => {
    const aliases = new Aliases(lastStages(cascades));
    expect(aliases.canonical('accurate', isModel)).toBe('minilm:stable');
    expect(lastStages()).toEqual({});
  });

  it('are problems where they have no effect, or a stage has no model', () => {
    const aliases = new Aliases({ ...lastStages(cascades), x: 'absent' });
    expect(nameProblems(aliases, cascades, isModel)).toEqual([
      { where: 'registry.cascades.minilm', reason: expect.stringContaining('no effect') },
      { where: 'registry.cascades.broken', reason: 'expected a model of the registry, got absent' },
      { where: 'registry.aliases.x', reason: 'expected a model of the registry, got absent' },
      { where: 'registry.cascades.broken.0.model', reason: 'expected a model of the registry, got gone@1' },
    ]);
    expect(nameProblems(new Aliases(), undefined, isModel)).toEqual([]);
  });
});
