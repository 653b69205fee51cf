import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readQrels } from '../../../src/evaluation/formats/qrels.ts';
import { readRankLlm } from '../../../src/evaluation/formats/read-rank-llm.ts';
import { readRun } from '../../../src/evaluation/formats/run.ts';
import { MEASURES } from '../../../src/evaluation/measures/catalog.ts';
import { evaluate, type Run } from '../../../src/evaluation/measures/evaluation.ts';
import { parseMeasure } from '../../../src/evaluation/measures/measure.ts';
import type { Qrels } from '../../../src/evaluation/measures/ranked.ts';

type Nested = Record<string, Record<string, number>>;

const toQrels = (qrels: Nested): Qrels =>
  new Map(Object.entries(qrels).map(([qid, docs]) => [qid, new Map(Object.entries(docs))]));

const toRun = (run: Nested): Run =>
  new Map(Object.entries(run).map(([qid, docs]) => [qid, { docids: Object.keys(docs), scores: Object.values(docs) }]));

function values(qrels: Nested, run: Nested, names: readonly string[]): Record<string, Record<string, number>> {
  const measures = names.map(parseMeasure);
  const evaluation = evaluate(toQrels(qrels), toRun(run), measures);
  return Object.fromEntries(
    names.map((name, m) => [
      name,
      Object.fromEntries(evaluation.queries.map((qid, i) => [qid, evaluation.perQuery.get(measures[m]!.name)![i]!])),
    ]),
  );
}

const mean = (qrels: Nested, run: Nested, name: string): number => {
  const measure = parseMeasure(name);
  return evaluate(toQrels(qrels), toRun(run), [measure]).mean.get(measure.name)!;
};

interface Case {
  share: string;
  /** Queries for which Compat is not stored. */
  unstored: string[];
  qrels: Nested;
  run: Nested;
  values: Record<string, Record<string, number>>;
}

const { cases } = JSON.parse(readFileSync(join(import.meta.dirname, 'vectors', 'trec_eval.json'), 'utf8')) as {
  cases: Case[];
};

describe.each(cases.map((c) => [c.share, c] as const))('values of trec_eval and ir_measures: %s', (_, c) => {
  const got = values(c.qrels, c.run, Object.keys(c.values));

  it.each(Object.keys(c.values))('%s', (name) => {
    for (const qid of Object.keys(c.qrels)) {
      if (name.startsWith('Compat') && c.unstored.includes(qid)) continue;
      const wanted = c.values[name]![qid] ?? 0;
      expect(Math.abs(got[name]![qid]! - wanted), `${qid}: ${got[name]![qid]} against ${wanted}`).toBeLessThan(1e-12);
    }
  });
});

interface MoreCase {
  qrels: Nested;
  run: Nested;
  values: Record<string, Record<string, number>>;
}

const more = JSON.parse(readFileSync(join(import.meta.dirname, 'vectors', 'more.json'), 'utf8')) as {
  cases: MoreCase[];
};
const moreValues = more.cases.flatMap((c, i) =>
  Object.entries(c.values).map(([name, wanted]) => [name, i, wanted, c] as const),
);

describe('values of trec_eval and gdeval', () => {
  it.each(moreValues)('%s of case %i', (name, _, wanted, { qrels, run }) => {
    // gdeval prints five decimals.
    const tolerance = name.startsWith('ERR') ? 5.1e-6 : 1e-12;
    if (wanted.mean !== undefined)
      return expect(Math.abs(mean(qrels, run, name) - wanted.mean)).toBeLessThan(tolerance);
    const got = values(qrels, run, [name])[name]!;
    for (const qid of Object.keys(qrels))
      expect(Math.abs(got[qid]! - (wanted[qid] ?? 0)), `${qid}: ${got[qid]}`).toBeLessThan(tolerance);
  });

  it('ERR refuses a grade above the scale, and takes another scale', () => {
    expect(() => mean({ q: { a: 5 } }, { q: { a: 1 } }, 'ERR@20')).toThrow(
      'measure ERR: expected grades of at most 4, or the greatest grade of the scale, as in ERR(max_rel=5)@20, got 5',
    );
    expect(mean({ q: { a: 1, b: 1 } }, { q: { a: 2, b: 1 } }, 'ERR(max_rel=1)@20')).toBe(0.5 + 0.25 / 2);
  });

  it('GMAP counts a query that the run lacks as 0.00001', () => {
    expect(mean({ q: { a: 1 }, r: { a: 1 } }, { q: { a: 1 } }, 'GMAP')).toBeCloseTo(Math.sqrt(1e-5), 12);
  });
});

describe('the vector of trec_eval 10 with ties, grades and a missing query', () => {
  const qrels = { q1: { a: 1, b: 0, c: 0, d: 3, e: 2 }, q2: { a: 1, z: 2 }, q3: { m: 2 } };
  const run = { q1: { a: 5, b: 5, c: 5, d: 4, x: 3 }, q2: { '9': 1, '10': 1, z: 0.5, a: 0.25 } };

  it.each([
    ['q1', { RR: 0.3333, AP: 0.2778, 'P@3': 0.3333, 'R@3': 0.3333, 'nDCG@3': 0.105, 'nDCG@10': 0.3763 }],
    ['q1', { 'Success@1': 0, 'Success@5': 1, 'RR(rel=2)': 0.25, 'AP(rel=2)': 0.125, 'R(rel=2)@3': 0 }],
    ['q2', { RR: 0.3333, AP: 0.4167, 'nDCG@3': 0.3801, 'nDCG@10': 0.5438, 'AP(rel=2)': 0.3333, 'R(rel=2)@3': 1 }],
    ['q1', { 'nDCG(gains=exp)': 0.3742 }],
    ['q2', { 'nDCG(gains=exp)': 0.5317 }],
    ['q3', { RR: 0, AP: 0, 'nDCG@10': 0, 'Success@5': 0 }],
  ] as [string, Record<string, number>][])('%s: %j', (qid, wanted) => {
    const got = values(qrels, run, Object.keys(wanted));
    for (const [name, value] of Object.entries(wanted)) expect(got[name]![qid]!).toBeCloseTo(value, 4);
  });

  it.each([
    ['RR', 0.2222],
    ['AP', 0.2315],
    ['nDCG@10', 0.3067],
    ['Success@5', 0.6667],
    ['RR(rel=2)', 0.1944],
    ['AP(rel=2)', 0.1528],
  ])('mean of %s over all judged queries is %f', (name, value) => {
    expect(mean(qrels, run, name)).toBeCloseTo(value, 4);
  });
});

describe('vectors of ir_measures', () => {
  const qrels = { q0: { D0: 1, D1: -1, D2: 0, D3: 2, D4: 0 }, q1: { D0: 1, D3: 2, D4: -1, D5: 0 } };
  const run = { q0: { D0: 0.8, D2: 0.7, D1: 0.3, D3: 0.4, D4: 0.1 }, q1: { D1: 0.8, D4: 0.7, D3: 0.3, D2: 0.4 } };

  it.each([
    ['nDCG', 0.76018, 0.32739],
    ['nDCG@3', 0.76018, 0],
    ['nDCG(gains={0:1,1:4})', 0.97177, 0.14949],
  ])('%s', (name, first, second) => {
    const got = values(qrels, run, [name])[name]!;
    expect(Math.abs(got.q0! - first)).toBeLessThan(1e-5); // the page cuts digits, it does not round
    expect(Math.abs(got.q1! - second)).toBeLessThan(1e-5);
  });

  it('the example of its page', () => {
    const small = [
      { Q0: { D0: 0, D1: 1 }, Q1: { D0: 0, D3: 2 } },
      { Q0: { D0: 1.2, D1: 1.0 }, Q1: { D0: 2.4, D3: 3.6 } },
    ] as const;
    expect(mean(...small, 'AP')).toBe(0.75);
    expect(mean(...small, 'nDCG')).toBeCloseTo(0.8154648767857288, 15);
    expect(mean(...small, 'RR')).toBe(0.75);
    expect(mean(...small, 'P(rel=2)@10')).toBeCloseTo(0.05, 15);
  });
});

const SHARED = process.env.WINNOW_SHARED ?? join(import.meta.dirname, '..', '..', '..', '..', 'shared');
const DL = join(SHARED, 'data', 'trec-dl');

describe.skipIf(!existsSync(DL))('published nDCG@10 of TREC-DL runs (needs ../shared)', () => {
  it.each([
    ['BM25.dl19.top100.json', 'qrels.dl19-passage.txt', 0.5058],
    ['BM25.dl21.top100.json', 'qrels.dl21-passage.txt', 0.4458],
  ])('%s against %s: %f', async (run, qrels, wanted) => {
    const measure = parseMeasure('nDCG@10');
    const evaluation = evaluate(await readQrels(join(DL, qrels)), await readRun(join(DL, run)), [measure]);
    expect(evaluation.mean.get('nDCG@10')!.toFixed(4)).toBe(wanted.toFixed(4));
  });
});

describe.skipIf(!existsSync(DL))('a run with 499 ties (needs ../shared)', () => {
  it('is .6846 by its scores, as trec_eval says, and .6839 by the order of its file', async () => {
    const measure = parseMeasure('nDCG@10');
    const qrels = await readQrels(join(DL, 'qrels.dl21-passage.txt'));
    const { run } = await readRankLlm(join(DL, 'SPLADE_P_P_ENSEMBLE_DISTIL.dl21.top100.json'));
    const inOrder: Run = new Map(
      [...run].map(([qid, { docids }]) => [qid, { docids, scores: docids.map((_, i) => -i) }]),
    );
    expect(evaluate(qrels, run, [measure]).mean.get('nDCG@10')).toBeCloseTo(0.6846079029313781, 12);
    expect(evaluate(qrels, inOrder, [measure]).mean.get('nDCG@10')).toBeCloseTo(0.6838535736632279, 12);
  });
});

/** Independent formulas on strings and plain sorts: only the names are shared with the code under test. */
const naive: Record<string, (grades: number[], all: number[]) => number> = {
  'nDCG@5': (grades, all) => {
    const dcg = (list: number[]) => list.slice(0, 5).reduce((s, g, i) => s + Math.max(g, 0) / Math.log2(i + 2), 0);
    const ideal = dcg([...all].sort((a, b) => b - a));
    return ideal === 0 ? 0 : dcg(grades) / ideal;
  },
  'RR(rel=2)@4': (grades) => {
    const at = grades.slice(0, 4).findIndex((g) => g >= 2);
    return at < 0 ? 0 : 1 / (at + 1);
  },
  AP: (grades, all) => {
    const relevant = all.filter((g) => g >= 1).length;
    const hits = grades.map((g, i) => (g >= 1 ? grades.slice(0, i + 1).filter((x) => x >= 1).length / (i + 1) : 0));
    return relevant === 0 ? 0 : hits.reduce((a, b) => a + b, 0) / relevant;
  },
  'R@3': (grades, all) => {
    const relevant = all.filter((g) => g >= 1).length;
    return relevant === 0 ? 0 : grades.slice(0, 3).filter((g) => g >= 1).length / relevant;
  },
  'F1@3': (grades, all) => {
    const [hits, relevant] = [grades.slice(0, 3).filter((g) => g >= 1).length, all.filter((g) => g >= 1).length];
    return hits === 0 ? 0 : (2 * hits) / (3 + relevant);
  },
  'P@3': (grades) => grades.slice(0, 3).filter((g) => g >= 1).length / 3,
  'Success@2': (grades) => (grades.slice(0, 2).some((g) => g >= 1) ? 1 : 0),
  Rprec: (grades, all) => {
    const relevant = all.filter((g) => g >= 1).length;
    return relevant === 0 ? 0 : grades.slice(0, relevant).filter((g) => g >= 1).length / relevant;
  },
  'Judged@4': (grades) =>
    grades.length === 0 ? 0 : grades.slice(0, 4).filter((g) => g >= 0).length / Math.min(4, grades.length),
  'RBP(p=0.7)': (grades) => grades.reduce((s, g, i) => s + (g >= 1 ? 0.3 * 0.7 ** i : 0), 0),
};

describe('random runs against formulas written anew', () => {
  const docid = fc.constantFrom('a', 'B', 'b', 'é', '\uffee', '\u{1d11e}', '\u{1f600}', '10', '9', 'z1', 'z');
  const docs = <T>(value: fc.Arbitrary<T>) => fc.dictionary(docid, value, { maxKeys: 10, noNullPrototype: true });

  it('agree for every measure, with ties, negative grades and astral docids', () => {
    fc.assert(
      fc.property(
        docs(fc.integer({ min: -1, max: 3 })),
        docs(fc.constantFrom(0, 0.5, 1, -2, 1e-9)),
        (grades, scores) => {
          const order = Object.keys(scores).sort(
            (a, b) => scores[b]! - scores[a]! || Buffer.compare(Buffer.from(b), Buffer.from(a)),
          );
          const ranked = order.map((id) => grades[id] ?? -1);
          const got = values({ q: grades }, { q: scores }, Object.keys(naive));
          for (const [name, formula] of Object.entries(naive))
            expect(got[name]!.q!, name).toBeCloseTo(formula(ranked, Object.values(grades)), 12);
        },
      ),
      { numRuns: 400 },
    );
  });

  it('stay between 0 and 1, and the best order reaches 1', () => {
    fc.assert(
      fc.property(docs(fc.integer({ min: 0, max: 3 })), (grades) => {
        const relevant = Object.values(grades).some((g) => g > 0) ? 1 : 0;
        for (const name of ['nDCG', 'nDCG@3', 'nDCG(gains=exp)@10', 'RR', 'AP', 'Rprec', 'Compat', 'RBO', 'Bpref'])
          expect(values({ q: grades }, { q: grades }, [name])[name]!.q!, name).toBeCloseTo(relevant, 12);
      }),
    );
  });
});

/** Kinds with a case of their own under "edges". */
const BY_HAND = ['RBO', 'NumRet', 'NumRel', 'NumQ'];

it('every measure has values of trec_eval, ir_measures or a formula written anew', () => {
  const checked = [...cases, ...more.cases].flatMap((c) => Object.keys(c.values)).concat(Object.keys(naive));
  const kinds = new Set([...BY_HAND, ...checked.map((name) => parseMeasure(name).kind)]);
  expect(Object.keys(MEASURES).filter((kind) => !kinds.has(kind))).toEqual([]);
});

describe('scores are 64-bit numbers', () => {
  const qrels = { q: { a: 1, z: 0 } };
  const run = { q: { a: 1 + 1e-12, z: 1 } };

  it('a difference of 1e-12 decides, where 32 bits would see a tie', () => {
    expect(values(qrels, run, ['RR']).RR!.q).toBe(1);
  });
});

describe('edges', () => {
  it('an empty run, and queries without judgements', () => {
    expect(mean({ q: { a: 1 } }, {}, 'nDCG@10')).toBe(0);
    expect(mean({ q: { a: 1 } }, { q: { a: 1 }, other: { b: 1 } }, 'AP')).toBe(1);
  });

  it('counts are summed, and a missing query still has relevant documents', () => {
    const qrels = { q1: { a: 1, b: 2 }, q2: { c: 1 } };
    const run = { q1: { a: 1, x: 2 } };
    expect(mean(qrels, run, 'NumRet')).toBe(2);
    expect(mean(qrels, run, 'NumRelRet')).toBe(1);
    expect(mean(qrels, run, 'NumRel')).toBe(3);
    expect(mean(qrels, run, 'NumQ')).toBe(2);
  });

  it('no judgements at all is an error, and so is a document twice', () => {
    expect(() => mean({}, {}, 'AP')).toThrow('expected at least 1 judged query, got 0');
    const twice: Run = new Map([['q', { docids: ['a', 'a'], scores: [1, 2] }]]);
    expect(() => evaluate(toQrels({ q: { a: 1 } }), twice, [parseMeasure('AP')])).toThrow(
      'expected each docid once, got a twice',
    );
  });

  it('RBO compares with a reference run where there is one', () => {
    const measure = parseMeasure('RBO(p=0.5)');
    const run = toRun({ q: { a: 2, b: 1 } });
    const reference = new Map([['q', ['b', 'a']]]);
    const { mean: got } = evaluate(toQrels({ q: { z: 1 } }), run, [measure], { reference });
    expect(got.get('RBO(p=0.5)')).toBeCloseTo(0.5, 12);
  });

  it('hundreds of documents of one score keep byte order', () => {
    const ids = Array.from({ length: 3000 }, (_, i) => `d${(i * 7919) % 3000}`);
    const best = [...ids].sort().at(-1)!;
    const run = Object.fromEntries(ids.map((id) => [id, 1]));
    expect(values({ q: { [best]: 1 } }, { q: run }, ['RR']).RR!.q).toBe(1);
  });
});
