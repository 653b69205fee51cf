import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { pairsWithin } from '../../../src/registry/pair-limits.ts';
import { createLocalTokenizer } from '../../../src/tokenization/local.ts';
import { batches } from '../../../src/training/data/batches.ts';
import { openSources } from '../../../src/training/data/sources.ts';
import { peekRecipe } from '../../../src/training/run/peek.ts';
import { winnow } from '../../support/command.ts';
import { tinyData, WORDS, writeTinyModel } from '../../support/tiny-model.ts';
import { tinyDocument, tinyRecipe } from '../../support/tiny-recipe.ts';

const folder = mkdtempSync(join(tmpdir(), 'winnow-peek-test-'));
beforeAll(async () => {
  await writeTinyModel(join(folder, 'tiny'));
  tinyData(join(folder, 'lists.jsonl'), 20);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const BATCH = { batch: { queries: 2, accumulate: 2, bucketBatches: 2 } };
const loaded = (over: Record<string, unknown> = {}) => tinyRecipe(folder, { ...BATCH, ...over });

describe('a preview of a run', () => {
  it('shows the lists and ids of the first batches, as the steps take them', async () => {
    const given = loaded();
    const { batches: found } = await peekRecipe(given, 5);
    expect(found.map(({ step, microBatch, of, lists }) => [step, microBatch, of, lists.length])).toEqual([
      [1, 1, 2, 2],
      [1, 2, 2, 2],
      [2, 1, 2, 1],
    ]);
    const tokenizer = await createLocalTokenizer(join(folder, 'tiny'));
    const source = await openSources(given.recipe.data, folder, { relevance: true, teacher: false, labels: 'binary' });
    const stream = batches(source, tokenizer, {
      queries: 2,
      bucketBatches: 2,
      seed: given.recipe.seed,
      pairs: pairsWithin(given.recipe),
    });
    for (const { lists } of found) {
      const { value } = await stream.next();
      const rows = value!.rows.map((row: { ids: Int32Array }) => Array.from(row.ids));
      const ids = lists.flatMap(({ passages }) => passages.map((passage) => passage.ids));
      expect(ids).toEqual(rows.slice(0, ids.length));
    }
    await stream.return(undefined);
    await tokenizer.close();
  });

  it('says what is cut from pair and query, and how often a text stands in a list', async () => {
    const words = WORDS.join(' ');
    writeFileSync(
      join(folder, 'long.jsonl'),
      `${JSON.stringify({ query: WORDS[0], docs: [words, 'waa', 'waa'], labels: [1, 0, 0] })}\n`,
    );
    const { batches: found } = await peekRecipe(
      loaded({
        data: { train: [{ format: 'jsonl', path: 'long.jsonl' }], sampler: { mode: 'as-is' } },
        batch: { queries: 1, bucketBatches: 1 },
      }),
      1,
    );
    const [list] = found[0]!.lists;
    // [CLS] query [SEP] passage [SEP]: 40 words leave 12 of 16 places.
    expect(list!.passages.map(({ tokens, tokensCut, repeats }) => [tokens, tokensCut, repeats])).toEqual([
      [16, 28, 1],
      [5, 0, 2],
      [5, 0, 2],
    ]);
    expect(list!.queryTokensCut).toBe(0);
  });

  it.each([
    ['BCE', [1, 0.21, 0]],
    [{ name: 'LambdaLoss' }, [1, 0.21, 0]],
    ['KL', undefined],
  ] as const)('%j: targets are what the objective learns from, scores as in the file', async (objective, targets) => {
    const docs = ['waa', 'wba', 'wca'];
    const row = { query: WORDS[0], docs, labels: [1, 0.21, 0], scores: [3.1, -0.7, 1e-9] };
    writeFileSync(join(folder, 'soft.jsonl'), `${JSON.stringify(row)}\n`);
    const spec = objective === 'KL' ? 'KLDivergence' : objective;
    const { batches: found, reads } = await peekRecipe(
      loaded({
        objective: spec,
        data: { train: [{ format: 'jsonl', path: 'soft.jsonl' }], sampler: { mode: 'as-is' } },
        batch: { queries: 1, bucketBatches: 1 },
      }),
      1,
    );
    const passages = found[0]!.lists[0]!.passages;
    expect(passages.map(({ teacher }) => teacher)).toEqual([3.1, -0.7, 1e-9]);
    expect(reads.relevance ? passages.map(({ target }) => target) : undefined).toEqual(targets);
    if (!targets) expect(passages[0]).not.toHaveProperty('target');
  });
});

describe('winnow train --peek', () => {
  const recipe = (over: Record<string, unknown> = {}): string => {
    const path = join(folder, 'recipe.yaml');
    writeFileSync(path, stringify(tinyDocument({ ...BATCH, ...over })));
    return path;
  };

  it('prints a table a list', async () => {
    const { code, output, error } = await winnow('train', recipe(), '--peek', '2');
    expect([code, error]).toEqual([0, '']);
    expect(output).toMatch(/^tiny: InfoNCE reads target\n\nstep 1, micro-batch 1, list 1: w[a-t]q\ntarget {2}teacher/);
    expect(output.match(/^step /gm)).toHaveLength(2);
  });

  it('--json prints one document and nothing on standard error, old spellings included', async () => {
    // `licence` is an old spelling, which is named on standard error elsewhere.
    const old = { data: { train: [{ format: 'jsonl', path: 'lists.jsonl', licence: 'MIT' }] } };
    const { code, output, error } = await winnow('train', recipe(old), '--peek', '3', '--json');
    expect([code, error]).toEqual([0, '']);
    const { warnings, batches: found } = JSON.parse(output) as {
      warnings: string[];
      batches: { lists: unknown[] }[];
    };
    expect(found.flatMap(({ lists }) => lists)).toHaveLength(3);
    expect(warnings).toEqual([expect.stringContaining("'licence' is spelled 'license' now")]);
  });

  it.each([
    [['--json'], /--json: expected --peek or --explain beside it/],
    [['--peek', '1', '--explain'], /train: expected --explain or --peek, got both/],
    [['--peek', '0'], /--peek: expected a whole number from 1 to 10000/],
  ])('refuses %j', async (flags, message) => {
    const { code, error } = await winnow('train', recipe(), ...flags);
    expect(code).toBe(2);
    expect(error).toMatch(message);
  });
});
