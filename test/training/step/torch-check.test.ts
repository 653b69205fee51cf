import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, describe, expect, it } from 'vitest';
import { readSafetensors } from '../../../src/onnx/safetensors.ts';
import { numbers, transposeTensor } from '../../../src/onnx/tensor.ts';
import { loadBackbone } from '../../../src/training/step/backbone.ts';
import { writeTorchCheck } from '../../../src/training/step/torch-check.ts';
import { writeTinyModel } from '../../support/tiny-model.ts';

const folder = mkdtempSync(join(tmpdir(), 'winnow-torch-check-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const open = async () =>
  loadBackbone(await writeTinyModel(join(folder, 'tiny')), { head: 'auto', seed: 1, freeze: [] });

describe('a check by PyTorch', () => {
  it('holds batches, losses, and weights and gradients in the layout of PyTorch', async () => {
    const backbone = await open();
    const { file, losses, script } = await writeTorchCheck(backbone, 'BCE', join(folder, 'check'), 5);
    const { tensors } = await readSafetensors(file);
    const value = backbone.model.graph.initializers.get('attention.weight')!;
    expect(numbers(tensors.get('weight.attention.weight')!)).toEqual(numbers(transposeTensor(value)));
    // Stored as [out, in] in the graph already.
    expect(tensors.get('gradient.0.classifier.weight')!.dims).toEqual([1, 16]);
    expect(tensors.get('gradient.1.word_embeddings.weight')!.dims).toEqual([45, 16]);
    expect(tensors.get('batch.0.input_ids')!.dims).toEqual([6, 9]);
    expect([0, 1].map((b) => numbers(tensors.get(`loss.${b}`)!)[0])).toEqual(losses);
    expect(losses[0]).not.toBe(losses[1]);
    expect(script).toContain('F.binary_cross_entropy_with_logits(s, y.clamp(max=1), weight=w)');
    expect(script).toContain(JSON.stringify(file));
  });

  it('is refused for an objective without a formula', async () =>
    expect(writeTorchCheck(await open(), 'LambdaLoss', join(folder, 'check'), 1)).rejects.toThrow(
      /--objective: expected one of BCE.*got LambdaLoss/,
    ));

  it('prints a script that Python can read', async (test) => {
    const { script } = await writeTorchCheck(await open(), 'PListMLE', join(folder, 'check'), 1);
    const path = join(folder, 'check.py');
    writeFileSync(path, script);
    const parse = `import ast, sys; ast.parse(open(sys.argv[1]).read())`;
    const python = process.env.WINNOW_PYTHON ?? 'python3';
    const run = promisify(execFile);
    if (!(await run(python, ['--version']).catch(() => undefined))) test.skip(`no ${python}`);
    await run(python, ['-c', parse, path]);
  });
});
