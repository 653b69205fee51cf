import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Bm25Index } from '../../../src/evaluation/first-stage/index/bm25-index.ts';
import { buildIndex } from '../../../src/evaluation/first-stage/index/build-index.ts';
import { bm25Stage } from '../../../src/evaluation/first-stage/stages.ts';
import { loadDataset } from '../../../src/evaluation/formats/load-dataset.ts';
import { evaluate } from '../../../src/evaluation/measures/evaluation.ts';
import { parseMeasure } from '../../../src/evaluation/measures/measure.ts';
import { SHARED, temporaryFolder } from '../formats/temporary-folder.ts';

interface Reference {
  readonly mean: Readonly<Record<string, number>>;
  readonly tuned: { readonly k1: number; readonly b: number; readonly mean: Readonly<Record<string, number>> };
  readonly top10: Readonly<Record<string, readonly (readonly [string, number])[]>>;
}

const CRANFIELD = join(SHARED, 'data', 'cranfield');
const reference = JSON.parse(
  readFileSync(join(import.meta.dirname, 'vectors', 'lucene-cranfield.json'), 'utf8'),
) as Reference;
const folder = temporaryFolder();

describe.skipIf(!existsSync(CRANFIELD))('BM25 on Cranfield (needs ../shared)', () => {
  it('has the measures and scores of Lucene', async () => {
    const data = await loadDataset(CRANFIELD);
    const path = join(folder.path, 'cranfield');
    const facts = await buildIndex(path, data.passages.entries(), { batchPostings: 30_000 });
    expect(facts).toMatchObject({ passages: 1400, withTerms: 1398 });
    const index = new Bm25Index(path);
    const { k1, b, mean: tuned } = reference.tuned;
    for (const [params, expected] of [
      [{ k1: 0.9, b: 0.4, lengths: 'lucene' as const }, reference.mean],
      [{ k1, b, lengths: 'lucene' as const }, tuned],
    ] as const) {
      const run = await bm25Stage(index, params).retrieve(data.queries, 1000);
      const { mean } = evaluate(data.qrels, run, Object.keys(expected).map(parseMeasure));
      for (const [name, value] of Object.entries(expected))
        expect(Math.abs(mean.get(name)! - value)).toBeLessThan(1e-4);
    }
    for (const [qid, list] of Object.entries(reference.top10)) {
      const { docids, scores } = index.search(data.queries.get(qid)!, 10);
      expect(docids).toEqual(list.map(([docid]) => docid));
      for (const [i, [, score]] of list.entries()) expect(scores[i]).toBeCloseTo(score, 4);
    }
    index.close();
  });

  it('ranks nearly alike with exact lengths', async () => {
    const data = await loadDataset(CRANFIELD);
    const path = join(folder.path, 'exact');
    await buildIndex(path, data.passages.entries());
    const index = new Bm25Index(path);
    const run = await bm25Stage(index, { k1: 0.9, b: 0.4, lengths: 'exact' }).retrieve(data.queries, 1000);
    const { mean } = evaluate(data.qrels, run, [parseMeasure('nDCG@10')]);
    expect(Math.abs(mean.get('nDCG@10')! - reference.mean['nDCG@10']!)).toBeLessThan(0.01);
    index.close();
  });
});
