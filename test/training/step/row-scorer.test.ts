import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GraphBuilder, modelOf } from '../../../src/onnx/builder.ts';
import type { EncodedRow } from '../../../src/tokenization/tokenization-types.ts';
import { checkPositions } from '../../../src/training/step/feeds.ts';
import { lengthBatches, openRowScorer } from '../../../src/training/step/row-scorer.ts';
import { writeTinyModel } from '../../support/tiny-model.ts';

const folder = mkdtempSync(join(tmpdir(), 'winnow-row-scorer-'));
beforeAll(() => writeTinyModel(folder));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const row = (...ids: number[]): EncodedRow => ({ ids: Int32Array.from(ids), secondSegment: 2, truncated: false });

describe('lengthBatches', () => {
  it('bounds rows, padded tokens or both', () => {
    expect(lengthBatches([3, 1, 2, 1], { rows: 2 })).toEqual([
      [1, 3],
      [2, 0],
    ]);
    expect(lengthBatches([3, 1, 2, 1], { rows: 3, tokens: 4 })).toEqual([[1, 3], [2], [0]]);
  });

  it('leaves a row longer than the bound alone, and makes no batch of nothing', () => {
    expect(lengthBatches([9, 9], { tokens: 4 })).toEqual([[0], [1]]);
    expect(lengthBatches([], { rows: 4 })).toEqual([]);
  });
});

describe('a row scorer', () => {
  it('gives each row the score it has alone, in the order of the rows', async () => {
    const rows = [row(2, 5, 3, 7, 8, 9, 3), row(2, 5, 3), row(2, 6, 3, 7, 3)];
    const scorer = await openRowScorer(join(folder, 'onnx', 'model.onnx'), { padId: 0 }, { threads: 1 });
    try {
      const together = await scorer.score(rows);
      const alone = await scorer.score(rows, { rows: 1 });
      expect(new Set(alone).size).toBe(rows.length);
      for (const [i, score] of alone.entries()) expect(together[i]).toBeCloseTo(score, 5);
    } finally {
      await scorer.close();
    }
  });
});

describe('position ids', () => {
  const graph = (name: string) => {
    const g = new GraphBuilder('positions');
    g.output(
      g.cast(g.input(name, 'int64', ['batch', 'sequence']), 'float32'),
      'float32',
      ['batch', 'sequence'],
      'logits',
    );
    return modelOf(g.build());
  };

  it('are refused where the model counts them otherwise than training does', () => {
    const roberta = { model_type: 'roberta', pad_token_id: 1 };
    expect(() => checkPositions(graph('position_ids'), roberta, 'm.onnx')).toThrow(/without the input position_ids/);
    expect(() => checkPositions(graph('position_ids'), { model_type: 'bert' }, 'm.onnx')).not.toThrow();
    expect(() => checkPositions(graph('input_ids'), roberta, 'm.onnx')).not.toThrow();
  });
});
