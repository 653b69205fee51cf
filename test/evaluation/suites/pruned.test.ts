import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readRun } from '../../../src/evaluation/formats/run.ts';
import { runSuite } from '../../../src/evaluation/suites/run-suite.ts';
import type { PruneSpec, ScoreRequest, SuiteModels } from '../../../src/evaluation/suites/suite-models.ts';
import { suiteReport } from '../../../src/evaluation/suites/suite-report.ts';
import { parseSuite } from '../../../src/evaluation/suites/suite-schema.ts';
import { renderMarkdown } from '../../../src/reports/markdown.ts';
import { temporaryFolder } from '../formats/temporary-folder.ts';

/** Two queries of 4 and 2 passages; a passage's score is the number in its text, and the relevant one of the first list is the third best. */
const NUMBERS = { ant: [1, 2, 3, 4], bee: [1, 2] } as const;
const folder = temporaryFolder();
const passages = Object.entries(NUMBERS).flatMap(([q, numbers]) =>
  numbers.map((n) => ({ _id: `${q}${n}`, text: `${q} ${n}` })),
);
const lines = (rows: readonly object[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join('');
await folder.put({
  'one/corpus.jsonl': lines(passages),
  'one/queries.jsonl': lines(Object.keys(NUMBERS).map((q) => ({ _id: q, text: q }))),
  'one/qrels/test.tsv': 'query-id\tcorpus-id\tscore\nant\tant2\t1\nbee\tbee2\t1\n',
});

/** A model of 10 tokens a passage; pruned, it leaves out all but the first `topN` of a list that is longer. */
function fakeModels(asked: (PruneSpec | undefined)[] = [], recalls = [0.5, 0.9]): SuiteModels {
  return {
    open: async (reference) => ({
      ...{ key: `${reference}@1`, sha256: 'x', variant: 'fp32', provider: 'cpu', training: undefined },
      ...(reference === 'plain' ? {} : { pruning: { recalls, share: 0.25 } }),
    }),
    async *score(_, __, requests: AsyncIterable<ScoreRequest>, prune) {
      asked.push(prune);
      for await (const { qid, passages: texts } of requests) {
        const scores = texts.map((text) => Number(text.split(' ')[1]));
        const least =
          prune && texts.length > prune.topN ? scores.toSorted((x, y) => y - x)[prune.topN - 1]! : -Infinity;
        const places = scores.flatMap((score, place) => (score < least ? [place] : []));
        const pruned = prune && texts.length > prune.topN ? { pruned: { places, tokens: 10 * places.length } } : {};
        yield { qid, scores, tokens: 10 * (texts.length - places.length), truncated: 0, ...pruned };
      }
    },
  };
}

const PRUNED = { model: 'm', prune: { recall: 0.9, 'top-n': 2 } };
const suite = (models: readonly unknown[], more: object = {}) => {
  const sets = [{ name: 'one', path: 'one', firstStage: 'bm25' }];
  const document = { name: 'test', depth: 5, measures: ['nDCG@10'], sets, models, ...more };
  return { folder: folder.path, suite: parseSuite(document, 'suite.yaml') };
};

async function complete(models: readonly unknown[], fakes: SuiteModels, out: string) {
  const outcome = await runSuite(suite(models), fakes, { out: join(folder.path, 'out', out) });
  if (outcome.kind !== 'complete') throw new Error('incomplete');
  return outcome.result;
}

describe('a pruned system of a suite', () => {
  it('keeps the passages that were scored, and counts what was saved', async () => {
    const asked: (PruneSpec | undefined)[] = [];
    const result = await complete(['m', PRUNED], fakeModels(asked), 'whole');
    expect(asked).toEqual([undefined, { recall: 0.9, topN: 2 }]);
    const [, whole, pruned] = result.sets[0]!.systems;
    expect([whole!.system, pruned!.system]).toEqual(['m', 'm pruned 0.9']);
    const run = await readRun(join(folder.path, 'out/whole/one/m-pruned-0.9/run.trec.gz'));
    expect(run.get('ant')!.docids.toSorted()).toEqual(['ant3', 'ant4']);
    // The list of two is not longer than top_n: it has no early scores.
    expect(pruned!.facts).toMatchObject({ tokens: 40, pruned: { passages: 2, tokens: 20, earlyTokens: 40 } });
    expect(pruned!.pruning).toMatchObject({ left: 2 / 6, fewer: 60 / (40 + 0.25 * 40), whole: 'm' });
    expect(whole!.pruning).toBeUndefined();
    const markdown = renderMarkdown(await suiteReport(result));
    expect(markdown).toContain('| one | m pruned 0.9 | 2 | .90 | 33.3 % | 1.20x | .500 | −.250 |');
    const values = JSON.parse(readFileSync(join(folder.path, 'out/whole/one/m-pruned-0.9/values.json'), 'utf8'));
    expect(values.mean['nDCG@10']).toBe(0.5);
  });

  it('is scored again where recall, top_n or the calibration change, and only then', async () => {
    const scored = async (spec: object, recalls?: number[]) => {
      const asked: (PruneSpec | undefined)[] = [];
      await complete([{ ...PRUNED, name: 'p', ...spec }], fakeModels(asked, recalls), 'again');
      return asked.length;
    };
    expect(await scored({})).toBe(1);
    expect(await scored({})).toBe(0);
    expect(await scored({ prune: { recall: 0.5, topN: 2 } })).toBe(1);
    expect(await scored({ prune: { recall: 0.5, topN: 3 } })).toBe(1);
    expect(await scored({ prune: { recall: 0.5, topN: 3 } }, [0.5, 0.99])).toBe(1);
  });

  it('is left out where the model is not calibrated, or not for so high a recall', async () => {
    const models = ['m', { ...PRUNED, model: 'plain' }, { ...PRUNED, name: 'high', prune: { recall: 0.99 } }];
    const { leftOut } = await complete(models, fakeModels(), 'left');
    expect(leftOut).toEqual([
      { what: 'plain pruned 0.9', reason: 'plain@1 is not calibrated for pruning its served file (npx winnow prune)' },
      { what: 'high', reason: 'm@1 is calibrated for recalls up to 0.9, got 0.99' },
    ]);
  });

  it('is no stage of a cascade or curve, which need all scores; a stage of its model is scored whole', async () => {
    const cascade = (model: string) => [PRUNED, 'n', { name: 'c', cascade: [{ model, keep: 2 }, { model: 'n' }] }];
    expect(() => suite(cascade('m pruned 0.9'))).toThrow(
      'models.2.cascade.0.model: expected a system without prune, got m pruned 0.9',
    );
    const curves = [{ stages: ['first-stage', 'm pruned 0.9'], keep: [1, 2] }];
    expect(() => suite([PRUNED, 'n'], { curves })).toThrow('curves.0.stages.1: expected one of n, got m pruned 0.9');
    const asked: (PruneSpec | undefined)[] = [];
    const result = await complete(cascade('m'), fakeModels(asked), 'stage');
    expect(asked.filter((prune) => prune === undefined)).toHaveLength(2);
    expect(result.sets[0]!.systems.map(({ system }) => system)).toEqual(['first-stage', 'm pruned 0.9', 'n', 'c']);
  });

  it.each([
    [{ recall: 1 }, /prune\.recall/],
    [{ recall: 0 }, /prune\.recall/],
    [{ topN: 5 }, /prune\.recall/],
    [{ recall: 0.9, topN: 0 }, /prune\.topN/],
    [{ recall: 0.9, keep: 3 }, /keep/],
  ])('refuses prune: %j', (prune, fault) => {
    expect(() => suite([{ model: 'm', prune }])).toThrow(fault);
  });
});
