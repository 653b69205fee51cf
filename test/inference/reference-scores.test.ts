import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createHostPool } from '../../src/inference/host-pool.ts';
import type { HostPool, InferenceRow } from '../../src/inference/inference-types.ts';
import { createLocalTokenizer } from '../../src/tokenization/local.ts';
import { hasReference, REFERENCE_MODEL, REFERENCE_NEEDS } from '../support/shipped.ts';

/* The scores that came with a model of another binding, from text to logit through tokenizer and host. */

const MODEL = REFERENCE_MODEL;

interface Reference {
  readonly max_length: number;
  readonly truncation: 'longest_first';
  readonly pairs: readonly { readonly query: string; readonly passage: string; readonly onnx_int8: number }[];
}

describe.skipIf(!hasReference)(`reference scores ${REFERENCE_NEEDS}`, () => {
  let pool: HostPool;
  beforeAll(async () => {
    pool = await createHostPool({ provider: 'cpu', hosts: 1 });
  });
  afterAll(() => pool.close());

  it('are met to 1e-4, in one batch and one by one', async () => {
    const reference = JSON.parse(readFileSync(join(MODEL, 'reference-scores.json'), 'utf8')) as Reference;
    const tokenizer = await createLocalTokenizer(MODEL);
    const rows: InferenceRow[] = [];
    for (const { query, passage } of reference.pairs) {
      const encoded = await tokenizer.encode(query, [passage], {
        maxLength: reference.max_length,
        maxQueryTokens: reference.max_length,
        truncation: reference.truncation,
        side: 'right',
        longPassages: 'truncate',
        windowOverlap: 0,
      });
      rows.push(...encoded.rows);
    }
    const file = join(MODEL, 'onnx/model_int8.onnx');
    await pool.load({ key: 'm', file, padId: tokenizer.padId, maxLength: 512, reduction: { kind: 'single' } });
    const together = await pool.run('m', rows);
    const alone = await Promise.all(rows.map((row) => pool.run('m', [row])));
    expect(rows).toHaveLength(reference.pairs.length);
    for (const [i, { onnx_int8: expected }] of reference.pairs.entries()) {
      expect(Math.abs(together.scores[i]! - expected)).toBeLessThanOrEqual(1e-4);
      expect(Math.abs(alone[i]!.scores[0]! - expected)).toBeLessThanOrEqual(1e-4);
    }
  });
});
