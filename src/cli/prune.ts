import { resolve } from 'node:path';
import { Command } from 'commander';
import { readVersionFolder } from '../registry/version-folder.ts';
import type { VariantPreference } from '../registry/version-variants.ts';
import { type Calibrated, calibratePruning, writePruning } from '../training/pruning/calibrate-pruning.ts';
import { startProgress } from '../util/progress.ts';
import { type DataFlags, dataFormatOption, dataSource, leftOutText, withDataFiles } from './data-flags.ts';
import { choiceOption, numberOption } from './options.ts';
import { plainTable } from './plain-table.ts';

const EXAMPLES = `
Examples:
  $ npx winnow prune models/my-model/3 --format rank-llm --data BM25.dl21.top100.json
  $ npx winnow prune models/my-model/3 --format rank-llm --data bm25.json --data splade.json --share 0.1

Writes the field \`pruning\` of the folder's model.json. Requests then may say \`"prune": {"recall": 0.95}\`.
Use lists of training queries, not of those that the model is measured with.
`;

interface Flags extends Omit<DataFlags, 'data'> {
  readonly data: readonly string[];
  readonly depth: number;
  readonly share: number;
  readonly variant: VariantPreference;
}

const percent = (part: number): string => `${(100 * part).toFixed(1)} %`;

/** Returns the table of what stays. */
function curveText({ curve, count, facts, passages }: Calibrated): string {
  const rows = curve.map(({ recall, rows: staying, found }) => [
    String(recall),
    percent(found),
    percent(staying),
    `${(1 / (facts.share + staying)).toFixed(2)}x`,
  ]);
  const head = ['recall', `first ${count} kept`, 'passages kept', 'fewer tokens'];
  const from = `${facts.lists} lists, ${passages} passages; the early score costs ${percent(facts.share)} of the model`;
  return `${from}\n${plainTable([head, ...rows])}`;
}

async function run(source: string, flags: Flags): Promise<void> {
  const folder = resolve(source);
  let bar: ReturnType<typeof startProgress> | undefined;
  const onLists = (done: number, total: number) => {
    bar ??= startProgress('lists', total, done);
    bar.update(done);
    if (done === total) bar.stop();
  };
  const { depth, share, variant } = flags;
  const data = flags.data.map((path) => dataSource({ ...flags, data: path }));
  const calibrated = await calibratePruning(folder, { data, depth, share, variant, onLists });
  const { manifest } = await readVersionFolder(folder);
  await writePruning(folder, manifest, calibrated.facts);
  const where = `wrote the field pruning of ${source}/model.json`;
  process.stdout.write(`${curveText(calibrated)}\n${where}${leftOutText(calibrated.leftOut)}\n`);
}

const collect = (value: string, before: readonly string[] | undefined): readonly string[] => [...(before ?? []), value];

/** Makes `winnow prune`: calibrates a model for early pruning. */
export function command(): Command {
  const prune = new Command('prune')
    .description('Calibrate a model for early pruning: passages that cannot reach the first results are not scored.')
    .argument('<folder>', 'version folder, such as models/my-model/3')
    .addOption(dataFormatOption().makeOptionMandatory())
    .requiredOption('--data <path>', 'candidate lists of training queries; repeat the flag for several files', collect);
  return withDataFiles(prune)
    .addOption(numberOption('--depth <n>', 'passages of a list, from rank 1', { integer: true, min: 2 }, 100))
    .addOption(
      numberOption('--share <part>', 'part of the model that the early score may cost', { min: 0, max: 0.9 }, 0.17),
    )
    .addOption(choiceOption('--variant <name>', 'ONNX file that serves', ['auto', 'fp32', 'fp16', 'int8'], 'auto'))
    .addHelpText('after', EXAMPLES)
    .action(run);
}
