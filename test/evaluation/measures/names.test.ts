import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MEASURES, type MeasureKind } from '../../../src/evaluation/measures/catalog.ts';
import { createMeasure, parseMeasure } from '../../../src/evaluation/measures/measure.ts';

describe('names round-trip', () => {
  it.each([
    'nDCG@10',
    'nDCG',
    'nDCG(gains=exp)@10',
    'nDCG(gains={0:1,1:4})@10',
    'nDCG(judged_only=True)@10',
    'RR',
    'RR@10',
    'RR(rel=2)@10',
    'RR(ties=ascending)@10',
    'AP',
    'AP(rel=2)',
    'AP@100',
    'AP(rel=2,judged_only=True)@100',
    'Success@5',
    'R@1000',
    'R(rel=2)@100',
    'P@20',
    'Rprec',
    'Judged@10',
    'Judged',
    'RBO',
    'RBO(p=0.8)',
    'Compat',
    'RBP(p=0.5)@20',
    'Bpref(rel=2)',
    'IPrec@0.1',
    'SetP',
    'SetR',
    'SetF(beta=2)',
    'SetAP',
    'NumRet',
    'NumRet(rel=1)',
    'NumRel',
    'NumQ',
  ])('%s', (name) => {
    expect(parseMeasure(name).name).toBe(name);
  });

  const params = fc.record(
    {
      rel: fc.integer({ min: 1, max: 4 }),
      cutoff: fc.integer({ min: 1, max: 2000 }),
      gains: fc.constantFrom(
        'linear' as const,
        'exp' as const,
        new Map([[1, 3.5]]),
        new Map([
          [0, 1],
          [2, 9],
        ]),
      ),
      judgedOnly: fc.boolean(),
      ties: fc.constantFrom('ascending' as const, 'descending' as const),
      p: fc.constantFrom(0.5, 0.85),
    },
    { requiredKeys: ['cutoff'] },
  );

  it('any parameters of any kind', () => {
    fc.assert(
      fc.property(fc.constantFrom(...(Object.keys(MEASURES) as MeasureKind[])), params, (kind, given) => {
        const accepts: readonly string[] = [
          ...MEASURES[kind].accepts,
          ...(MEASURES[kind].accepts.includes('judged_only') ? ['judgedOnly'] : []),
        ];
        const kept = Object.fromEntries(Object.entries(given).filter(([key]) => accepts.includes(key)));
        const measure = createMeasure(kind, kind === 'IPrec' ? { ...kept, cutoff: undefined, recall: 0.5 } : kept);
        expect(parseMeasure(measure.name)).toEqual(measure);
      }),
    );
  });
});

describe('other spellings', () => {
  it.each([
    ['MRR@10', 'RR@10'],
    ['mrr@10', 'RR@10'],
    ['MAP', 'AP'],
    ['NDCG@20', 'nDCG@20'],
    ['ndcg_cut_10', 'nDCG@10'],
    ['ndcg_cut.5', 'nDCG@5'],
    ['recip_rank', 'RR'],
    ['map', 'AP'],
    ['P_20', 'P@20'],
    ['recall_1000', 'R@1000'],
    ['success_5', 'Success@5'],
    ['Recall@100', 'R@100'],
    ['Precision(rel=2)@5', 'P(rel=2)@5'],
    ['RPrec', 'Rprec'],
    ['BPref', 'Bpref'],
    ['NumRelRet', 'NumRet(rel=1)'],
    ['MSMARCO_RR@10', 'RR(ties=ascending)@10'],
    ["nDCG(dcg='exp-log2')@10", 'nDCG(gains=exp)@10'],
    ["nDCG(dcg='log2')@10", 'nDCG@10'],
    ["nDCG(gains='0=0,1=1,2=3')@10", 'nDCG(gains={2:3})@10'],
    ['nDCG(gains={1: 1, 2: 2})', 'nDCG'],
    ['nDCG(cutoff=10)', 'nDCG@10'],
    ['AP( rel = 2 , judged_only=true )', 'AP(rel=2,judged_only=True)'],
    ['AP(rel=1)', 'AP'],
    ['RBO(p=0.9)', 'RBO'],
  ])('%s is %s', (text, name) => {
    expect(parseMeasure(text).name).toBe(name);
  });
});

describe('refused names say what was expected', () => {
  it.each([
    ['nDGC@10', 'expected one of nDCG, RR,'],
    ['', 'expected NAME, NAME@k'],
    ['P', 'expected a cutoff, as in P@10, got none'],
    ['P@0', 'expected a whole cutoff of at least 1, got 0'],
    ['nDCG@2.5', 'expected a whole cutoff'],
    ['Rprec@10', 'expected Rprec without a cutoff, got @10'],
    ['nDCG(rel=2)@10', 'expected parameters among cutoff, gains'],
    ['NumQ(rel=2)', 'expected no parameters, got rel=2'],
    ['AP(rel=x)', 'expected rel to be a whole number'],
    ['AP(rel=)', 'expected rel to be a whole number'],
    ['AP(rel=-1)', 'expected rel to be a whole number'],
    ['RBP(p=1)', 'expected p to be between 0 and 1'],
    ['nDCG(gains=double)', 'expected gains=exp or'],
    ['RR(ties=docno)', 'expected ties to be one of'],
    ['IPrec@2', 'expected a recall between 0 and 1'],
    ['nDCG@10 or so', 'expected NAME'],
  ])('%s', (text, message) => {
    expect(() => parseMeasure(text)).toThrow(message);
  });
});
