import type { HostPool, InferenceRow } from '../../../src/inference/inference-types.ts';
import { createLocalPool } from '../../../src/inference/local-pool.ts';
import { largestDifference, randomRows } from '../batches.ts';
import { benchModel, fileOf, type Precision } from '../bench-models.ts';
import { attempt, report } from '../findings.ts';
import type { Check } from './check.ts';

const ROWS = 24;
/** Largest difference that a score may have with other rows of its batch: rounding of sums in another order. */
const TOLERANCES: Readonly<Record<Precision, number>> = { fp32: 1e-4, fp16: 2e-2 };

type Score = (rows: readonly InferenceRow[]) => Promise<Float32Array>;

async function differences(
  precision: Precision,
  score: Score,
  rows: readonly InferenceRow[],
  long: InferenceRow,
): Promise<void> {
  const alone = Float32Array.from(await Promise.all(rows.map(async (row) => (await score([row]))[0]!)));
  const say = (what: string, found: Float32Array, limit: number) => {
    const value = largestDifference(alone, found);
    report({ what, status: value <= limit ? 'right' : 'wrong', value, unit: 'largest difference' });
  };
  const limit = TOLERANCES[precision];
  say(`${precision}: alone and in one batch`, await score(rows), limit);
  say(`${precision}: next to a longer row`, (await score([...rows, long])).subarray(0, rows.length), limit);
  say(`${precision}: in reverse order`, (await score(rows.toReversed())).toReversed(), limit);
  const again = await score(rows);
  const value = largestDifference(again, await score(rows));
  report({
    what: `${precision}: the same batch twice`,
    status: value === 0 ? 'right' : 'wrong',
    value,
    unit: 'largest difference',
  });
}

/** Whether a score depends on the other rows of its batch. */
export const company: Check = {
  name: 'company',
  question: 'Does a score depend on the rows that run with it?',
  seconds: 45,
  async run(context) {
    const model = await benchModel('minilm-l6', context);
    const pool: HostPool = await createLocalPool({ provider: context.provider });
    for (const precision of ['fp16', 'fp32'] as const)
      await attempt(precision, async () => {
        await pool.load({
          key: precision,
          file: fileOf(model, precision),
          padId: 0,
          maxLength: model.maxLength,
          reduction: { kind: 'single' },
        });
        const rows = randomRows(ROWS, (row) => 12 + 7 * row, model.vocabulary);
        const [long] = randomRows(1, () => model.maxLength, model.vocabulary, 2);
        await differences(precision, async (all) => (await pool.run(precision, all)).scores, rows, long!);
      });
    await pool.close();
  },
};
