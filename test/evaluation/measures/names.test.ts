import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MEASURES, type MeasureKind } from '../../../src/evaluation/measures/catalog.ts';
import { createMeasure, parseMeasure, parseMeasures } from '../../../src/evaluation/measures/measure.ts';

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
    'ERR@20',
    'ERR(max_rel=3)',
    'F1@10',
    'F1(rel=2)@10',
    'GMAP',
    'IPrecAvg(rel=2)',
    'infAP',
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

describe('names of trec_eval', () => {
  const { names } = JSON.parse(readFileSync(join(import.meta.dirname, 'vectors', 'more.json'), 'utf8')) as {
    names: Record<string, string[]>;
  };
  const known = (list: readonly string[]) => list.map((name) => parseMeasure(name).name);

  it.each(Object.entries(names))('%s stands for what ir_measures reads in it', (text, theirs) => {
    // ir_measures leaves gm_map out of the official measures, trec_eval prints it.
    const wanted = text === 'official' ? [...theirs, 'GMAP'] : theirs;
    expect(
      parseMeasures(text)
        .map(({ name }) => name)
        .sort(),
    ).toEqual(known(wanted).sort());
  });

  it.each([
    ['11pt_avg', ['IPrecAvg']],
    ['gm_map', ['GMAP']],
    ['ndcg.1=3.5,2=9', ['nDCG(gains={1:3.5,2:9})']],
    ['iprec_at_recall.0.25,0.5', ['IPrec@0.25', 'IPrec@0.5']],
    ['ndcg_cut@10', ['nDCG@10']],
    ['nDCG@10', ['nDCG@10']],
  ])('%s is %j', (text, wanted) => {
    expect(parseMeasures(text).map(({ name }) => name)).toEqual(wanted);
  });

  it.each([
    ['ndcg_cut', 'expected a cutoff, as in nDCG@10, got none, which stands for nDCG@5, nDCG@10, nDCG@15'],
    ['map_cut', 'expected a cutoff, as in AP@10'],
    ['P.5,10', 'expected a cutoff, as in P@10, got none, which stands for P@5, P@10'],
    ['official', 'expected one measure, got none, which stands for NumQ, NumRet'],
  ])('%s is no single measure', (text, message) => {
    expect(() => parseMeasure(text)).toThrow(message);
  });

  it.each([
    ['all_trec', 'expected single measures, or official, got all_trec'],
    ['set', 'expected single measures, or official, got set'],
    ['P.5,x', 'expected NAME, NAME@k'],
    ['P.5,', 'expected NAME, NAME@k'],
    ['P.0.5', 'expected a whole cutoff of at least 1, got 0.5'],
    ['set_F.0.5,2', 'expected NAME, NAME@k'],
    ['ndcg_cut.5=1', 'expected NAME, NAME@k'],
    ['utility.1,-1,0,0', 'expected NAME, NAME@k'],
    ['nDCG@5,10', 'expected NAME, NAME@k'],
    ['SDCG@10', '"SDCG" (string); nearest is nDCG'],
    ['Rprec_mult', 'nearest is Rprec'],
    ['SetRelP', 'nearest is SetP'],
    ['HitRate@5', 'nearest is Success'],
    ['nDGC@10', 'nearest is nDCG'],
    ['ERR(rel=2)@10', 'expected parameters among cutoff, ties, judged_only, max_rel'],
    ['ERR(max_rel=0)@10', 'expected max_rel to be a whole number from 1 to 30'],
    ['SetP(relative=True)', 'expected parameters among rel'],
  ])('%s is refused', (text, message) => {
    expect(() => parseMeasures(text)).toThrow(message);
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
