import { Command, Option } from 'commander';
import { type CheckReport, checkGradients, type WeightCheck } from '../autodiff/check-gradients.ts';
import { WinnowError } from '../errors.ts';
import { unfrozen } from '../onnx/weights.ts';
import { OBJECTIVE_ROWS, objectiveLoss } from '../training/objectives/check-objective.ts';
import { type Backbone, loadBackbone } from '../training/step/backbone.ts';
import { writeTorchCheck } from '../training/step/torch-check.ts';
import { startProgress } from '../util/progress.ts';
import { numberOption } from './options.ts';
import { plainTable } from './plain-table.ts';

const EXAMPLES = `
Examples:
  $ npx winnow gradcheck models/my-backbone
  $ npx winnow gradcheck models/my-backbone --objective InfoNCE --freeze word_embeddings
  $ npx winnow gradcheck models/my-backbone --all --json > check.json
  $ npx winnow gradcheck models/my-backbone --against torch --out check > check.py && python check.py

A model without a scoring head gets a new one, as in training. The float32 gradient of every weight is compared with
central differences of the same model in double precision. The exit code is 1 if a weight fails. With --against torch
nothing is compared: batches, weights, losses and gradients are written into --out, and the PyTorch script that repeats
them is printed.`;

interface Flags {
  readonly against?: 'torch';
  readonly out?: string;
  readonly objective?: string;
  readonly freeze: readonly string[];
  readonly seed: number;
  readonly all?: true;
  readonly json?: true;
}

const cellsOf = (w: WeightCheck): string[] => [
  w.ratio <= 1 ? 'ok' : 'WRONG',
  (w.norm > 0 ? w.error / w.norm : 0).toExponential(1),
  w.norm.toExponential(3),
  w.weight,
  `[${w.dims.join(', ')}]`,
  w.node,
];

/** Returns the report as a table of the `shown` worst weights, with a summary. */
function toText(report: CheckReport, shown: number): string {
  const rows = [
    ['', 'relative', 'gradient', 'weight', 'shape', 'read by'],
    ...report.weights.slice(0, shown).map(cellsOf),
  ];
  const wrong = report.weights.filter((w) => w.ratio > 1).length;
  const rest = report.weights.length - shown;
  const notes = [
    ...(rest > 0 ? [`… and ${rest} more, none worse (--all shows them)`] : []),
    ...(report.unreached.length > 0 ? [`not reached by the loss: ${report.unreached.join(', ')}`] : []),
    `${report.weights.length} weights, ${wrong} wrong, norm of all gradients ${report.globalNorm.toExponential(3)}`,
  ];
  return `${[plainTable(rows), ...notes].join('\n')}\n`;
}

/** Writes the files of a check by PyTorch and prints its script. */
async function writeFor(backbone: Backbone, { out, objective = 'BCE', seed, ...flags }: Flags): Promise<void> {
  const idle = flags.all ? '--all' : flags.json ? '--json' : flags.freeze.length > 0 ? '--freeze' : undefined;
  if (idle !== undefined)
    throw new WinnowError('invalid_input', { where: idle, expected: 'no such flag with --against torch', got: idle });
  const { file, script, losses } = await writeTorchCheck(backbone, objective, out ?? 'gradcheck', seed);
  process.stderr.write(`wrote ${file}: ${objective}, losses ${losses.join(', ')}\n`);
  process.stdout.write(script);
}

async function run(folder: string, flags: Flags): Promise<void> {
  if (flags.out !== undefined && flags.against === undefined)
    throw new WinnowError('invalid_input', {
      where: '--out',
      expected: '--against torch beside it',
      got: 'no --against',
    });
  const backbone = await loadBackbone(folder, { head: 'auto', seed: flags.seed, freeze: [] });
  if (flags.against) return writeFor(backbone, flags);
  const weights = backbone.weights.map((w) => ({
    tensor: w.name,
    name: w.parameter,
    dims: w.value.dims,
    decay: w.decays,
  }));
  const kept = unfrozen(weights, flags.freeze);
  const progress = startProgress('gradcheck', kept.length);
  const report = await checkGradients(backbone.model, kept, {
    seed: flags.seed,
    ...(flags.objective === undefined ? {} : { loss: objectiveLoss(flags.objective), rows: OBJECTIVE_ROWS }),
    onWeight: (done) => progress.update(done),
  }).finally(() => progress.stop());
  process.stdout.write(
    flags.json ? `${JSON.stringify(report, null, 2)}\n` : toText(report, flags.all ? report.weights.length : 15),
  );
  if (!report.passed) process.exitCode = 1;
}

/** Makes `winnow gradcheck`: compares gradients with central differences. */
export function command(): Command {
  return new Command('gradcheck')
    .description('Compare the gradient of every weight with central differences; the worst come first.')
    .argument('<folder>', 'model folder in Hugging Face layout')
    .option('--objective <name>', 'objective that is differentiated (default: a random combination of the logits)')
    .addOption(new Option('--freeze <patterns...>', 'parts of names of weights to leave out').default([]))
    .addOption(numberOption('--seed <n>', 'random seed of batch, directions and head', { integer: true, min: 0 }, 1))
    .addOption(
      new Option('--against <program>', 'write the check for another program instead of running it').choices(['torch']),
    )
    .option('--out <folder>', 'folder of the files for --against (default: gradcheck)')
    .option('--all', 'print every weight')
    .option('--json', 'print the whole report as JSON')
    .addHelpText('after', EXAMPLES)
    .action(run);
}
