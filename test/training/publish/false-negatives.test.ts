import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { pairsWithin } from '../../../src/registry/pair-limits.ts';
import { createLocalTokenizer } from '../../../src/tokenization/local.ts';
import { skipCount } from '../../../src/training/data/list-types.ts';
import { openRaw, openSources } from '../../../src/training/data/sources.ts';
import { reportFalseNegatives } from '../../../src/training/publish/false-negatives.ts';
import { trainedModel } from '../../../src/training/publish/publish.ts';
import { train } from '../../../src/training/run/trainer.ts';
import { openRowScorer } from '../../../src/training/step/row-scorer.ts';
import { winnow } from '../../support/command.ts';
import { tinyData, writeTinyModel } from '../../support/tiny-model.ts';
import { tinyDocument, tinyRecipe } from '../../support/tiny-recipe.ts';

const folder = mkdtempSync(join(tmpdir(), 'winnow-false-test-'));
beforeAll(async () => {
  await writeTinyModel(join(folder, 'tiny'));
  tinyData(join(folder, 'lists.jsonl'), 40);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Weights hardly move, so that the model stays a bad one. */
const STILL = { optimizer: { learningRate: 1e-12 }, guards: { action: 'warn' } };
const loaded = (over: Record<string, unknown> = {}) => tinyRecipe(folder, { ...STILL, ...over });

interface Found {
  readonly query: string;
  readonly passage: string;
  readonly positive: string;
  readonly score: number;
  readonly positiveScore: number;
}

const linesOf = (file: string): Found[] =>
  readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Found);

describe('negatives above their positive', () => {
  it('are those that the published weights score higher, the most confident first', async () => {
    const given = loaded();
    const outcome = await train(given, join(folder, 'all'));
    const report = (await reportFalseNegatives(given, outcome))!;
    expect(report).toMatchObject({ negatives: 40 * 7, lists: 40, ofLists: 40, partial: false });

    // The same by hand: every list, scored one by one.
    const tokenizer = await createLocalTokenizer(join(folder, 'tiny'));
    const scorer = await openRowScorer(trainedModel(outcome.backbone, outcome), {
      padId: tokenizer.padId,
      output: outcome.backbone.logits,
    });
    const expected = new Map<string, number>();
    const source = await openSources(given.recipe.data, folder);
    for await (const { query, passages } of source.whole()) {
      const { rows } = await tokenizer.encode(query, passages, pairsWithin(given.recipe));
      const [positive, ...others] = await scorer.score(rows);
      for (const [i, score] of others.entries())
        if (score > positive!) expected.set(`${query} ${passages[i + 1]}`, score - positive!);
    }
    await scorer.close();
    await tokenizer.close();
    const found = linesOf(report.file!);
    expect(found.length).toBe(report.found);
    expect(found.map(({ query, passage }) => `${query} ${passage}`).sort()).toEqual([...expected.keys()].sort());
    const margins = found.map(({ score, positiveScore }) => score - positiveScore);
    expect(margins.every((margin, i) => i === 0 || margin <= margins[i - 1]!)).toBe(true);
    expect(margins[0]!).toBeGreaterThan(0);
  });

  it('are looked for in as many pairs as the recipe says', async () => {
    const given = loaded({ falseNegatives: 40 });
    const outcome = await train(given, join(folder, 'few'));
    expect(await reportFalseNegatives(given, outcome)).toMatchObject({ negatives: 35, lists: 5, ofLists: 40 });
    expect(await reportFalseNegatives(loaded({ falseNegatives: 0 }), outcome)).toBeUndefined();
  });

  it('are not looked for once the run is told to stop', async () => {
    const given = loaded();
    const outcome = await train(given, join(folder, 'stopped'));
    expect(await reportFalseNegatives(given, outcome, AbortSignal.abort())).toBeUndefined();
    expect(existsSync(join(folder, 'stopped', 'false-negatives.jsonl'))).toBe(false);
  });

  it('leave the lists of a source whose `drop` names the file', async () => {
    const given = loaded();
    const outcome = await train(given, join(folder, 'dropped'));
    const { file, found } = (await reportFalseNegatives(given, outcome))!;
    const train_ = [{ format: 'jsonl', path: 'lists.jsonl', drop: file }];
    const again = loaded({ data: { train: train_, sampler: { negatives: 3 } } });
    const second = await train(again, join(folder, 'second'));
    const source = await openSources(again.recipe.data, folder);
    // Pairs that stand in several lists are named once and leave all of them.
    const dropped = new Set(linesOf(file!).map(({ query, passage }) => `${query} ${passage}`));
    let left = 0;
    for await (const { query, passages, relevance } of source.whole())
      passages.forEach((text, p) => {
        left += relevance[p] === 0 && dropped.has(`${query} ${text}`) ? 1 : 0;
      });
    expect([found, left]).toEqual([dropped.size, 0]);
    const after = await reportFalseNegatives(again, second);
    expect(after?.found).toBe(0);
    expect(after).not.toHaveProperty('file');
  });

  it('winnow train says how many there are and where', async () => {
    const path = join(folder, 'recipe.yaml');
    writeFileSync(path, stringify(tinyDocument(STILL)));
    const { code, output } = await winnow('train', path, '--run', join(folder, 'cli'));
    expect(code).toBe(0);
    expect(output).toMatch(
      /^\d+ of 280 negatives in 40 of 40 training lists score above their positive: .*cli\/false-negatives.jsonl\n$/,
    );
  });
});

describe('a drop list', () => {
  const row = { query: 'q', pos: ['p'], neg: ['n', 'm'], pos_scores: [3], neg_scores: [2, 1] };
  const listOf = async (drop: string) => {
    writeFileSync(join(folder, 'one.jsonl'), `${JSON.stringify(row)}\n`);
    writeFileSync(join(folder, 'drop.jsonl'), drop);
    const data = { train: [{ format: 'jsonl', path: 'one.jsonl', drop: 'drop.jsonl' }] };
    const source = loaded({ data }).recipe.data.train[0]!;
    const raw = await openRaw(source, folder);
    const counts = skipCount();
    const lists: object[] = [];
    for await (const { passages, teacher } of raw.lists(counts)) lists.push({ passages, teacher });
    await raw.close();
    return { lists, skipped: counts.skipped() };
  };

  it('takes negatives with their scores, never positives, and other queries’ pairs stay', async () => {
    const lines = [
      { query: 'q', passage: 'n' },
      { query: 'q', passage: 'p' },
      { query: 'other', passage: 'm' },
    ];
    expect(await listOf(lines.map((line) => `${JSON.stringify(line)}\n`).join('\n'))).toEqual({
      lists: [{ passages: ['p', 'm'], teacher: [3, 1] }],
      skipped: { 'negative of the drop list': 1 },
    });
  });

  it('names the first pair that is no negative of the lists', async () => {
    const pairs = [
      { query: 'q', passage: 'n' },
      { query: 'q', passage: 'p' },
      { query: 'other', passage: 'm' },
    ];
    writeFileSync(join(folder, 'one.jsonl'), `${JSON.stringify(row)}\n`);
    writeFileSync(join(folder, 'drop.jsonl'), pairs.map((pair) => `${JSON.stringify(pair)}\n`).join(''));
    const data = { train: [{ format: 'jsonl', path: 'one.jsonl', drop: 'drop.jsonl' }] };
    const source = await openSources(loaded({ data }).recipe.data, folder);
    for await (const { notes } of source.usage(1, 100))
      expect(notes).toEqual([
        expect.stringMatching(
          /^2 of 3 pairs of the drop list are no negatives of these lists \(first: .*drop\.jsonl:2\)$/,
        ),
      ]);
  });

  it.each([
    ['{', /drop.jsonl:1: expected a JSON object/],
    ['[]', /drop.jsonl:1: expected a JSON object/],
    ['{"query":"q"}', /drop.jsonl:1: expected "passage" to be text, got nothing/],
  ])('%s is refused with its line', async (text, message) => {
    await expect(listOf(text)).rejects.toThrow(message);
  });
});
