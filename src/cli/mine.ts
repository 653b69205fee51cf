import { Command } from 'commander';
import { WinnowError } from '../errors.ts';
import type { MineSettings } from '../training/teachers/mine.ts';
import { mineToFile } from '../training/teachers/mine-to-file.ts';
import { parseRanks } from '../util/cli-numbers.ts';
import { startProgress } from '../util/progress.ts';
import { type DataFlags, dataSource, leftOutText, withDataFlags } from './data-flags.ts';
import { choiceOption, numberOption } from './options.ts';

const EXAMPLES = `
Examples:
  $ npx winnow mine --format beir --data scifact --corpus scifact/corpus.jsonl --out train.jsonl
  $ npx winnow mine --format beir --data nq --corpus nq/corpus.jsonl --index indexes/nq --ranks 10-100 --strategy random --out train.jsonl
  $ npx winnow mine --format beir --data scifact --corpus scifact/corpus.jsonl --bi-encoder e5-small-v2 --vectors vectors --out train.jsonl
  $ npx winnow mine --format jsonl --data pairs.jsonl --out train.jsonl     # negatives come from the passages of the file
  $ npx winnow mine --format beir --data scifact --corpus scifact/corpus.jsonl --teacher teacher.run --ratio 0.95 --out train.jsonl

Writes JSON lines {query, pos, neg}, with pos_scores and neg_scores where the teacher has a score for every passage. Passages judged
relevant are never negatives. To filter false negatives, score the passages with \`npx winnow score\` first.
`;

interface Flags extends DataFlags {
  readonly corpus?: string;
  readonly index?: string;
  readonly run?: string;
  readonly biEncoder?: string;
  readonly vectors?: string;
  readonly ranks: [number, number];
  readonly negatives: number;
  readonly strategy: MineSettings['strategy'];
  readonly teacher?: string;
  readonly margin?: number;
  readonly ratio?: number;
  readonly seed: number;
  readonly out: string;
}

/** @throws WinnowError `invalid_input` for several first stages, and for `--vectors` without an encoder. */
function checkStage({ run, index, biEncoder, vectors }: Flags): void {
  const stages = Object.entries({ '--run': run, '--index': index, '--bi-encoder': biEncoder });
  const given = stages.filter(([, value]) => value !== undefined).map(([flag]) => flag);
  if (given.length > 1)
    throw new WinnowError('invalid_input', {
      where: given.at(-1)!,
      expected: 'one first stage',
      got: given.join(' and '),
    });
  if (vectors !== undefined && biEncoder === undefined)
    throw new WinnowError('invalid_input', { where: '--vectors', expected: '--bi-encoder', got: 'none' });
}

async function run(flags: Flags): Promise<void> {
  const { corpus, index, teacher, out, ranks, negatives, strategy, seed, biEncoder, vectors } = flags;
  checkStage(flags);
  const { queries, firstStage, leftOut } = await mineToFile(
    {
      data: dataSource(flags),
      corpus,
      index,
      run: flags.run,
      biEncoder,
      sides: { vectors },
      teacher,
      settings: { ranks, negatives, strategy, seed, teacherMargin: flags.margin, teacherRatio: flags.ratio },
      out,
    },
    startProgress,
  );
  process.stdout.write(`${out}: ${queries} queries from ${firstStage}${leftOutText(leftOut)}\n`);
}

/** Makes `winnow mine`: finds hard negatives. */
export function command(): Command {
  return withDataFlags(
    new Command('mine').description(
      'Find hard negatives by BM25 or a sentence encoder for queries with known positives.',
    ),
  )
    .option('--corpus <file>', 'collection of the negatives (default: the passages of the data)')
    .option('--index <folder>', 'BM25 index of the corpus, from `npx winnow index` (default: one is built)')
    .option('--run <file>', 'run of another first stage, in place of BM25')
    .option('--bi-encoder <folder>', 'sentence encoder that compares every passage, in place of BM25')
    .option('--vectors <folder>', 'folder that keeps the vectors of the bi-encoder for later runs')
    .option('--ranks <from-to>', 'ranks of the negatives', (text) => parseRanks(text, '--ranks'), [1, 100])
    .addOption(numberOption('--negatives <n>', 'number of negatives for a query', { integer: true, min: 1 }, 7))
    .addOption(
      choiceOption(
        '--strategy <how>',
        'take the top negatives of these ranks, or random ones',
        ['top', 'random'],
        'top',
      ),
    )
    .option('--teacher <file>', 'run with teacher scores, for --margin and --ratio')
    .addOption(
      numberOption('--margin <x>', 'drop negatives whose teacher score is above that of a positive minus x', {
        min: 0,
      }),
    )
    .addOption(
      numberOption(
        '--ratio <x>',
        'drop negatives whose teacher score is above x times that of a positive, such as 0.95',
        {
          min: 0,
        },
      ),
    )
    .addOption(numberOption('--seed <n>', 'random seed of strategy random', { integer: true, min: 0 }, 42))
    .requiredOption('--out <file>', 'JSON lines to write; .gz is compressed')
    .addHelpText('after', EXAMPLES)
    .action(run);
}
