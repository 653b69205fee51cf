import { Command } from 'commander';
import { loadConfig } from '../config/load-config.ts';
import { WinnowError } from '../errors.ts';
import { scoreByVersion } from '../main/score-for-calibration.ts';
import type { ServedVersion } from '../registry/registry-types.ts';
import { nothingLeft, skipCount } from '../training/data/list-types.ts';
import { fitCalibration, type LabeledList, METHODS, type Method } from '../training/publish/fit-calibration.ts';
import { labeled, readGraded } from '../training/publish/labeled-lists.ts';
import { qualityRows, writeCalibration } from '../training/publish/write-calibration.ts';
import { startProgress } from '../util/progress.ts';
import { type DataFlags, dataFormatOption, dataSource, leftOutText, withDataFiles } from './data-flags.ts';
import { choiceOption, modelsOption, numberOption, providerOption } from './options.ts';
import { plainTable } from './plain-table.ts';

const EXAMPLES = `
Examples:
  $ npx winnow calibrate --model my-model --format rank-llm --data BM25.dl21.top100.json --qrels qrels.dl21-passage.txt --min-relevance 2
  $ npx winnow calibrate --model my-model@3 --format jsonl --data pairs.jsonl            # labeled pairs
  $ npx winnow calibrate --model e5-small-v2 --format wikiqa --data wikiqa --split dev --method isotonic

Writes the field \`calibration\` of the version's model.json: relevance scores become probabilities, and \`min_score\` a bound on them. The order
of passages stays. Use judgements of queries that the model was neither trained nor is measured on. A running server takes the map when it
notices the change of the folder.
`;

interface Flags extends Omit<DataFlags, 'data'> {
  readonly model: string;
  readonly models: string;
  readonly data: readonly string[];
  readonly provider?: 'auto' | 'cpu' | 'cuda' | 'webgpu';
  readonly depth: number;
  readonly judgedOnly?: boolean;
  readonly method: 'auto' | Method;
}

/** Pairs of each kind that a map needs: fewer say little about probabilities. */
const LEAST_PAIRS = 10;
/** Queries that a map needs, so that some can be held out. */
const LEAST_QUERIES = 10;

/** @throws WinnowError `invalid_input` for too few queries, relevant or other pairs. */
function checkEnough(lists: readonly LabeledList[], where: string, leftOut: Readonly<Record<string, number>>): void {
  const queries = new Set(lists.map(({ qid }) => qid)).size;
  if (queries < LEAST_QUERIES) throw nothingLeft(where, `at least ${LEAST_QUERIES} queries`, leftOut, queries);
  const labels = lists.flatMap((list) => list.labels);
  const relevant = labels.filter((label) => label === 1).length;
  const counts = { relevant, 'not relevant': labels.length - relevant };
  for (const [kind, count] of Object.entries(counts))
    if (count < LEAST_PAIRS)
      throw new WinnowError('invalid_input', {
        where,
        expected: `at least ${LEAST_PAIRS} pairs that are ${kind}`,
        got: String(count),
      });
}

const configOf = ({ models, provider }: Flags) =>
  loadConfig(
    [
      ...['--models', models, '--registry-watch', 'false', '--telemetry-log-level', 'warn'],
      ...(provider === undefined ? [] : ['--provider', provider]),
    ],
    process.env,
  );

async function run(flags: Flags): Promise<void> {
  const { model, depth, judgedOnly = false, method } = flags;
  const counts = skipCount();
  const data = flags.data.map((path) => dataSource({ ...flags, data: path }));
  const { lists, files } = await readGraded({ data, depth, judgedOnly }, counts);
  const where = flags.data.join(', ');
  // Before any pair is scored.
  checkEnough(
    lists.map((list) => labeled(list, [])),
    where,
    counts.skipped(),
  );
  const scored: LabeledList[] = [];
  let version: ServedVersion | undefined;
  const progress = startProgress('calibrate', lists.length);
  async function* all() {
    yield* lists;
  }
  try {
    for await (const { list, scores, version: served } of scoreByVersion(configOf(flags), model, all())) {
      version = served;
      scored.push(labeled(list, scores));
      progress.update(scored.length, 'lists');
    }
  } finally {
    progress.stop();
  }
  const fitted = fitCalibration(scored, method === 'auto' ? undefined : method);
  if (!version || !fitted)
    throw new WinnowError('invalid_input', {
      where,
      expected: 'labels by which relevant passages have higher scores',
      got: `scores of ${model} that do not rise with them`,
    });
  await writeCalibration(version.folder, fitted, { sha256: version.sha256, data: [...files] });
  const key = `${version.name}@${version.version}`;
  const from = `${key}: ${fitted.pairs} pairs of ${fitted.lists} lists, ${fitted.relevant} relevant; measured on lists left out`;
  const table = plainTable([['map', 'log loss', 'calibration error', ''], ...qualityRows(fitted)]);
  process.stdout.write(
    `${from}\n${table}\nwrote the field calibration of ${version.folder}/model.json${leftOutText(counts.skipped())}\n`,
  );
}

const collect = (value: string, before: readonly string[] | undefined): readonly string[] => [...(before ?? []), value];

/** Makes `winnow calibrate`: fits probabilities. */
export function command(): Command {
  const calibrate = new Command('calibrate')
    .description('Make the relevance scores of a model probabilities, by judged lists or labeled pairs.')
    .requiredOption('--model <name>', 'model of the registry folder: name, name@version or name:label')
    .addOption(dataFormatOption('format of the lists or pairs').makeOptionMandatory())
    .requiredOption('--data <path>', 'file or folder of the lists; repeat the flag for several', collect);
  return withDataFiles(calibrate)
    .addOption(numberOption('--min-relevance <x>', 'lowest grade or label of a relevant passage', {}))
    .option('--judged-only', 'leave out passages without a judgement, which else count as not relevant')
    .addOption(numberOption('--depth <n>', 'passages of a list, from rank 1', { integer: true, min: 1 }, 100))
    .addOption(
      choiceOption(
        '--method <name>',
        'form of the map; auto: the one with the lower log loss on lists left out',
        ['auto', ...METHODS],
        'auto',
      ),
    )
    .addOption(modelsOption())
    .addOption(providerOption())
    .addHelpText('after', EXAMPLES)
    .action(run);
}
