import { basename, resolve } from 'node:path';
import { Command } from 'commander';
import { WinnowError } from '../errors.ts';
import { withGraphOf } from '../main/admission-tools.ts';
import { quantizeFolder } from '../training/quantization/quantize-folder.ts';
import { TABLE_PLACES, type TablePlace, VARIANTS, type Variant } from '../training/recipe/variant-names.ts';
import { startProgress } from '../util/progress.ts';
import { acceptOldFlag, choiceOption, modelsOption, numberOption } from './options.ts';

const EXAMPLES = `
Examples:
  $ npx winnow quantize models/my-model/3 --data data/dev.json --qrels data/qrels.txt
  $ npx winnow quantize ./export --data data/beir/scifact --name scifact-reranker
  $ npx winnow quantize models/my-model/3 --data data/dev.json --to fp16`;

interface Flags {
  readonly data: string;
  readonly qrels?: string;
  readonly to: Variant;
  readonly models: string;
  readonly name?: string;
  readonly label?: string;
  readonly depth: number;
  readonly tables: TablePlace;
  readonly attentionNoise?: number;
  readonly only?: true;
}

function progress(): (stage: string, done: number, total: number) => void {
  const bars = new Map<string, ReturnType<typeof startProgress>>();
  return (stage, done, total) => {
    const bar = bars.get(stage) ?? startProgress(stage, total, done);
    bars.set(stage, bar);
    bar.update(done);
    if (done >= total) bar.stop();
  };
}

async function run(source: string, flags: Flags): Promise<void> {
  if (flags.to !== 'int8' && flags.attentionNoise !== undefined)
    throw new WinnowError('invalid_input', {
      where: '--attention-noise',
      expected: 'to be left out with --to fp16, which has no 8-bit attention scores',
      got: String(flags.attentionNoise),
    });
  const registry = resolve(flags.models);
  const options = {
    data: resolve(flags.data),
    ...(flags.qrels !== undefined && { qrels: resolve(flags.qrels) }),
    variant: flags.to,
    registry,
    name: flags.name ?? basename(resolve(source, '..')),
    ...(flags.label !== undefined && { label: flags.label }),
    depth: flags.depth,
    tables: flags.tables,
    ...(flags.attentionNoise !== undefined && { attentionNoise: flags.attentionNoise }),
    keepsFloat: !flags.only,
    onProgress: progress(),
  };
  const names = flags.name === undefined ? [] : [flags.name];
  const result = await withGraphOf(resolve(source), registry, names, (folder, warnings) => {
    for (const warning of warnings) process.stderr.write(`${source}: ${warning}\n`);
    return quantizeFolder(folder, options);
  });
  process.stdout.write(
    `${result.card}\npublished ${result.published.name}@${result.published.version} in ${result.published.folder}\n`,
  );
}

/** Makes `winnow quantize`: adds a smaller file to a model. */
export function command(): Command {
  const quantize = new Command('quantize')
    .description(
      'Add an int8 (or fp16) file to a cross-encoder or bi-encoder, or int8 files to an interaction model: scores that do not depend on co-batched rows, compared with float32.',
    )
    .argument(
      '<folder>',
      'model folder in Hugging Face layout with weights or a float32 ONNX file, or an int8 file to make faster',
    )
    .requiredOption('--data <path>', 'data set whose pairs calibrate and compare, in any format of `npx winnow eval`')
    .option('--qrels <file>', 'judgements, to measure what the smaller file loses')
    .addOption(choiceOption('--to <variant>', 'variant to make', VARIANTS, 'int8'))
    .addOption(modelsOption())
    .option('--name <name>', 'name of the model (default: the name of the parent folder)')
    .option('--label <label>', 'label to set on the new version')
    .addOption(
      numberOption('--depth <n>', 'passages of a query that are re-ranked to measure', { integer: true, min: 1 }, 100),
    )
    .addOption(
      choiceOption(
        '--tables <place>',
        'word embeddings in the model file, or in a file beside it',
        TABLE_PLACES,
        'inside',
      ),
    )
    .addOption(
      numberOption(
        '--attention-noise <share>',
        "int8: keep a layer's attention scores float where 8 bits alone would change the model's scores by more than this share of their deviation (default: all are 8-bit)",
        { min: 0 },
      ),
    )
    .option('--only', 'leave out the float32 file of the new version')
    .addHelpText('after', EXAMPLES)
    .action(run);
  return acceptOldFlag(quantize, '--registry', '--models');
}
