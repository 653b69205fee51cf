import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { stringify } from 'yaml';
import { loadConfig, printConfig } from '../../src/config/load-config.ts';
import { parseSuite } from '../../src/evaluation/suites/suite-schema.ts';
import {
  checkExperiment,
  configHash,
  parseExperiments,
  readExperiment,
} from '../../src/experiments/definitions/definition.ts';
import { fullCells, searchCells } from '../../src/training/grid/grid.ts';
import { readGrid } from '../../src/training/grid/grid-schema.ts';
import { parseRecipe } from '../../src/training/recipe/recipe.ts';

let folder = '';
const printed: string[] = [];
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'winnow-spelling-'));
  vi.spyOn(process.stderr, 'write').mockImplementation((line) => printed.push(String(line)) > 0);
});
afterAll(() => rmSync(folder, { recursive: true }));

const file = (name: string, document: unknown): string => {
  const path = join(folder, name);
  writeFileSync(path, stringify(document));
  return path;
};

const recipe = {
  name: 'r',
  backbone: 'b',
  objective: { name: 'LambdaLoss', scheme: 'ndcgLoss2++' },
  data: { train: [{ format: 'rank_llm', path: 'a.json', licence: 'MIT', teacherValue: 'rank' }] },
  validation: { data: { format: 'teacher_tsv', path: 'v.tsv' } },
  maxLength: 128,
  batch: { bucketBatches: 8 },
  optimizer: { learningRate: 0.5 },
  publish: { licence: 'MIT', maxLength: 64 },
};
const kebabRecipe = {
  name: 'r',
  backbone: 'b',
  objective: { name: 'LambdaLoss', scheme: 'ndcg-loss2++' },
  data: { train: [{ format: 'rank-llm', path: 'a.json', license: 'MIT', 'teacher-value': 'rank' }] },
  validation: { data: { format: 'teacher-tsv', path: 'v.tsv' } },
  'max-length': 128,
  batch: { 'bucket-batches': 8 },
  optimizer: { 'learning-rate': 0.5 },
  publish: { license: 'MIT', 'max-length': 64 },
};

const gridOf = (body: typeof recipe | typeof kebabRecipe, kebab: boolean) => {
  const { name: _n, backbone: _b, objective, ...shared } = body;
  return {
    name: 'g',
    recipe: shared,
    objectives: [{ sum: [{ objective, weight: 1 }] }, objective],
    backbones: [{ name: 'one', path: 'one', settings: kebab ? { 'max-query-tokens': 9 } : { maxQueryTokens: 9 } }],
    [kebab ? 'objective-settings' : 'objectiveSettings']: {
      LambdaLoss: kebab ? { 'steps-per-run': 2 } : { stepsPerRun: 2 },
    },
    search: {
      parameters: {
        [kebab ? 'optimizer.learning-rate' : 'optimizer.learningRate']: [0.1, 0.2],
        objective: [objective],
      },
    },
  };
};

const suite = {
  name: 's',
  test: 'randomisation',
  sets: [
    { name: 'a', path: 'a', firstStage: { search: { url: 'http://x', index: 'i', idField: 'f' } }, dropSelfHits: true },
  ],
  models: ['m'],
};
const kebabSuite = {
  name: 's',
  test: 'randomization',
  sets: [
    {
      name: 'a',
      path: 'a',
      'first-stage': { search: { url: 'http://x', index: 'i', 'id-field': 'f' } },
      'drop-self-hits': true,
    },
  ],
  models: ['m'],
};

const experiment = {
  name: 'e',
  mode: 'interleave',
  method: 'team_draft',
  arms: [
    { name: 'a', model: 'm' },
    { name: 'b', model: 'n' },
  ],
  control: 'a',
  metrics: [{ name: 'clicks' }],
  guardrails: [{ metric: 'latency_p95_ms', max: 1, minRequests: 3 }],
  when: { header: { 'x-own': 'v' } },
};
const kebabExperiment = {
  ...experiment,
  method: 'team-draft',
  guardrails: [{ metric: 'latency-p95-ms', max: 1, 'min-requests': 3 }],
};

const settings = { tokenization: { truncation: 'only_second', maxQueryTokens: 9 }, scoreCache: { bytes: 5 } };
const kebabSettings = {
  tokenization: { truncation: 'only-second', 'max-query-tokens': 9 },
  'score-cache': { bytes: 5 },
};

const load = (document: unknown) => loadConfig(['--models', folder, '--config', file('settings.yaml', document)], {});
const cells = (document: unknown) => {
  const grid = readGrid(file('grid.yaml', document));
  return [...searchCells(grid), ...fullCells(grid, new Map())];
};

/** Each kind of file: how it is read, the same document in the old and the documented spelling, and the lines the old one gives. */
const KINDS: readonly [string, (document: unknown) => unknown, unknown, unknown, readonly string[]][] = [
  [
    'a recipe',
    (document) => parseRecipe(document, 'recipe.yaml'),
    recipe,
    kebabRecipe,
    [
      "objective.scheme: 'ndcgLoss2++' is spelled 'ndcg-loss2++'",
      "data.train[0].format: 'rank_llm' is spelled 'rank-llm'",
      "data.train[0].licence: 'licence' is spelled 'license'",
      "validation.data.format: 'teacher_tsv' is spelled 'teacher-tsv'",
    ],
  ],
  ['a grid', cells, gridOf(recipe, false), gridOf(kebabRecipe, true), []],
  [
    'a suite',
    (document) => parseSuite(document, 'suite.yaml'),
    suite,
    kebabSuite,
    ["test: 'randomisation' is spelled 'randomization'"],
  ],
  [
    'experiments.yaml',
    (document) => parseExperiments(stringify(document), 'experiments.yaml'),
    { experiments: [experiment] },
    { experiments: [kebabExperiment] },
    [
      "experiments[0].method: 'team_draft' is spelled 'team-draft'",
      "experiments[0].guardrails[0].metric: 'latency_p95_ms' is spelled 'latency-p95-ms'",
    ],
  ],
  [
    'a settings file',
    load,
    settings,
    kebabSettings,
    ["tokenization.truncation: 'only_second' is spelled 'only-second'"],
  ],
];

describe.each(KINDS)('%s', (_kind, read, old, kebab, lines) => {
  it('says the same in kebab-case, without a word', () => {
    printed.length = 0;
    const result = read(kebab);
    expect(printed).toEqual([]);
    expect(read(old)).toEqual(result);
  });

  it('names each old spelling once', () => {
    expect(printed).toEqual(lines.map((line) => `winnow: ${line} now; the old spelling still works\n`));
    read(old);
    expect(printed).toHaveLength(lines.length);
  });
});

describe('names that decide what goes on', () => {
  it('are the same from either spelling: cells of a grid, definitions of experiments', () => {
    const ids = (document: unknown) => cells(document).map(({ id }) => id);
    expect(ids(gridOf(kebabRecipe, true))).toEqual(ids(gridOf(recipe, false)));
    const hash = (document: unknown) => configHash(parseExperiments(stringify({ experiments: [document] }), 'f')[0]!);
    expect(hash(kebabExperiment)).toBe(hash(experiment));
    expect(hash(experiment)).toBe('4bb5e80b4831');
  });
});

describe('a key in both spellings', () => {
  it.each([
    ['a recipe', () => parseRecipe({ ...recipe, 'max-length': 1 }, 'r'), /maxLength and max-length/],
    [
      'a part of a recipe',
      () => parseRecipe({ ...recipe, publish: { license: 'a', licence: 'b' } }, 'r'),
      /publish\.license.*license and licence/,
    ],
    [
      'a grid',
      () => cells({ ...gridOf(recipe, false), 'objective-settings': {} }),
      /objectiveSettings and objective-settings/,
    ],
    [
      'a suite',
      () => parseSuite({ ...suite, sets: [{ name: 'a', path: 'a', firstStage: 'bm25', 'first-stage': 'bm25' }] }, 's'),
      /firstStage and first-stage/,
    ],
    [
      'experiments.yaml',
      () =>
        parseExperiments(
          stringify({
            experiments: [
              { ...experiment, guardrails: [{ metric: 'errors', max: 1, minRequests: 1, 'min-requests': 1 }] },
            ],
          }),
          'f',
        ),
      /minRequests and min-requests/,
    ],
    [
      'a definition sent',
      () =>
        readExperiment(
          { ...experiment, guardrails: [{ metric: 'errors', max: 1, minRequests: 1, 'min-requests': 1 }] },
          'd',
        ),
      /minRequests and min-requests/,
    ],
    [
      'settings',
      () => load({ tokenization: { maxQueryTokens: 1, 'max-query-tokens': 1 } }),
      /maxQueryTokens and max-query-tokens/,
    ],
  ])('is refused by name in %s', (_kind, read, message) => {
    expect(read).toThrow(message);
  });
});

describe('unknown keys and values', () => {
  it.each([
    ['a recipe', () => parseRecipe({ ...recipe, 'max-lenght': 1 }, 'r'), /max-lenght/],
    ['snake_case in a recipe', () => parseRecipe({ ...recipe, max_length: 1 }, 'r'), /max_length/],
    ['a suite', () => parseSuite({ ...suite, 'drop-hits': 1 }, 's'), /drop-hits/],
    [
      'settings',
      () => load({ tokenization: { 'max-query-token': 1 } }),
      /tokenization\.max-query-token: expected a known setting.*did you mean tokenization\.maxQueryTokens/,
    ],
    [
      'a value of settings',
      () => load({ tokenization: { truncation: 'longest' } }),
      /expected one of longest-first, only-second, got "longest"/,
    ],
  ])('are refused as they were typed: %s', (_kind, read, message) => {
    expect(read).toThrow(message);
  });
});

describe('settings', () => {
  it('take flags and variables in either spelling', () => {
    const truncation = (argv: string[], env: Record<string, string> = {}) =>
      loadConfig(['--models', folder, ...argv], env).tokenization.truncation;
    for (const text of ['only-second', 'only_second']) {
      expect(truncation(['--tokenization-truncation', text])).toBe('only_second');
      expect(truncation([], { WINNOW_TOKENIZATION_TRUNCATION: text })).toBe('only_second');
    }
  });

  it('are printed in the documented spelling', () => {
    expect(printConfig(load(settings))).toContain('truncation: only-second');
  });
});

describe('a stored definition', () => {
  it('keeps its spelling, without a line', () => {
    printed.length = 0;
    expect(checkExperiment(readExperiment(experiment, 'd'), 'd')).toEqual(readExperiment(kebabExperiment, 'd'));
    expect(() => checkExperiment(kebabExperiment, 'd')).toThrow();
    expect(printed).toEqual([]);
  });
});

describe('a definition sent over HTTP', () => {
  it('may have either spelling, without a line', () => {
    printed.length = 0;
    expect(readExperiment(kebabExperiment, 'd')).toEqual(readExperiment(experiment, 'd'));
    expect(printed).toEqual([]);
  });
});
