import { existsSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { writeGraph } from '../../../src/main/write-graph.ts';
import { GraphBuilder, modelOf } from '../../../src/onnx/builder.ts';
import { readModel, writeModel } from '../../../src/onnx/model-file.ts';
import { runOnce } from '../../../src/onnx/runner.ts';
import { float32, numbers, tensor } from '../../../src/onnx/tensor.ts';
import { pairsWithin } from '../../../src/registry/pair-limits.ts';
import { withGraph } from '../../../src/registry/weights-folder.ts';
import { createLocalTokenizer } from '../../../src/tokenization/local.ts';
import type { EncodedRow } from '../../../src/tokenization/tokenization-types.ts';
import { sideRows } from '../../../src/training/measure/side-rows.ts';
import { quantizeFolder } from '../../../src/training/quantization/quantize-folder.ts';
import { tablesIn } from '../../../src/training/quantization/variants.ts';
import { openRowScorer } from '../../../src/training/step/row-scorer.ts';
import { createRandom } from '../../../src/util/random.ts';
import { writeRankLlmLists } from '../../support/rank-llm-lists.ts';
import { tinyStates, writeTinyBiEncoder } from '../../support/tiny-bi-encoder.ts';
import { WORDS, writeTinyModel } from '../../support/tiny-model.ts';

const folder = mkdtempSync(join(tmpdir(), 'winnow-quantize-folder-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function writeLists(path: string): void {
  const random = createRandom(3);
  const text = () => Array.from({ length: 6 }, () => WORDS[random.below(WORDS.length)]!).join(' ');
  writeRankLlmLists(path, 40, text, text);
}

describe('quantizeFolder', () => {
  it('publishes the int8 file beside the float32 one, or alone', async () => {
    const source = join(folder, 'source');
    await writeTinyModel(source);
    writeFileSync(join(source, 'model.json'), JSON.stringify({ format: 1, maxLength: 48, maxQueryTokens: 5 }));
    writeLists(join(folder, 'lists'));
    const options = {
      data: join(folder, 'lists.json'),
      qrels: join(folder, 'lists.qrels'),
      variant: 'int8',
      registry: join(folder, 'models'),
      depth: 8,
    } as const;
    const both = await quantizeFolder(source, { ...options, name: 'both' });
    const alone = await quantizeFolder(source, { ...options, name: 'alone', keepsFloat: false });
    const files = (at: string) => ['model.onnx', 'model_int8.onnx'].map((file) => existsSync(join(at, 'onnx', file)));
    expect(files(both.published.folder)).toEqual([true, true]);
    expect(files(alone.published.folder)).toEqual([false, true]);
    const variants = (at: string) => {
      const { selfTest } = JSON.parse(readFileSync(join(at, 'model.json'), 'utf8')) as {
        selfTest: { pairs: { scores: Record<string, number> }[] };
      };
      return Object.keys(selfTest.pairs[0]!.scores);
    };
    expect(variants(both.published.folder)).toEqual(['fp32', 'int8']);
    expect(variants(alone.published.folder)).toEqual(['int8']);
    const refined = await quantizeFolder(alone.published.folder, { ...options, name: 'refined' });
    expect(files(refined.published.folder)).toEqual([false, true]);
    expect(variants(refined.published.folder)).toEqual(['int8']);
    expect(refined.card).toContain('Against the int8 file it was made from');
    await expect(quantizeFolder(alone.published.folder, { ...options, name: 'half', variant: 'fp16' })).rejects.toThrow(
      /expected one of onnx\/model.onnx, model.onnx, onnx\/model_fp32.onnx, got none of them/,
    );
    // As optimum names its optimized files.
    renameSync(join(source, 'onnx/model.onnx'), join(source, 'onnx/model_O2.onnx'));
    const optimized = await quantizeFolder(source, { ...options, name: 'optimized', keepsFloat: false });
    expect(readdirSync(join(optimized.published.folder, 'onnx'))).toEqual(['model_int8.onnx']);
    const limits = JSON.parse(readFileSync(join(both.published.folder, 'model.json'), 'utf8'));
    expect(limits).toMatchObject({ maxLength: 48, maxQueryTokens: 5 });
  });
});

describe('quantizeFolder of a bi-encoder', () => {
  const PROMPTS = { query: 'waq ', document: 'wba ' };
  const PREFIXES = { queryPrefix: 'waq ', passagePrefix: 'wba ' };
  const QUERY = 'wcq wdq';
  const PASSAGES = ['wca', 'wda weq wfa wga wha', 'wca wdq', 'wna '.repeat(30)];

  /** Runs `work` on the folder of a bi-encoder whose graph computes its modules. */
  async function withWhole<T>(pooling: string, work: (folder: string) => Promise<T>): Promise<T> {
    const source = join(folder, `sides-${pooling}`);
    await writeTinyBiEncoder(source, { pooling, settings: { prompts: PROMPTS } });
    const deps = { writeGraph: (from: string, file: string) => writeGraph(from, file) };
    return withGraph(source, join(folder, 'models'), deps, [], (whole) => work(whole));
  }

  /** Returns the unit mean of a text's states, from the encoder alone. */
  async function vectorOf(text: string): Promise<number[]> {
    const ids = [
      2,
      ...text
        .trim()
        .split(' ')
        .map((word) => 5 + WORDS.indexOf(word)),
      3,
    ];
    const feeds = {
      input_ids: tensor('int64', [1, ids.length], ids),
      attention_mask: tensor(
        'int64',
        [1, ids.length],
        ids.map(() => 1),
      ),
    };
    const states = numbers(Object.values(await runOnce(tinyStates(), feeds))[0]!);
    const width = states.length / ids.length;
    const sum = Array.from({ length: width }, (_, i) => ids.reduce((s, _id, t) => s + states[t * width + i]!, 0));
    return sum.map((x) => x / Math.hypot(...sum));
  }

  async function vectorsBy(file: string, rows: readonly EncodedRow[], limit: number): Promise<number[][]> {
    const scorer = await openRowScorer(file, { padId: 0 }, { threads: 1 });
    const given = await scorer.score(rows, { rows: limit });
    await scorer.close();
    const width = given.length / rows.length;
    return rows.map((_, i) => [...given.subarray(i * width, (i + 1) * width)]);
  }

  const options = {
    data: join(folder, 'side-lists.json'),
    qrels: join(folder, 'side-lists.qrels'),
    variant: 'int8',
    registry: join(folder, 'models'),
    depth: 8,
  } as const;

  it('keeps kind, prefixes and scale, and compares vectors and the order of lists', async () => {
    writeLists(join(folder, 'side-lists'));
    const { published, card } = await withWhole('mean', (whole) => quantizeFolder(whole, { ...options, name: 'mean' }));
    const manifest = JSON.parse(readFileSync(join(published.folder, 'model.json'), 'utf8'));
    expect(manifest).toMatchObject({ kind: 'bi-encoder', queryPrefix: 'waq ', passagePrefix: 'wba ', scale: 1 });
    const { int8 } = manifest.training.quantization;
    expect(int8.batchDrift).toBe(0);
    expect(int8.rows).toBe(128);
    expect(int8.vectorError).toBeLessThan(0.05);
    expect(int8.rms / int8.spread).toBeLessThan(0.25);
    expect(int8.effectiveness).toMatchObject({ queries: 40 });
    expect(card).toContain('error of vectors');
    expect(card).toContain('less the mean of their list');
    // Cosines need a smaller tolerance than logits.
    expect(manifest.selfTest.tolerance).toBeLessThan(0.01);
    const [pair] = manifest.selfTest.pairs;
    expect(Math.abs(pair.scores.fp32 - pair.scores.int8)).toBeLessThan(0.05);
  });

  it('reads query and passages apart, each behind its prefix', async () => {
    writeLists(join(folder, 'side-lists'));
    const { folder: made } = (await withWhole('mean', (whole) => quantizeFolder(whole, { ...options, name: 'apart' })))
      .published;
    const tokenizer = await createLocalTokenizer(made);
    const list = { query: QUERY, passages: PASSAGES, list: 0 };
    const rows = await sideRows(tokenizer, list, pairsWithin({ maxLength: 64 }), PREFIXES);
    await tokenizer.close();
    const [query, ...passages] = await vectorsBy(join(made, 'onnx/model.onnx'), rows, 8);
    const expected = await vectorOf(`waq ${QUERY}`);
    for (const [i, x] of query!.entries()) expect(x).toBeCloseTo(expected[i]!, 5);
    for (const [p, text] of PASSAGES.entries()) {
      const wanted = await vectorOf(`wba ${text}`);
      for (const [i, x] of passages[p]!.entries()) expect(x).toBeCloseTo(wanted[i]!, 5);
    }
  });

  it.each(['mean', 'cls', 'max', 'mean_sqrt_len_tokens', 'weightedmean', 'lasttoken'])(
    'gives the same bits alone and in company with pooling %s',
    async (pooling) => {
      writeLists(join(folder, 'side-lists'));
      const { published } = await withWhole(pooling, (whole) =>
        quantizeFolder(whole, { ...options, name: pooling, keepsFloat: false }),
      );
      const tokenizer = await createLocalTokenizer(published.folder);
      const list = { query: QUERY, passages: PASSAGES, list: 0 };
      const rows = await sideRows(tokenizer, list, pairsWithin({ maxLength: 64 }), PREFIXES);
      await tokenizer.close();
      const file = join(published.folder, 'onnx/model_int8.onnx');
      expect(await vectorsBy(file, rows, 1)).toEqual(await vectorsBy(file, rows, 8));
    },
  );

  it('makes a file in half precision', async () => {
    writeLists(join(folder, 'side-lists'));
    const { published } = await withWhole('mean', (whole) =>
      quantizeFolder(whole, { ...options, variant: 'fp16', name: 'half' }),
    );
    expect(existsSync(join(published.folder, 'onnx/model_fp16.onnx'))).toBe(true);
  });
});

describe('tables beside the model', () => {
  /** A lookup in a table of 5 MiB and a product. */
  function model(weight: number) {
    const g = new GraphBuilder();
    g.input('ids', 'int64', ['n']);
    const random = createRandom(1);
    const table = Float32Array.from({ length: 20_480 * 64 }, () => random.next());
    const row = g.gather(g.initializer('words', float32([20_480, 64], table)), 'ids');
    g.output(g.matmul(row, g.initializer('weight', float32([64, 1], new Array(64).fill(weight)))), 'float32', ['n', 1]);
    return modelOf(g.build(), 17);
  }

  it('are the same bytes for models that share the table, and the models read them', async () => {
    const write = async (weight: number) => {
      const path = join(folder, `model${weight}.onnx`);
      return { path, written: await writeModel(path, model(weight), tablesIn('beside', `model${weight}`)) };
    };
    const [one, two] = [await write(1), await write(2)];
    const data = [one, two].map(({ written }) => readFileSync(written.find((file) => file.endsWith('.tables'))!));
    expect(data[0]!.length).toBe(20_480 * 64 * 4);
    expect(data[0]!.equals(data[1]!)).toBe(true);
    expect(readFileSync(one.path).length).toBeLessThan(2000);
    const feeds = { ids: tensor('int64', [2], [7, 20_479]) };
    const score = async (path: string) => numbers(Object.values(await runOnce(await readModel(path), feeds))[0]!);
    const [a, b] = [await score(one.path), await score(two.path)];
    expect(b.map((x, i) => x / a[i]!)).toEqual([2, 2]);
  });

  it('are inside by default', async () => {
    const path = join(folder, 'whole.onnx');
    expect(await writeModel(path, model(1), tablesIn('inside', 'whole'))).toEqual([path]);
  });
});
