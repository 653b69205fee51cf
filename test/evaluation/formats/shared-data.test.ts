import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { measureFor } from '../../../src/evaluation/formats/dataset.ts';
import { loadDataset } from '../../../src/evaluation/formats/load-dataset.ts';
import { evaluate } from '../../../src/evaluation/measures/evaluation.ts';
import { parseMeasure } from '../../../src/evaluation/measures/measure.ts';
import { SHARED, temporaryFolder } from './temporary-folder.ts';

const folder = temporaryFolder();
const DATA = join(SHARED, 'data');

describe.skipIf(!existsSync(DATA))('the sets of ../shared/data (needs ../shared)', () => {
  it('Cranfield: 1,400 documents, 225 queries by their place, 1 the best grade', async () => {
    const set = await loadDataset(join(DATA, 'cranfield'));
    expect(set).toMatchObject({ format: 'cranfield', name: 'cranfield' });
    expect([set.passages.size, set.queries.size, set.qrels.size]).toEqual([1400, 225, 225]);
    expect([...set.qrels.values()].reduce((n, docs) => n + docs.size, 0)).toBe(1837);
    expect(set.queries.get('1')).toMatch(/^what similarity laws must be obeyed .* aircraft \.$/);
    expect(set.queries.get('3')).toBe('what problems of heat conduction in composite slabs have been solved so far .');
    expect(set.qrels.get('1')!.get('184')).toBe(3);
    expect(set.qrels.get('1')!.get('13')).toBe(1);
    expect(new Set([...set.qrels.values()].flatMap((docs) => [...docs.values()]))).toEqual(new Set([0, 1, 2, 3, 4]));
    expect((await set.passages.texts(['1']))[0]).toMatch(
      /^experimental investigation of the aerodynamics of a wing in a slipstream \. an experimental/,
    );
    expect((await set.passages.texts(['471']))[0]).toBe('');
  });

  it('WikiQA: pairs, questions and positives as its source says', async () => {
    for (const [split, pairs, questions, positives] of [
      ['train', 8672, 873, 1040],
      ['dev', 1130, 126, 140],
      ['test', 2351, 243, 293],
    ] as const) {
      const set = await loadDataset({ path: join(DATA, 'wikiqa'), split });
      expect([set.passages.size, set.queries.size]).toEqual([pairs, questions]);
      expect([...set.qrels.values()].flatMap((docs) => [...docs.values()]).filter((g) => g === 1)).toHaveLength(
        positives,
      );
      const [qid, list] = [...set.candidates!][0]!;
      expect(list.docids[0]).toBe(`${qid}-0`);
    }
  });

  it('XQuAD: 240 paragraphs, 1,190 questions with one each', async () => {
    const set = await loadDataset(join(DATA, 'xquad-en'));
    expect([set.format, set.passages.size, set.queries.size]).toEqual(['squad', 240, 1190]);
    expect([...set.qrels.values()].every((docs) => docs.size === 1)).toBe(true);
    expect((await loadDataset(join(DATA, 'xquad-en', 'xquad.en.json'))).queries).toEqual(set.queries);
  });

  it('TREC-DL candidates find their judgements, and the rel ≥ 2 rule', async () => {
    const set = await loadDataset(join(DATA, 'trec-dl', 'BM25.dl19.top100.json'));
    expect(set).toMatchObject({ format: 'rank-llm', relevanceLevel: 2, name: 'BM25.dl19.top100' });
    expect([set.queries.size, set.qrels.size, set.candidates!.size]).toEqual([43, 43, 43]);
    const measures = ['nDCG@10', 'AP'].map((name) => measureFor(set, parseMeasure(name)));
    const { mean } = evaluate(set.qrels, set.candidates!, measures);
    expect(mean.get('nDCG@10')!.toFixed(4)).toBe('0.5058');
    expect([...mean.keys()]).toContain('AP(rel=2)');
    const [qid, list] = [...set.candidates!][0]!;
    expect((await set.passages.texts(list.docids)).every((text) => text.length > 0)).toBe(true);
    expect(set.queries.get(qid)).toBe('how long is life cycle of flea');
    await expect(loadDataset(join(DATA, 'trec-dl', 'BM25.dl22.top100.json'))).rejects.toThrow(
      'expected a file of judgements',
    );
  });

  it('WikiQA with a line missing is refused', async () => {
    const file = (name: string) => readFileSync(join(DATA, 'wikiqa', name), 'utf8');
    await folder.put({
      'dev.a.toks': file('dev.a.toks'),
      'dev.b.toks': file('dev.b.toks').split('\n').slice(1).join('\n'),
      'dev.id.txt': file('dev.id.txt'),
      'dev.sim.txt': file('dev.sim.txt'),
    });
    await expect(loadDataset({ path: folder.path, split: 'dev' })).rejects.toThrow(
      /dev\.b\.toks: expected 1130 lines.*got 1129/,
    );
  });
});
