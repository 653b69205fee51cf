import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fromSafetensors } from '../../src/onnx/architectures/architectures.ts';
import { openRunner } from '../../src/onnx/runner.ts';
import { float32, numbers, sizeOf, tensor } from '../../src/onnx/tensor.ts';
import { type Config, type Weights, writeCheckpoint } from '../support/tiny-checkpoint.ts';

/*
 * Small encoders with PyTorch's numbers for three rows each: logits, or the states of the first and the last token. Weights follow from a
 * formula. `test/clients/encoders/make_gold.py` makes the file; WINNOW_GOLDENS names another one, such as one of random configurations.
 */

interface Golden {
  readonly name: string;
  readonly config: Config;
  readonly tensors: Readonly<Record<string, readonly number[]>>;
  /** Where the model is saved, for random configurations. */
  readonly folder?: string;
  readonly rows: readonly (readonly number[])[];
  readonly expected: readonly (readonly number[])[];
}

const FILE = process.env.WINNOW_GOLDENS ?? join(import.meta.dirname, 'encoder-goldens.jsonl');
const goldens = readFileSync(FILE, 'utf8')
  .trimEnd()
  .split('\n')
  .map((line) => JSON.parse(line) as Golden);

let root = '';
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'goldens-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

function weightsOf({ tensors }: Golden): Weights {
  const entries = Object.entries(tensors).map(([name, dims], t) => {
    const shift = dims.length === 1 && name.endsWith('weight') ? 1 : 0;
    const value = (_: unknown, j: number) => (((j * 7919 + t * 104729 + 13) % 1009) / 1009 - 0.5) * 0.8 + shift;
    return [name, float32(dims, Float32Array.from({ length: sizeOf(dims) }, value))] as const;
  });
  return new Map(entries);
}

/** Runs rows as one batch, padded on the right, and returns what PyTorch's file has for each. */
async function outputs(golden: Golden): Promise<readonly (readonly (readonly number[])[])[]> {
  const written = join(root, golden.name.replace(/\W+/g, '-'));
  const folder = golden.folder ?? (await writeCheckpoint(written, golden.config, weightsOf(golden)));
  const model = await fromSafetensors(folder);
  const inputs = model.graph.inputs.map(({ name }) => name);
  const runner = await openRunner(model, { level: 'all' });
  const padding = Number(golden.config.pad_token_id ?? 0);
  const types = Number(golden.config.type_vocab_size ?? 0);
  const run = async (rows: readonly (readonly number[])[]) => {
    const length = Math.max(...rows.map((row) => row.length));
    const padded = rows.map((row) => [...row, ...new Array<number>(length - row.length).fill(padding)]);
    const of = (value: (id: number, real: boolean) => number) =>
      tensor(
        'int64',
        [rows.length, length],
        padded.flatMap((row, i) => row.map((id, at) => value(id, at < rows[i]!.length))),
      );
    const feeds = {
      input_ids: of((id) => id),
      attention_mask: of((_, real) => (real ? 1 : 0)),
      token_type_ids: of((id, real) => (real && types > 1 ? id % 2 : 0)),
    };
    const named = Object.fromEntries(Object.entries(feeds).filter(([name]) => inputs.includes(name)));
    const { logits, last_hidden_state: states } = await runner.run(named);
    if (logits) {
      const values = numbers(logits);
      return rows.map((_, i) =>
        values.slice((i * values.length) / rows.length, ((i + 1) * values.length) / rows.length),
      );
    }
    const [, , width] = states!.dims as [number, number, number];
    const values = numbers(states!);
    const token = (row: number, at: number) =>
      values.slice((row * length + at) * width, (row * length + at + 1) * width);
    return rows.map((row, i) => [...token(i, 0), ...token(i, row.length - 1)]);
  };
  const alone = [];
  for (const row of golden.rows) alone.push(...(await run([row])));
  const together = await run(golden.rows);
  await runner.close();
  return [alone, together];
}

describe('graphs from weights give the numbers of PyTorch, alone and in a padded batch', () => {
  it.each(goldens.map((golden) => [golden.name, golden] as const))('%s', async (_, golden) => {
    for (const got of await outputs(golden)) {
      expect(got.map((row) => row.length)).toEqual(golden.expected.map((row) => row.length));
      const expected = golden.expected.flat();
      const worst = Math.max(...got.flat().map((x, i) => Math.abs(x - expected[i]!)));
      expect(worst).toBeLessThan(1e-4);
    }
  });
});
