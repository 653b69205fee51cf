import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { fromSafetensors } from '../../../src/onnx/architectures/architectures.ts';
import { writeModel } from '../../../src/onnx/model-file.ts';
import { readSafetensors } from '../../../src/onnx/safetensors.ts';
import { selfTestScores } from '../../../src/training/measure/self-test.ts';
import { checkPublish } from '../../../src/training/publish/check-publish.ts';
import { checkTorchExport } from '../../../src/training/publish/torch-folder.ts';
import { parseRecipe } from '../../../src/training/recipe/recipe.ts';
import { loadBackbone } from '../../../src/training/step/backbone.ts';
import { winnow } from '../../support/command.ts';
import { writeTinyModel } from '../../support/tiny-model.ts';
import { bare, publishTiny, SMALL_MODELS, type SmallModel, writeSmall } from '../../support/torch-cases.ts';

const root = mkdtempSync(join(tmpdir(), 'winnow-torch-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

let count = 0;
const write = (model: SmallModel) => writeSmall(join(root, `b${++count}`), model);
const named = (name: string) => SMALL_MODELS.find((model) => model.name === name)!;

/** Writes the ONNX file of a folder's weights into another folder. */
async function exported(from: string): Promise<string> {
  const to = join(root, `b${++count}`);
  await mkdir(join(to, 'onnx'), { recursive: true });
  await writeModel(join(to, 'onnx', 'model.onnx'), await fromSafetensors(from));
  for (const file of ['config.json', 'tokenizer.json', 'tokenizer_config.json'])
    cpSync(join(from, file), join(to, file));
  return to;
}

type Head = Parameters<typeof loadBackbone>[1]['head'];

async function check(at: string, head: Head = 'auto'): Promise<void> {
  const recipe = { head, seed: 1, freeze: [] };
  await checkTorchExport(recipe, await loadBackbone(at, recipe));
}

const isClassifier = ({ config }: SmallModel) => `${config.architectures}`.endsWith('ForSequenceClassification');
/** One model of each family. */
const FAMILIES = [...Map.groupBy(SMALL_MODELS, ({ config }) => config.model_type).values()].map(([first]) => first!);

describe('weights of a backbone as PyTorch has them', () => {
  it.each(SMALL_MODELS.filter((model) => isClassifier(model) && !model.name.endsWith('two labels')))(
    '$name, with its own classifier',
    async (model) => {
      await check(await write(model));
    },
  );

  it.each(FAMILIES)('$config.model_type, with a new head, from an ONNX file', async (model) => {
    await check(await exported(await write(bare(model))));
  });

  it('with heads that need modules', async () => {
    const at = await write(bare(named('distilbert with sines for positions')));
    for (const head of ['auto', { pooling: 'cls', hidden: false }, { pooling: 'mean', hidden: true }] as const)
      await check(at, head);
  });

  it('are refused by name where PyTorch has none, before training', async () => {
    const bert = await write(bare(named('bert with one type')));
    await expect(check(bert, { pooling: 'pair', hidden: false })).rejects.toThrow(/head.pooling pair|token_type_ids/);
    const typed = await write(bare(named('bert with three types and silu')));
    await expect(check(typed, { pooling: 'pair', hidden: false })).rejects.toThrow(
      'publish.formats: expected a head that PyTorch has modules for (head.pooling cls or mean), got head.pooling pair',
    );
    await expect(check(await write(named('deberta-v3 with wide buckets and two labels')))).rejects.toThrow(
      /publish.formats: .*classifier.weight/,
    );
    // A graph that is no BERT, whatever its config.json says.
    const other = await writeTinyModel(join(root, 'no-bert'));
    const publish = { registry: 'registry', formats: ['onnx', 'safetensors'] };
    const document = {
      name: 'x',
      backbone: other,
      objective: 'BCE',
      data: { train: [{ format: 'jsonl', path: 'x' }] },
    };
    const recipe = parseRecipe({ ...document, publish }, 'test');
    await expect(checkPublish({ recipe, folder: root, source: '' })).rejects.toThrow(
      /publish.formats: expected weights of .*no-bert that PyTorch's classes read, got .*; publish onnx alone/,
    );
  });

  it('formats without onnx are refused', () => {
    const document = { name: 'x', backbone: 'b', objective: 'BCE', data: { train: [{ format: 'jsonl', path: 'x' }] } };
    expect(() => parseRecipe({ ...document, publish: { formats: ['safetensors'] } }, 'test')).toThrow(
      /onnx among them, which Winnow serves/,
    );
  });
});

describe('a published version with safetensors', () => {
  it.each([
    ['a classifier', named('mpnet'), 'auto', ['model.safetensors']],
    [
      'modules',
      bare(named('modernbert, cls, each second layer global')),
      'auto',
      [
        '1_Pooling/config.json',
        '2_Dense/model.safetensors',
        '3_Dense/model.safetensors',
        'model.safetensors',
        'modules.json',
      ],
    ],
  ] as const)(
    '%s: is served, and its weights alone are imported with the same scores',
    async (_, model, head, files) => {
      const { folder, recipe } = await publishTiny(root, { ...model, head });
      for (const file of files) expect(existsSync(join(folder, file)), file).toBe(true);
      const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'));
      expect(config).toMatchObject({ dtype: 'float32', num_labels: 1 });
      expect((await readSafetensors(join(folder, 'model.safetensors'))).metadata).toEqual({ format: 'pt' });
      const models = join(root, 'registry');
      expect(await winnow('models', 'verify', folder.split('/').at(-2)!, '--models', models)).toMatchObject({
        code: 0,
      });
      const weights = join(root, `weights-${files.length}`);
      cpSync(folder, weights, { recursive: true });
      for (const file of ['onnx', 'model.json']) rmSync(join(weights, file), { recursive: true });
      const imported = join(root, 'imported');
      const result = await winnow('models', 'import', weights, `m${files.length}`, '--models', imported);
      expect(result, result.error).toMatchObject({ code: 0 });
      const scores = (at: string) => selfTestScores(join(at, 'onnx', 'model.onnx'), at, recipe);
      const [got, wanted] = [await scores(join(imported, `m${files.length}`, '1')), await scores(folder)];
      got.forEach((score, i) => {
        expect(score).toBeCloseTo(wanted[i]!, 5);
      });
      // The version as it is can be copied to another registry, too.
      expect(await winnow('models', 'import', folder, 'whole', '--models', join(root, 'copies'))).toMatchObject({
        code: 0,
      });
    },
  );
});
