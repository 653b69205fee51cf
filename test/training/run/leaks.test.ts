import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { explainRecipe } from '../../../src/training/run/explanation.ts';
import { train } from '../../../src/training/run/trainer.ts';
import { writeTinyModel } from '../../support/tiny-model.ts';
import { tinyRecipe } from '../../support/tiny-recipe.ts';

const folder = mkdtempSync(join(tmpdir(), 'winnow-leaks-test-'));
const write = (name: string, rows: readonly object[]): void =>
  writeFileSync(join(folder, name), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));

beforeAll(async () => {
  await writeTinyModel(join(folder, 'tiny'));
  write('one.jsonl', [
    { query: 'waq', pos: ['waa'], neg: ['wba', 'wca'] },
    { query: 'wbq', pos: ['wba'], neg: ['waa'] },
  ]);
  write('two.jsonl', [{ query: 'wcq wdq', pos: ['wca wda'], neg: ['wea'] }]);
  // A query of the second source in other letters, and two passages of the first.
  write('dev.jsonl', [
    { query: 'WCQ   wdq ', pos: ['wfa'], neg: ['wba', 'wga'] },
    { query: 'whq', pos: ['wha'], neg: ['waa'] },
  ]);
  write('apart.jsonl', [{ query: 'wiq', pos: ['wia'], neg: ['wja'] }]);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function loaded(validation: Record<string, unknown>, data: Record<string, unknown> = {}) {
  const source = (path: string) => ({ format: 'jsonl', path, ...data });
  return tinyRecipe(folder, {
    data: { train: [source('one.jsonl'), source('two.jsonl')], sampler: { negatives: 1 } },
    validation: { data: { format: 'jsonl', path: 'dev.jsonl' }, ...validation },
    batch: { queries: 1, bucketBatches: 1 },
  });
}

async function notesOf(validation: Record<string, unknown>, run: string): Promise<string[]> {
  const notes: string[] = [];
  await train(loaded(validation), join(folder, run), { onNote: (text) => notes.push(text) });
  return notes;
}

describe('texts of the validation set in the training lists', () => {
  it('are counted before the first step, with examples', async () => {
    const notes = await notesOf({}, 'warn');
    expect(notes).toEqual([
      '1 of 2 queries of the validation set stand in the training lists: "WCQ   wdq "',
      '2 of 5 passages of the validation set stand in the training lists: "waa" …',
    ]);
  });

  it('are looked for once a run', async () => {
    await notesOf({}, 'again');
    const file = join(folder, 'again', 'leaks.json');
    const found = JSON.parse(readFileSync(file, 'utf8')) as { leaks: { queries: { examples: string[] } } };
    found.leaks.queries.examples = ['from the file'];
    writeFileSync(file, JSON.stringify(found));
    expect((await notesOf({}, 'again'))[0]).toContain('"from the file"');
  });

  it.each([
    [
      'refuse-queries',
      /validation: expected queries that do not stand in the training lists .* got 1 of 2 that do: "WCQ/,
    ],
    ['refuse', /validation: expected queries that do not stand/],
  ])('%s stops the run', async (leaks, message) => {
    const steps: number[] = [];
    const run = train(loaded({ leaks }), join(folder, leaks), { onStep: ({ step }) => steps.push(step) });
    await expect(run).rejects.toThrow(message);
    expect(steps).toEqual([]);
  });

  it('refuse counts passages too, refuse-queries does not', async () => {
    write('passages.jsonl', [{ query: 'wkq', pos: ['wka'], neg: ['waa'] }]);
    const data = { format: 'jsonl', path: 'passages.jsonl' };
    await expect(notesOf({ leaks: 'refuse', data }, 'passages')).rejects.toThrow(
      /expected passages that do not stand in the training lists .* got 1 of 2/,
    );
    expect(await notesOf({ leaks: 'refuse-queries', data }, 'queries')).toHaveLength(1);
  });

  it('are none where there are none, or where the recipe allows them', async () => {
    expect(await notesOf({ data: { format: 'jsonl', path: 'apart.jsonl' }, leaks: 'refuse' }, 'apart')).toEqual([]);
    expect(await notesOf({ leaks: 'allow' }, 'allow')).toEqual([]);
  });

  it('a run goes on when only the setting changes', async () => {
    await notesOf({ leaks: 'allow' }, 'setting');
    await expect(notesOf({ leaks: 'warn' }, 'setting')).resolves.toHaveLength(2);
  });

  it('are part of an explanation', async () => {
    const { validation } = await explainRecipe(loaded({}));
    expect(validation!.leaks).toMatchObject({ queries: { shared: 1, of: 2 }, passages: { shared: 2, of: 5 } });
  });
});
