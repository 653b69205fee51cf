import { describe, expect, it } from 'vitest';
import { PAPER_GRID } from '../../src/reports/grid-data.ts';
import { rankAgreement, referenceTable } from '../../src/reports/reference-ranks.ts';

const NAMES = ['BCE', 'Hinge', 'MarginMSE', 'InfoNCE', 'DistillRankNET', 'ADR-MSE'];
/** Values whose order is that of the published mean ranks. */
const PUBLISHED = [0.1, 0.2, 0.5, 0.6, 0.4, 0.3];

describe('mean ranks beside a reference', () => {
  it('has the mean ranks that the paper prints', () => {
    const { theirs } = rankAgreement(NAMES, [PUBLISHED.map((value) => [value])], PAPER_GRID);
    expect(theirs.map((rank) => Number(rank.toFixed(2)))).toEqual([5.74, 3.99, 2.17, 1.83, 3.61, 3.66]);
  });

  it('τ is 1 for the same order and −1 for its reverse, whatever is drawn', () => {
    const order = ['InfoNCE', 'MarginMSE', 'DistillRankNET', 'ADR-MSE', 'Hinge', 'BCE'];
    const same = order.map((_, i) => [10 - i, 10 - i]);
    const agreed = rankAgreement(order, [same, same], PAPER_GRID);
    expect([agreed.tau, agreed.interval, agreed.bySeed]).toEqual([1, [1, 1], [1, 1]]);
    // Exact: two of the 6! orders are as extreme.
    expect(agreed.p).toBeCloseTo(2 / 720, 12);
    const reversed = rankAgreement(order, [same.map((seeds) => seeds.map((value) => -value))], PAPER_GRID);
    expect([reversed.tau, reversed.interval]).toEqual([-1, [-1, -1]]);
  });

  it('is of the objectives that both have, and the interval holds seeds that disagree', () => {
    const names = ['InfoNCE', 'MarginMSE', 'Other', 'BCE'];
    const block = [
      [3, 1],
      [2, 2],
      [9, 9],
      [1, 3],
    ];
    const { objectives, bySeed, interval, ours } = rankAgreement(names, [block], PAPER_GRID);
    expect(objectives).toEqual(['InfoNCE', 'MarginMSE', 'BCE']);
    expect(bySeed).toEqual([1, -1]);
    expect(interval).toEqual([-1, 1]);
    expect(ours).toEqual([2, 2, 2]);
  });

  it('fewer than three common objectives are refused', () => {
    expect(() => rankAgreement(['BCE', 'Hinge'], [[[1], [2]]], PAPER_GRID)).toThrow(
      /grid reference: expected at least 3 of the objectives BCE, .*, got BCE, Hinge/,
    );
  });

  it('the table stands in the order of the reference', () => {
    const agreement = rankAgreement(NAMES, [PUBLISHED.map((value) => [value])], PAPER_GRID);
    const table = referenceTable(agreement, PAPER_GRID);
    expect(table.rows.map(([name]) => name!.text)).toEqual([
      'InfoNCE',
      'MarginMSE',
      'DistillRankNET',
      'ADR-MSE',
      'Hinge',
      'BCE',
    ]);
    expect(table.rows[0]!.map(({ text }) => text)).toEqual(['InfoNCE', '1.00', '1.83', '-0.83']);
  });
});
