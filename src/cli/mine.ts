import { Command } from 'commander';
import type { MineSettings } from '../training/teachers/mine.ts';
import { mineToFile } from '../training/teachers/mine-to-file.ts';
import { parseRanks } from '../util/cli-numbers.ts';
import { startProgress } from '../util/progress.ts';
import { type DataFlags, dataSource, withDataFlags } from './data-flags.ts';
import { choiceOption, numberOption } from './options.ts';

const EXAMPLES = `
Examples:
  $ npx winnow mine --format beir --data scifact --corpus scifact/corpus.jsonl --out train.jsonl
  $ npx winnow mine --format beir --data nq --corpus nq/corpus.jsonl --index indexes/nq --ranks 10-100 --strategy random --out train.jsonl
  $ npx winnow mine --format jsonl --data pairs.jsonl --out train.jsonl     # the corpus is the passages of the file itself
  $ npx winnow mine --format beir --data scifact --corpus scifact/corpus.jsonl --teacher teacher.run --ratio 0.95 --out train.jsonl

Writes JSON lines {query, pos, neg}, with pos_scores and neg_scores where the teacher knows them all. Passages judged relevant are
never negatives. Give the same passages scores with \`npx winnow score\` first to filter false negatives.
`;

interface Flags extends DataFlags {
  readonly corpus?: string;
  readonly index?: string;
  readonly run?: string;
  readonly ranks: [number, number];
  readonly negatives: number;
  readonly strategy: MineSettings['strategy'];
  readonly teacher?: string;
  readonly margin?: number;
  readonly ratio?: number;
  readonly seed: number;
  readonly out: string;
}

async function run(flags: Flags): Promise<void> {
  const { corpus, index, teacher, out, ranks, negatives, strategy, seed } = flags;
  const { queries, firstStage, leftOut } = await mineToFile(
    {
      data: dataSource(flags),
      corpus,
      index,
      run: flags.run,
      teacher,
      settings: { ranks, negatives, strategy, seed, teacherMargin: flags.margin, teacherRatio: flags.ratio },
      out,
    },
    startProgress,
  );
  const reasons = Object.entries(leftOut).map(([reason, n]) => `${n} ${reason}`);
  process.stdout.write(
    `${out}: ${queries} queries from ${firstStage}${reasons.length > 0 ? `; left out: ${reasons.join(', ')}` : ''}\n`,
  );
}

/** `winnow mine`: hard negatives. */
export function command(): Command {
  return withDataFlags(
    new Command('mine').description('Find hard negatives with BM25 for queries with known positives.'),
  )
    .option('--corpus <file>', 'collection the negatives come from (default: all passages of the data itself)')
    .option('--index <folder>', 'BM25 index of the corpus, from `npx winnow index` (default: one is built)')
    .option('--run <file>', 'a run of another first stage in place of BM25')
    .option('--ranks <from-to>', 'ranks negatives are taken from', (text) => parseRanks(text, '--ranks'), [1, 100])
    .addOption(numberOption('--negatives <n>', 'negatives a query', { integer: true, min: 1 }, 7))
    .addOption(choiceOption('--strategy <how>', 'which of them', ['top', 'random'], 'top'))
    .option('--teacher <file>', 'run with teacher scores, for the filters')
    .addOption(numberOption('--margin <x>', 'drop negatives the teacher scores above a positive − x', { min: 0 }))
    .addOption(
      numberOption('--ratio <x>', 'drop negatives the teacher scores above this share of a positive (0.95)', {
        min: 0,
      }),
    )
    .addOption(numberOption('--seed <n>', 'of strategy random', { integer: true, min: 0 }, 42))
    .requiredOption('--out <file>', 'JSON lines; .gz is packed')
    .addHelpText('after', EXAMPLES)
    .action(run);
}
