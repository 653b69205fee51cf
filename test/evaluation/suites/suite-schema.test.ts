import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { parseSuite, quickened, readSuite, systemName } from '../../../src/evaluation/suites/suite-schema.ts';

const SHARED_SUITE = join(import.meta.dirname, '..', '..', '..', 'bench', 'suites', 'shared.yaml');

const MINIMAL = { name: 's', sets: [{ name: 'a', path: 'a' }], models: ['m'] };

describe('suite.yaml', () => {
  it('needs a name, sets and models, and has defaults for the rest', () => {
    expect(parseSuite(MINIMAL, 'suite.yaml')).toMatchObject({
      depth: 100,
      baseline: 'first-stage',
      test: 't',
      correction: 'holm',
      family: 'set',
      alpha: 0.05,
      models: [{ model: 'm', variant: 'auto' }],
    });
  });

  it('takes lists of measures in the spelling of trec_eval, each measure once', () => {
    const { measures } = parseSuite({ ...MINIMAL, measures: ['ndcg_cut.10,20', 'nDCG@10', 'success'] }, 'suite.yaml');
    expect(measures).toEqual(['nDCG@10', 'nDCG@20', 'Success@1', 'Success@5', 'Success@10']);
    expect(() => parseSuite({ ...MINIMAL, measures: ['gm_map'] }, 'suite.yaml')).toThrow(
      'a mean or a sum over queries, which GMAP is not',
    );
    expect(() => parseSuite({ ...MINIMAL, measures: ['official'] }, 'suite.yaml')).toThrow('which GMAP is not');
  });

  it('takes every kind of first stage, and measures by any of their names', () => {
    const stages = [
      'candidates',
      'bm25',
      { bm25: { k1: 1.2, b: 0.75, within: 'candidates' } },
      { run: 'splade.run', name: 'SPLADE' },
      { search: { url: 'https://search.example.org:9200', index: 'passages', fields: ['title', 'text'] } },
    ];
    const sets = stages.map((firstStage, i) => ({
      name: `s${i}`,
      path: 'x',
      firstStage,
      measures: ['ndcg_cut_10', 'MRR@10'],
    }));
    const suite = parseSuite({ ...MINIMAL, sets }, 'suite.yaml');
    expect(suite.sets[1]?.firstStage).toEqual({ bm25: { k1: 0.9, b: 0.4, lengths: 'lucene' } });
    expect(suite.sets[0]?.measures).toEqual(['nDCG@10', 'RR@10']);
  });

  it('names every fault with its field', () => {
    const wrong = { ...MINIMAL, depth: 0, sets: [{ name: 'a' }], models: ['m'], measures: ['nDCG'], extra: 1 };
    const message = (() => {
      try {
        return parseSuite({ ...wrong, measures: ['nope@10'] }, 'suite.yaml') && '';
      } catch (error) {
        return (error as Error).message;
      }
    })();
    for (const part of ['suite.yaml', 'depth', 'sets.0.path', 'measures.0', 'extra']) expect(message).toContain(part);
  });

  it.each([
    [{ models: ['m', 'm'] }, /models: expected each name once, got m twice/],
    [{ baseline: 'other' }, /baseline: expected one of first-stage, m, got other/],
    [{ models: [{ name: 'c', cascade: [{ model: 'm' }, { model: 'n' }] }] }, /expected how many go on/],
    [{ curves: [{ stages: ['first-stage', 'other'], keep: [1, 2] }] }, /curves\.0\.stages\.1/],
    [{ curves: [{ stages: ['first-stage', 'm'], keep: [1, 2], blend: 1 }] }, /curves\.0\.blend/],
    [{ curves: [{ stages: ['first-stage', 'm'], keep: [1, 2], sets: ['b'] }] }, /curves\.0\.sets/],
  ])('refuses %j', (change, message) => {
    expect(() => parseSuite({ ...MINIMAL, ...change }, 'suite.yaml')).toThrow(message);
  });

  it('tells a file that is none', () => {
    expect(() => readSuite('/nowhere/suite.yaml')).toThrow(/expected a readable YAML file/);
  });

  it('reads the suite of the repository and cuts it down', () => {
    const { suite } = readSuite(SHARED_SUITE);
    expect(suite.sets.map(({ name }) => name)).toEqual(['dl19', 'Cranfield', 'WikiQA test', 'XQuAD']);
    const quick = quickened(suite);
    expect(quick.depth).toBe(10);
    for (const set of quick.sets) expect(set).toMatchObject({ queries: 10 });
    expect(quick.sets[3]?.depth).toBe(10);
  });

  it('reads the suite of the published protocol', () => {
    const { suite } = readSuite(join(SHARED_SUITE, '..', 'protocol.yaml'));
    const groups = Map.groupBy(suite.sets, ({ group }) => group);
    expect([groups.get('BEIR-13')?.length, groups.get('LoTTE')?.length, suite.sets.length]).toEqual([13, 5, 22]);
    expect(suite.sets.find(({ name }) => name === 'robust04')).toMatchObject({
      field: 'title',
      folds: expect.any(String),
    });
  });

  it('takes the examples of the documentation', () => {
    const page = readFileSync(join(SHARED_SUITE, '..', '..', '..', 'docs', 'evaluation.md'), 'utf8');
    const examples = [...page.matchAll(/```yaml\n(.*?)```/gs)].map((match) => match[1]!);
    const [first, whole] = examples.map((example) => parseSuite(parse(example), 'docs/evaluation.md'));
    expect(first!.models.map(systemName)).toEqual(['minilm-l6-bce', 'minilm-l6-infonce']);
    expect(whole!.models.map(systemName)).toEqual([
      'minilm-l6-infonce',
      'my-model fp32',
      'my-model int8',
      'minilm-l6-bce pruned 0.9',
      'cascade',
    ]);
  });

  it('names a model by its variant if the suite sets one', () => {
    const yaml =
      'name: s\nsets: [{name: a, path: a}]\nmodels: [m, {model: m, variant: fp32}, {model: m, name: mine, variant: int8}]';
    expect(parseSuite(parse(yaml), 'x').models.map(systemName)).toEqual(['m', 'm fp32', 'mine']);
  });
});
