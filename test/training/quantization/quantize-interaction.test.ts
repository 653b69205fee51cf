import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Model } from '../../../src/onnx/graph.ts';
import { writeInteraction } from '../../../src/onnx/interaction/write-interaction.ts';
import { readModel } from '../../../src/onnx/model-file.ts';
import { pairsWithin } from '../../../src/registry/pair-limits.ts';
import { readVersionFolder } from '../../../src/registry/version-folder.ts';
import { createLocalTokenizer } from '../../../src/tokenization/local.ts';
import { readApart } from '../../../src/training/interaction/rows.ts';
import { quantizeFolder } from '../../../src/training/quantization/quantize-folder.ts';
import { openHalves } from '../../../src/training/quantization/reader.ts';
import { createRandom } from '../../../src/util/random.ts';
import { writeRankLlmLists } from '../../support/rank-llm-lists.ts';
import { type TinyForm, writeTinyInteraction } from '../../support/tiny-interaction.ts';
import { WORDS } from '../../support/tiny-model.ts';

const folder = mkdtempSync(join(tmpdir(), 'winnow-quantize-interaction-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const FORMS: Readonly<Record<string, TinyForm>> = {
  cosine: { form: 'cosine', top: 2, states: 3, queryPrefix: `${WORDS[1]} `, passagePrefix: `${WORDS[2]} ` },
  first: { form: 'first', top: 2, states: 2, bottom: 2 },
};
const random = createRandom(3);
const textOf = (words: number) => Array.from({ length: words }, () => WORDS[random.below(WORDS.length)]!).join(' ');

const writeLists = (path: string): void =>
  writeRankLlmLists(
    path,
    36,
    () => textOf(4),
    (q, d) => textOf(2 + ((q + d) % 9)),
  );

const options = {
  data: join(folder, 'lists.json'),
  qrels: join(folder, 'lists.qrels'),
  variant: 'int8',
  registry: join(folder, 'models'),
  depth: 8,
  // The graphs are too small for their times to mean anything.
  leastSpeed: { passage: 0, top: 0 },
} as const;

const NEVER = { passage: Number.POSITIVE_INFINITY, top: Number.POSITIVE_INFINITY };

const onnxIn = (version: string) => readdirSync(join(version, 'onnx')).filter((file) => file.endsWith('.onnx'));
const countOf = ({ graph }: Model, op: string) => graph.nodes.filter((node) => node.op === op).length;

describe('quantizeFolder of an interaction model', () => {
  beforeAll(async () => {
    writeLists(join(folder, 'lists'));
    for (const [name, form] of Object.entries(FORMS)) {
      await writeTinyInteraction(join(folder, name), form);
      await writeInteraction(join(folder, name));
      writeFileSync(
        join(folder, name, 'model.json'),
        JSON.stringify({ format: 1, kind: 'interaction', maxLength: 48, activation: 'none' }),
      );
    }
  });

  it.each(Object.keys(FORMS))('makes both halves, whose scores do not depend on their company: %s', async (name) => {
    const keepsFloat = name === 'cosine';
    const { published, card } = await quantizeFolder(join(folder, name), { ...options, name, keepsFloat });
    const halves = ['passage', 'top'].flatMap((half) => [...(keepsFloat ? [`${half}.onnx`] : []), `${half}_int8.onnx`]);
    expect(onnxIn(published.folder).sort()).toEqual(halves);
    const manifest = JSON.parse(readFileSync(join(published.folder, 'model.json'), 'utf8'));
    expect(manifest).toMatchObject({ kind: 'interaction' });
    const { int8 } = manifest.training.quantization;
    for (const parity of [int8, int8.halves.passage, int8.halves.top]) {
      expect(parity).toMatchObject({ batchDrift: 0, rows: 128 });
      expect(parity.rms / parity.spread).toBeLessThan(0.25);
    }
    expect(int8.effectiveness).toMatchObject({ queries: 36 });
    expect(card).toContain('less the mean of their list');
    expect(Object.keys(manifest.selfTest.pairs[0].scores)).toEqual([...(keepsFloat ? ['fp32'] : []), 'int8']);

    const [passage, top] = await Promise.all(
      ['passage_int8', 'top_int8'].map((half) => readModel(join(published.folder, 'onnx', `${half}.onnx`))),
    );
    expect(passage!.graph.outputs.map((output) => output.name)).toEqual(
      name === 'cosine' ? ['states', 'scales', 'vector'] : ['states', 'scales'],
    );
    expect(countOf(top!, 'MatMulIntegerToFloat')).toBeGreaterThan(10);
    const local = await createLocalTokenizer(published.folder);
    const tokenizer = readApart(local, { queryPrefix: '', passagePrefix: '', ...FORMS[name] });
    const texts = Array.from({ length: 9 }, (_, i) => textOf(1 + 4 * i));
    const encoded = await Promise.all(
      [2, 5].map((words) => tokenizer.encode(textOf(words), texts, pairsWithin({ maxLength: 48 }))),
    );
    const rows = encoded.flatMap((request) => request.rows);
    const scorer = await openHalves({ passage: passage!, kept: 'int8' }, top!, local.padId, { threads: 1 });
    const all = await scorer.score(rows, { rows: 18 });
    expect(await scorer.score(rows, { rows: 1 })).toEqual(all);
    expect(new Set(all).size).toBeGreaterThan(12);
    await scorer.close();
    await local.close();
  });

  it('leaves a half in float32 that does not pay, and says so', async () => {
    const source = join(folder, 'cosine');
    await expect(quantizeFolder(source, { ...options, name: 'none', leastSpeed: NEVER })).rejects.toThrow(
      /passage: it takes .* top: it takes .* processor time/,
    );
    await expect(quantizeFolder(source, { ...options, name: 'half', variant: 'fp16' })).rejects.toThrow('int8 alone');
    expect(existsSync(join(options.registry, 'none'))).toBe(false);
    rmSync(join(folder, 'first/onnx/top.onnx'));
    rmSync(join(folder, 'first/onnx/passage.onnx'));
    writeFileSync(join(folder, 'first/onnx/top_int8.onnx'), '');
    writeFileSync(join(folder, 'first/onnx/passage_int8.onnx'), '');
    await expect(quantizeFolder(join(folder, 'first'), { ...options, name: 'again' })).rejects.toThrow(
      'float32 files onnx/passage.onnx and onnx/top.onnx',
    );
  });

  it('keeps the float32 file of a half that stays', async () => {
    const leastSpeed = { ...NEVER, passage: 0 };
    // What an earlier run left is no part of the new variant.
    writeFileSync(join(folder, 'cosine/onnx/top_int8.onnx'), '');
    const { published, card } = await quantizeFolder(join(folder, 'cosine'), {
      ...options,
      name: 'mixed',
      leastSpeed,
      keepsFloat: false,
    });
    expect(onnxIn(published.folder).sort()).toEqual(['passage_int8.onnx', 'top.onnx']);
    expect(card).toContain('`onnx/top.onnx` stays in float32: it takes');
    const { halves } = JSON.parse(readFileSync(join(published.folder, 'model.json'), 'utf8')).training.quantization
      .int8;
    expect(halves.top.float32).toContain('processor time');
    expect((await readVersionFolder(published.folder)).variants).toEqual([
      { name: 'int8', file: 'onnx/top.onnx', passages: 'onnx/passage_int8.onnx' },
    ]);
  });
});
