import { Command, Option } from 'commander';
import { loadConfig } from '../config/load-config.ts';
import { WinnowError } from '../errors.ts';
import { scoreByVersion } from '../main/score-for-calibration.ts';
import type { CalibrationFacts } from '../registry/calibration.ts';
import type { ServedVersion } from '../registry/registry-types.ts';
import { nothingLeft, skipCount } from '../training/data/list-types.ts';
import {
  checkCalibration,
  fitCalibration,
  type LabeledList,
  METHODS,
  type Method,
} from '../training/publish/fit-calibration.ts';
import { labeled, readGraded } from '../training/publish/labeled-lists.ts';
import { checkedRows, qualityRows, writeCalibration } from '../training/publish/write-calibration.ts';
import { startProgress } from '../util/progress.ts';
import { type DataFlags, dataFormatOption, dataSource, leftOutText, withDataFiles } from './data-flags.ts';
import { choiceOption, modelsOption, numberOption, providerOption } from './options.ts';
import { plainTable } from './plain-table.ts';

const EXAMPLES = `
Examples:
  $ npx winnow calibrate --model my-model --format rank-llm --data BM25.dl21.top100.json --qrels qrels.dl21-passage.txt --min-relevance 2
  $ npx winnow calibrate --model my-model@3 --format jsonl --data pairs.jsonl            # labeled pairs
  $ npx winnow calibrate --model e5-small-v2 --format wikiqa --data wikiqa --split dev --method isotonic
  $ npx winnow calibrate --model my-model --format wikiqa --data wikiqa --split test --check     # how good the map is there

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
  readonly check?: true;
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

interface Scored {
  readonly version: ServedVersion;
  readonly lists: readonly LabeledList[];
  /** Files of the lists. */
  readonly files: CalibrationFacts['data'];
  readonly where: string;
  /** What was left out of the data, as text. */
  readonly leftOut: string;
}

/** Reads the lists and scores them with the model. @throws WinnowError `invalid_input` for too few. */
async function scoreLists(flags: Flags): Promise<Scored> {
  const { model, depth, judgedOnly = false } = flags;
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
  return { version: version!, lists: scored, files: [...files], where, leftOut: leftOutText(counts.skipped()) };
}

const keyOf = ({ name, version }: ServedVersion): string => `${name}@${version}`;
const HEAD = ['map', 'log loss', 'calibration error', ''];

/** Prints how good the map of a version is on other lists. @throws WinnowError `invalid_input` where it has none. */
async function check(flags: Flags): Promise<void> {
  const { version, lists, leftOut } = await scoreLists(flags);
  const map = version.calibration?.map;
  if (!map)
    throw new WinnowError('invalid_input', {
      where: '--check',
      expected: 'a model whose served file is calibrated',
      got: keyOf(version),
    });
  const checked = checkCalibration(lists, map);
  process.stdout.write(
    `${keyOf(version)}: ${checked.pairs} pairs of ${checked.lists} lists, ${checked.relevant} relevant\n${plainTable([HEAD, ...checkedRows(checked, map)])}\nwrote nothing${leftOut}\n`,
  );
}

async function run(flags: Flags): Promise<void> {
  const { model, method } = flags;
  if (flags.check) return check(flags);
  const { version, lists, files, where, leftOut } = await scoreLists(flags);
  const fitted = fitCalibration(lists, method === 'auto' ? undefined : method);
  if (!fitted)
    throw new WinnowError('invalid_input', {
      where,
      expected: 'labels by which relevant passages have higher scores',
      got: `scores of ${model} that do not rise with them`,
    });
  await writeCalibration(version.folder, fitted, { sha256: version.sha256, data: files });
  const from = `${keyOf(version)}: ${fitted.pairs} pairs of ${fitted.lists} lists, ${fitted.relevant} relevant; measured on lists left out`;
  process.stdout.write(
    `${from}\n${plainTable([HEAD, ...qualityRows(fitted)])}\nwrote the field calibration of ${version.folder}/model.json${leftOut}\n`,
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
    .addOption(new Option('--check', 'measure the map that the model has, and write nothing').conflicts('method'))
    .addOption(modelsOption())
    .addOption(providerOption())
    .addHelpText('after', EXAMPLES)
    .action(run);
}
