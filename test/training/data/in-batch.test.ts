import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dataSchema } from '../../../src/training/data/data-schema.ts';
import { withInBatch } from '../../../src/training/data/in-batch.ts';
import type { CandidateList } from '../../../src/training/data/list-types.ts';
import { PairSet } from '../../../src/training/data/pair-set.ts';
import { openSources } from '../../../src/training/data/sources.ts';
import { peekRecipe } from '../../../src/training/run/peek.ts';
import { train } from '../../../src/training/run/trainer.ts';
import { tinyData, writeTinyModel } from '../../support/tiny-model.ts';
import { tinyRecipe } from '../../support/tiny-recipe.ts';

const folder = mkdtempSync(join(tmpdir(), 'winnow-in-batch-'));
beforeAll(async () => {
  await writeTinyModel(join(folder, 'tiny'));
  tinyData(join(folder, 'lists.jsonl'), 40);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const lower = (text: string): string => text.toLowerCase().trim();

/** Lists over few texts and queries, so that everything collides. */
const lists = fc.array(
  fc
    .record({
      query: fc.constantFrom('q', 'Q ', 'r', 's', 't'),
      passages: fc.array(
        fc.tuple(fc.constantFrom('a', 'A', 'b', 'c', 'd', 'e', 'f'), fc.constantFrom('1', '2', '3', '4', '5')),
        { minLength: 1, maxLength: 5 },
      ),
      grades: fc.array(fc.constantFrom(0, 0.3, 1, 2), { minLength: 5, maxLength: 5 }),
      ids: fc.boolean(),
    })
    .map(
      ({ query, passages, grades, ids }): CandidateList => ({
        qid: query,
        query,
        passages: passages.map(([text]) => text),
        relevance: passages.map((_, p) => grades[p]!),
        ...(ids && { docids: passages.map(([, docid]) => docid) }),
      }),
    ),
  { minLength: 1, maxLength: 7 },
);

describe('in-batch negatives', () => {
  it('are up to n passages of other queries, relevant ones first, and none that is known, there, or drawn', () => {
    const known = new PairSet();
    known.add('q', 'b');
    known.addId('r', '3');
    fc.assert(
      fc.property(lists, fc.nat(8), fc.nat(), fc.nat(9), (step, count, seed, index) => {
        const lengthened = withInBatch(step, { count, known }, seed, index);
        expect(withInBatch(step, { count, known }, seed, index)).toEqual(lengthened);
        for (const [i, list] of step.entries()) {
          const own = list.passages.length;
          const { passages, relevance, docids } = lengthened[i]!;
          expect([passages.slice(0, own), relevance.slice(0, own)]).toEqual([list.passages, list.relevance]);
          const added = passages.slice(own);
          expect(relevance.slice(own)).toEqual(added.map(() => 0));
          expect(docids?.length).toBe(list.docids && passages.length);
          const texts = [...list.passages, ...added].map(lower);
          expect(new Set(texts.slice(own)).size).toBe(added.length);
          expect(texts.slice(0, own).filter((text) => texts.slice(own).includes(text))).toEqual([]);
          if (docids) expect(docids.slice(own).some((id, p) => docids.slice(0, own + p).includes(id))).toBe(false);
          if (lower(list.query) === 'q') expect(added.map(lower)).not.toContain('b');
          const others = step.filter((other) => lower(other.query) !== lower(list.query));
          const relevant = added.map((text) =>
            others.some((other) => other.passages.some((each, p) => each === text && other.relevance[p]! > 0)),
          );
          expect(added.length).toBeLessThanOrEqual(count);
          const idsRule = others.some((other) => other.docids);
          // Once one is taken that is relevant nowhere, no relevant one follows; an id may rule out one of two equal texts.
          if (!idsRule)
            expect(relevant.lastIndexOf(true)).toBeLessThan(
              relevant.includes(false) ? relevant.indexOf(false) : own + 8,
            );
          // Fewer than asked for only where no text is left; ids may rule out more.
          const left = others.flatMap((other) => other.passages).map(lower);
          const free = new Set(left.filter((text) => !texts.includes(text) && !known.has(list.query, text)));
          if (added.length < count && !idsRule) expect(free.size).toBe(0);
        }
      }),
    );
  });

  it('a passage that is only known by its id as relevant is not drawn', () => {
    const known = new PairSet();
    known.addId('r', '3');
    const two = [
      { qid: '1', query: 'R', passages: ['x'], relevance: [1], docids: ['1'] },
      { qid: '2', query: 's', passages: ['y', 'z'], relevance: [1, 0], docids: ['3', '4'] },
    ];
    expect(withInBatch(two, { count: 5, known }, 1, 0).map(({ passages }) => passages)).toEqual([
      ['x', 'z'],
      ['y', 'z', 'x'],
    ]);
  });

  it('scores that are labels go on as labels, those of a teacher end', () => {
    const labeled = {
      qid: '1',
      query: 'r',
      passages: ['x'],
      relevance: [0.5],
      teacher: [0.5],
      labeled: 'as given',
    } as const;
    const taught = { qid: '2', query: 's', passages: ['y'], relevance: [1], teacher: [7] };
    const [first, second] = withInBatch([labeled, taught], { count: 1, known: new PairSet() }, 1, 0);
    expect(first).toMatchObject({ passages: ['x', 'y'], relevance: [0.5, 0], teacher: [0.5, 0], labeled: 'as given' });
    expect(second).toEqual({ qid: '2', query: 's', passages: ['y', 'x'], relevance: [1, 0] });
  });
});

describe('what in-batch negatives must not be', () => {
  const write = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text);
    return name;
  };
  const knownOf = async (source: Record<string, unknown>): Promise<PairSet> => {
    const opened = await openSources(dataSchema.parse({ train: [source] }), folder);
    const pairs = new PairSet();
    await opened.addKnown(pairs).finally(() => opened.close?.());
    return pairs;
  };

  it('relevant passages of other rows of the query, and what a drop list names', async () => {
    const rows = [
      { query: 'river', positive: 'Elbe', negative: 'Alps' },
      { query: 'River', positive: 'Rhine', negative: 'Alps' },
    ];
    const path = write('rows.jsonl', rows.map((row) => JSON.stringify(row)).join('\n'));
    const drop = write('drop.jsonl', JSON.stringify({ query: 'river', passage: 'Main' }));
    const pairs = await knownOf({ format: 'jsonl', path, drop });
    expect(['elbe', 'Rhine', 'Main', 'Alps'].map((text) => pairs.has('river', text))).toEqual([
      true,
      true,
      true,
      false,
    ]);
  });

  it('passages that are judged relevant and stand in no list', async () => {
    const pairs = await knownOf({
      format: 'trec',
      path: write('run.tsv', '1\t10\t1\n1\t11\t2\n'),
      queries: write('queries.tsv', '1\triver\n'),
      collection: write('collection.tsv', '10\tElbe\n11\tAlps\n12\tRhine\n'),
      qrels: write('qrels.txt', '1 0 10 1\n1 0 12 1\n1 0 11 0\n'),
    });
    expect(pairs.has('river', 'Elbe', '10')).toBe(true);
    expect(pairs.has('river', 'Rhine', '12')).toBe(true);
    expect(pairs.has('river', 'Alps', '11')).toBe(false);
  });
});

const SAMPLER = { data: { train: [{ format: 'jsonl', path: 'lists.jsonl' }], sampler: { negatives: 2, inBatch: 4 } } };

describe('a run with in-batch negatives', () => {
  it.each(['InfoNCE', 'BCE'])('%s: is the same in micro-batches of any size, lists and losses', async (objective) => {
    const runs = [];
    for (const batch of [
      { queries: 4, accumulate: 1 },
      { queries: 2, accumulate: 2 },
      { queries: 1, accumulate: 4 },
    ]) {
      const over = { ...SAMPLER, objective, batch: { ...batch, bucketBatches: 1 }, steps: 6 };
      const loaded = tinyRecipe(folder, { ...over, optimizer: { learningRate: 0.01 } });
      const losses: number[] = [];
      const run = join(folder, `${objective}-${batch.queries}`);
      await train(loaded, run, { onStep: ({ loss }) => void losses.push(loss) });
      const { batches } = await peekRecipe(loaded, 12);
      runs.push({ losses, lists: batches.flatMap((each) => each.lists) });
    }
    const [whole, ...split] = runs;
    expect(whole!.lists.map(({ passages }) => passages.length)).toEqual(Array.from({ length: 12 }, () => 7));
    for (const { lists: found, losses } of split) {
      expect(found).toEqual(whole!.lists);
      // Weights of later steps are those of the gradients before.
      for (const [i, loss] of losses.entries()) expect(loss).toBeCloseTo(whole!.losses[i]!, 5);
    }
  });

  it.each(['Hinge', 'InfoNCE', 'LambdaLoss', 'ListNet', 'ListMLE'])(
    '%s: pairs without negatives are lists',
    async (objective) => {
      const pairs = ['waa', 'wba', 'wca', 'wda'].map((query) => ({ query, positive: `${query} wea` }));
      // Lists of one query give each other nothing: such a step has no loss, and none that is not a number.
      for (const [name, rows] of Object.entries({ pairs, alone: pairs.map((pair) => ({ ...pair, query: 'waa' })) })) {
        writeFileSync(join(folder, `${name}.jsonl`), rows.map((each) => JSON.stringify(each)).join('\n'));
        const data = { ...SAMPLER.data, train: [{ format: 'jsonl', path: `${name}.jsonl` }] };
        const loaded = tinyRecipe(folder, { objective, data, batch: { queries: 4, bucketBatches: 1 } });
        const { batches, leftOut } = await peekRecipe(loaded, 4);
        expect(leftOut).toEqual({});
        const length = name === 'pairs' ? 4 : 1;
        expect(batches[0]!.lists.map(({ passages }) => passages.length)).toEqual(pairs.map(() => length));
        const losses: number[] = [];
        await train(loaded, join(folder, `${objective}-${name}`), { onStep: ({ loss }) => void losses.push(loss) });
        expect(losses.every(Number.isFinite)).toBe(true);
      }
    },
  );

  it('goes on from a checkpoint with the same losses', async () => {
    const over = { ...SAMPLER, batch: { queries: 2, accumulate: 2, bucketBatches: 3 }, checkpoint: { every: 2 } };
    const loaded = tinyRecipe(folder, { ...over, steps: 7 });
    const whole: number[] = [];
    await train(loaded, join(folder, 'whole'), { onStep: ({ loss }) => void whole.push(loss) });
    const parts: number[] = [];
    const stop = new AbortController();
    const onStep = ({ step, loss }: { step: number; loss: number }) => {
      parts.push(loss);
      if (step === 3) stop.abort();
    };
    await train(loaded, join(folder, 'parts'), { onStep }, stop.signal);
    expect(parts).toHaveLength(3);
    await train(loaded, join(folder, 'parts'), { onStep });
    expect(parts).toEqual(whole);
  });

  it.each<[over: Record<string, unknown>, message: string]>([
    [{ objective: 'MarginMSE' }, 'expected 0 with MarginMSE'],
    [{ objective: 'DistillRankNET' }, 'expected 0 with DistillRankNET'],
    [{ objective: 'ADR-MSE' }, 'expected 0 with ADR-MSE'],
    [{ objective: 'KLDivergence' }, 'expected 0 with KLDivergence'],
    [{ objective: 'MSE' }, 'expected 0 with MSE'],
    [{ objective: { name: 'ListNet', labels: 'teacher' } }, 'expected 0 with ListNet'],
    [{ objective: { name: 'LambdaLoss', labels: 'teacher' } }, 'expected 0 with LambdaLoss'],
    [{ objective: { sum: ['BCE', 'MSE'].map((name) => ({ objective: name, weight: 1 })) } }, '0 with 1·BCE + 1·MSE'],
    [{ batch: { queries: 1, accumulate: 1 } }, 'a step of one list has no other lists'],
    [{ data: { ...SAMPLER.data, sampler: { inBatch: 2000 } } }, '1024'],
  ])('%j is refused', (over, message) => {
    const load = () => tinyRecipe(folder, { ...SAMPLER, ...over });
    expect(load).toThrow(/data\.sampler\.inBatch/);
    expect(load).toThrow(message);
  });

  it.each(['BCE', 'Hinge', 'InfoNCE', 'LambdaLoss', 'ListNet', 'ListMLE', 'PListMLE'])('%s is taken', (objective) => {
    expect(tinyRecipe(folder, { ...SAMPLER, objective }).recipe.data.sampler.inBatch).toBe(4);
  });
});
