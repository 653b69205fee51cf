import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { Bm25Index } from '../evaluation/first-stage/index/bm25-index.ts';
import { buildIndex } from '../evaluation/first-stage/index/build-index.ts';
import { bm25Stage, runFileStage } from '../evaluation/first-stage/stages.ts';
import type { PassageStore } from '../evaluation/formats/passage-store.ts';
import { memoryPassages, openPassages } from '../evaluation/formats/passages.ts';
import { writeLines } from '../evaluation/formats/write-lines.ts';
import { openRaw } from '../training/data/sources.ts';
import { readTeacher } from '../training/data/teacher.ts';
import { type RawSource, skipCount } from '../training/data/types.ts';
import { type MineSettings, mine } from '../training/teachers/mine.ts';
import { parseRanks } from '../util/cli-numbers.ts';
import { startProgress } from '../util/progress.ts';
import { choiceOption, numberOption } from './options.ts';
import { type DataFlags, dataSource, withDataFlags } from './score.ts';

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

const settingsOf = ({ ranks, negatives, strategy, seed, margin, ratio }: Flags): MineSettings => ({
  ranks,
  negatives,
  strategy,
  seed,
  ...(margin !== undefined && { teacherMargin: margin }),
  ...(ratio !== undefined && { teacherRatio: ratio }),
});

/** All passages of the lists themselves. */
async function ownPassages(source: RawSource, name: string): Promise<PassageStore> {
  const texts = new Map<string, string>();
  for await (const { docids, passages } of source.lists(skipCount()))
    docids.forEach((docid, i) => {
      texts.set(docid, passages[i]!);
    });
  return memoryPassages(texts, name);
}

async function openStage(flags: Flags, passages: PassageStore, folder: string) {
  if (flags.run !== undefined) return { stage: await runFileStage(flags.run), close: () => undefined };
  const path = flags.index ?? join(folder, 'index');
  if (flags.index === undefined) {
    const progress = startProgress('index', passages.size);
    await buildIndex(path, passages.entries(), { onPassage: (n) => n % 1000 === 0 && progress.update(n, 'passages') });
    progress.stop();
  }
  const index = new Bm25Index(path);
  return { stage: bm25Stage(index), close: () => index.close() };
}

async function run(flags: Flags): Promise<void> {
  const settings = settingsOf(flags);
  const teacher = flags.teacher === undefined ? undefined : await readTeacher(flags.teacher, 'score');
  const source = await openRaw(dataSource(flags), process.cwd());
  const folder = await mkdtemp(join(tmpdir(), 'winnow-mine-'));
  const corpus = flags.corpus === undefined ? await ownPassages(source, flags.data) : await openPassages(flags.corpus);
  const { stage, close } = await openStage(flags, corpus, folder);
  const counts = skipCount();
  const rows: string[] = [];
  try {
    const lists = source.lists(counts);
    for await (const row of mine(
      { lists, firstStage: stage, texts: (ids) => corpus.texts(ids), teacher, counts },
      settings,
    ))
      rows.push(JSON.stringify(row));
    await writeLines(flags.out, rows);
  } finally {
    close();
    await corpus.close();
    await source.close();
    await rm(folder, { recursive: true, force: true });
  }
  const left = Object.entries(counts.skipped()).map(([reason, n]) => `${n} ${reason}`);
  process.stdout.write(
    `${flags.out}: ${rows.length} queries from ${stage.name}${left.length > 0 ? `; left out: ${left.join(', ')}` : ''}\n`,
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
