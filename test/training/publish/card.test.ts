import { expect, it } from 'vitest';
import { writeCard } from '../../../src/training/publish/card.ts';
import { parseRecipe } from '../../../src/training/recipe/recipe.ts';
import type { TrainingOutcome } from '../../../src/training/run/trainer.ts';

const recipe = parseRecipe(
  {
    name: 'tiny',
    backbone: 'b',
    objective: 'BCE',
    steps: 9,
    data: { train: [{ format: 'jsonl', path: 'my_lists.jsonl' }] },
  },
  'test',
);
const outcome = {
  step: 7,
  validation: { measure: 'nDCG@10', queries: 14, firstStage: 0.5, base: 0.25, tuned: 0.625 },
  files: [{ path: '/data/my_lists.jsonl', sha256: 'abc' }],
  skipped: { 'no teacher score': 3 },
} as unknown as TrainingOutcome;
const backbone = { name: 'base@1', license: undefined, data: [{ file: 'copy.jsonl', sha256: 'abc' }] };

it('a card names what was measured, the data once by content, the license and the recipe', () => {
  const { readme } = writeCard({ recipe, source: 'name: tiny\n', outcome, backbone, objective: 'BCE' });
  expect(readme).toContain(`
| nDCG@10, 14 held-out queries |  |
| --- | ---: |
| first stage | 0.5000 |
| before training | 0.2500 |
| this model | 0.6250 |
`);
  expect(readme).toContain(
    '\n| file | sha256 |\n| --- | --- |\n| my\\_lists.jsonl | abc |\n\nLeft out: 3 no teacher score.\n',
  );
  expect(readme).toContain('\nLicense: backbone: not stated; data: not stated.\n');
  expect(readme.endsWith('## Recipe\n\n```yaml\nname: tiny\n```\n')).toBe(true);
});

it('the manifest states the limit of a query where the recipe does, a preset included', () => {
  const limitOf = (more: object) => {
    const { preset, ...rest } = { preset: undefined, ...more };
    const document = { name: 'tiny', backbone: 'b', objective: 'BCE', data: recipe.data, ...rest };
    const stated = parseRecipe(preset === undefined ? document : { ...document, preset }, 'test');
    return writeCard({ recipe: stated, source: '', outcome, backbone, objective: 'BCE' }).manifest;
  };
  expect(limitOf({})).not.toHaveProperty('maxQueryTokens');
  expect(limitOf({ maxQueryTokens: 24 })).toHaveProperty('maxQueryTokens', 24);
  expect(limitOf({ preset: 'rank-distillm' })).toHaveProperty('maxQueryTokens', 32);
});

it('a card says where nothing was measured', () => {
  const { validation: _, ...blind } = outcome;
  const { readme } = writeCard({ recipe, source: '', outcome: blind, backbone, objective: 'BCE' });
  expect(readme).toContain('No validation set was given');
});
