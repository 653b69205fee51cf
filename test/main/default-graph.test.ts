import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load-config.ts';
import { calibrate } from '../../src/inference/calibrate.ts';
import { defaultGraph } from '../../src/main/default-graph.ts';
import { defaultWeightBytes } from '../../src/main/weight-bytes.ts';
import { writeInteraction } from '../../src/onnx/interaction/write-interaction.ts';
import { writeTinyInteraction } from '../support/tiny-interaction.ts';

/* What a start reads of a default model that is an interaction model. */

const models = mkdtempSync(join(tmpdir(), 'winnow-default-graph-'));
const folder = join(models, 'm/1');
const config = loadConfig(['--models', models], {});
beforeAll(async () => {
  await writeInteraction(await writeTinyInteraction(folder, { form: 'cosine', top: 1, states: 4 }));
});
afterAll(() => rmSync(models, { recursive: true, force: true }));

it('counts the weights of both graphs', async () => {
  const sizes = ['onnx/passage.onnx', 'onnx/top.onnx'].map((file) => statSync(join(folder, file)).size);
  expect(await defaultWeightBytes(config)).toBe(sizes[0]! + sizes[1]!);
});

it('measures layouts by the graph of passages', async () => {
  const spec = await defaultGraph(config);
  expect(spec?.file).toBe(join(folder, 'onnx/passage.onnx'));
  const rows = [4, 9, 9].map((length) => ({ ids: new Int32Array(length).fill(7), secondSegment: length }));
  const { trials } = await calibrate(spec!, { candidates: [{ hosts: 1, threads: 1 }], rounds: 1, rows });
  expect(trials[0]!.rowsPerSecond).toBeGreaterThan(0);
});
