import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Distribution, LoadAnswer } from '../../src/console/types.ts';
import { effectSeries, verticalRange } from '../../src/console/web/experiment/interval-points.ts';
import { bytes, count, duration, figure, percent, pText, signed } from '../../src/console/web/format.ts';
import { periodBetween, quantile } from '../../src/console/web/load-period.ts';
import { blocksOf, spansOf } from '../../src/console/web/markdown-blocks.ts';
import { kendall, rankMoves, readPassages } from '../../src/console/web/ranking.ts';
import { linear, linePath, ticks } from '../../src/console/web/scale.ts';
import type { Series } from '../../src/experiments/analysis/series.ts';
import { pValue } from '../../src/reports/format.ts';

const ranking = (order: readonly number[]) => ({
  ranking: order.map((index) => ({ index, score: 0, relevanceScore: 0, truncated: false })),
});

describe('p-values', () => {
  it('read as on the command line', () => {
    const p = fc.oneof(fc.constantFrom(0, 1, 0.001, 0.05), fc.double({ min: 1e-300, max: 1, noNaN: true }));
    fc.assert(fc.property(p, (value) => void expect(pText(value)).toBe(pValue(value))));
  });
});

describe('comparing rankings', () => {
  it('counts places gained and lost', () => {
    expect([...rankMoves(ranking([0, 1, 2, 3]), ranking([3, 0, 1, 2]))]).toEqual([
      [3, 3],
      [0, -1],
      [1, -1],
      [2, -1],
    ]);
  });

  it('moves add up to 0, and reversing the order changes the sign of Kendall’s τ', () => {
    const order = fc.shuffledSubarray([0, 1, 2, 3, 4, 5, 6], { minLength: 7 });
    fc.assert(
      fc.property(order, order, (a, b) => {
        const moves = rankMoves(ranking(a), ranking(b));
        expect([...moves.values()].reduce((sum, move) => sum + move, 0)).toBe(0);
        expect(kendall(ranking(a), ranking(b))).toBeCloseTo(-kendall(ranking(a), ranking(b.toReversed())), 12);
        expect(kendall(ranking(a), ranking(a))).toBe(1);
      }),
    );
  });

  it('one discordant pair of six is τ = 2/3', () => {
    expect(kendall(ranking([0, 1, 2, 3]), ranking([0, 2, 1, 3]))).toBeCloseTo(2 / 3, 12);
  });
});

describe('passages as typed', () => {
  it('one per line, without blank lines', () => {
    expect(readPassages(' a \r\n\n b\n')).toEqual(['a', 'b']);
  });
  it('JSON of strings or objects', () => {
    expect(readPassages('["a\\nb", {"text": "c", "id": 1}]')).toEqual(['a\nb', 'c']);
  });
  it('are refused with the reason', () => {
    expect(() => readPassages('["a", 2]')).toThrow('got number (passage 1)');
    expect(() => readPassages('["a"')).toThrow(/JSON/);
  });
});

describe('quantiles of a histogram', () => {
  it('interpolates within a bucket', () => {
    expect(quantile([1, 2, 4], [10, 10, 0, 0], 0.5)).toBe(1);
    expect(quantile([1, 2, 4], [10, 10, 0, 0], 0.75)).toBe(1.5);
    expect(quantile([1, 2, 4], [0, 0, 10, 0], 0.5)).toBe(3);
  });
  it('is NaN without values, and the lower bound in the last bucket', () => {
    expect(quantile([1, 2], [0, 0, 0], 0.5)).toBeNaN();
    expect(quantile([1, 2], [0, 0, 5], 0.99)).toBe(2);
  });
  it('rises with q', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(50), { minLength: 4, maxLength: 4 }), (counts) => {
        const at = [0.1, 0.5, 0.9, 1].map((q) => quantile([1, 2, 4], counts, q));
        if (counts.some((n) => n > 0)) expect(at).toEqual(at.toSorted((a, b) => a - b));
      }),
    );
  });
});

describe('the period between two samples', () => {
  const distribution = (counts: readonly number[]): Distribution => ({ bounds: [0.01, 0.1], counts, sum: 0 });
  const sample = (at: number, n: number, latency: readonly number[]): LoadAnswer => ({
    at,
    queue: { tokens: 7, rows: 3, jobs: 2 },
    inFlight: 1,
    requests: n,
    errors: n,
    pairs: 10 * n,
    shedRows: 0,
    batches: 2 * n,
    batchRows: 10 * n,
    tokens: 90 * n,
    paddingTokens: 10 * n,
    latency: distribution(latency),
    queueWait: distribution([]),
    hosts: { provider: 'cpu', alive: 2, rss: [1, 2], restarts: 0, recycles: 0 },
    passages: { hits: 3 * n, misses: n, entries: 12, bytes: 34 },
    process: { rss: 5, heapUsed: 4 },
    loop: { p50: 0, p99: 3, max: 4 },
  });

  it('has the differences', () => {
    const found = periodBetween(sample(1000, 5, []), sample(3000, 9, [0, 4, 0]))!;
    expect(found).toMatchObject({
      requests: 2,
      pairs: 20,
      batches: 4,
      rowsPerBatch: 5,
      padding: 0.1,
      queueTokens: 7,
      kept: 0.75,
      keptEntries: 12,
      keptBytes: 34,
      hostRss: 3,
    });
    expect(found.p50Ms).toBeCloseTo(55, 9);
    expect(found.waitP95Ms).toBeNaN();
  });
  it('is undefined if the server restarted or no time has passed', () => {
    expect(periodBetween(sample(1000, 5, []), sample(3000, 1, []))).toBeUndefined();
    expect(periodBetween(sample(1000, 5, []), sample(1000, 5, []))).toBeUndefined();
  });
});

describe('effects over time', () => {
  const inference = (low: number, high: number, relative: boolean) => ({
    interval: [low, high] as const,
    ...(relative ? { liftInterval: [10 * low, 10 * high] as const } : {}),
    p: 1,
  });
  const series = (relative: boolean): Series => ({
    experiment: 'trial',
    points: [
      { at: 1, units: 0, comparisons: [] },
      ...[2, 3].map((at) => ({
        at,
        units: at,
        comparisons: [
          {
            arm: 'b',
            metric: 'clicks',
            difference: 0.1,
            ...(relative ? { lift: 1 } : {}),
            fixed: inference(0, 0.2, relative),
            alwaysValid: inference(-0.1, 0.3, relative),
          },
        ],
      })),
    ],
  });

  it('are relative to control where possible', () => {
    expect(effectSeries(series(true), 'clicks', 'b').points[1]).toMatchObject({ value: 1, fixed: [0, 2] });
    expect(effectSeries(series(false), 'clicks', 'b')).toMatchObject({
      relative: false,
      points: [{ value: Number.NaN }, { value: 0.1 }, {}],
    });
  });
  it('begin with the first outcomes: before them, equal units give no estimate', () => {
    const still = { fixed: inference(0, 0, false), alwaysValid: inference(0, 0, false), difference: 0 };
    const before = { at: 1, units: 1, comparisons: [{ arm: 'b', metric: 'clicks', ...still }] };
    const { relative, points } = effectSeries({ points: [before, ...series(true).points] }, 'clicks', 'b');
    expect(relative).toBe(true);
    expect(points[0]).toMatchObject({ value: Number.NaN, alwaysValid: [Number.NaN, Number.NaN] });
  });
  it('the axis shows zero and the latest interval, not the widest', () => {
    const points = effectSeries(series(false), 'clicks', 'b').points;
    const early = { ...points[1]!, alwaysValid: [-50, 50] as const };
    const [low, high] = verticalRange([early, ...points]);
    expect(low).toBeLessThan(-0.1);
    expect(high).toBeGreaterThan(0.3);
    expect(high - low).toBeLessThan(1);
  });
});

describe('cards', () => {
  it('headings, paragraphs, lists, tables, code; no front matter', () => {
    const text =
      '---\nlicense: mit\n---\n# T\n\none\ntwo\n\n| a | b |\n|---|---|\n| 1 | x\\|y |\n\n- i\n  more\n- j\n\n```sh\n# c\n```\n';
    expect(blocksOf(text)).toEqual([
      { kind: 'heading', level: 1, text: 'T' },
      { kind: 'paragraph', text: 'one two' },
      { kind: 'table', head: ['a', 'b'], rows: [['1', 'x|y']] },
      { kind: 'list', items: ['i more', 'j'] },
      { kind: 'code', text: '# c' },
    ]);
  });
  it('inline marks become spans, links their text, pictures nothing', () => {
    expect(spansOf('a `b` **c** [d](http://e) ![f](g.svg)')).toEqual([
      { kind: 'text', text: 'a ' },
      { kind: 'code', text: 'b' },
      { kind: 'text', text: ' ' },
      { kind: 'strong', text: 'c' },
      { kind: 'text', text: ' ' },
      { kind: 'text', text: 'd' },
      { kind: 'text', text: ' ' },
    ]);
  });
  it('parses every text', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom('# h', '|a|', '|-|', '- x', '```', '', 'text', '  in'), { maxLength: 12 }),
        (lines) => {
          expect(Array.isArray(blocksOf(lines.join('\n')))).toBe(true);
        },
      ),
    );
  });
});

describe('numbers and axes', () => {
  it('three figures, the right sign, short units', () => {
    expect([figure(0.012345), figure(-4.5678), figure(1234.5), figure(Number.NaN)]).toEqual([
      '0.0123',
      '−4.57',
      '1\u202f235',
      '–',
    ]);
    expect([signed('1.2'), signed('−1'), signed('0'), signed('0.00'), signed('0.5')]).toEqual([
      '+1.2',
      '−1',
      '0',
      '0.00',
      '+0.5',
    ]);
    expect([duration(3.21), duration(456), duration(1500)]).toEqual(['3.2\u00a0ms', '456\u00a0ms', '1.50\u00a0s']);
    expect([bytes(999), bytes(69_419_008), percent(0.123), count(12_345)]).toEqual([
      '999\u00a0B',
      '69.4\u00a0MB',
      '12.3\u00a0%',
      '12\u202f345',
    ]);
  });
  it('ticks are round and inside; a line breaks where there is no value', () => {
    expect(ticks([-0.31, 0.44], 4)).toEqual([-0.2, 0, 0.2, 0.4].map((v) => expect.closeTo(v, 12)));
    expect(linear([5, 5], [0, 10])(5)).toBe(5);
    expect(
      linePath([
        [0, 1],
        [1, Number.NaN],
        [2, 3],
        [3, 4],
      ]),
    ).toBe('M0 1M2 3L3 4');
  });
});
