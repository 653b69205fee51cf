import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import { describe, WinnowError } from '../errors.ts';
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
import { startProgress } from '../util/progress.ts';
import { type DataFlags, dataSource, withDataFlags } from './score.ts';

const EXAMPLES = `
Examples:
  $ winnow mine --format beir --data scifact --corpus scifact/corpus.jsonl --out train.jsonl
  $ winnow mine --format beir --data nq --corpus nq/corpus.jsonl --index indexes/nq --ranks 10-100 --strategy random --out train.jsonl
  $ winnow mine --format jsonl --data pairs.jsonl --out train.jsonl     # the corpus is the passages of the file itself
  $ winnow mine --format beir --data scifact --corpus scifact/corpus.jsonl --teacher teacher.run --ratio 0.95 --out train.jsonl

Writes JSON lines {query, pos, neg}, with pos_scores and neg_scores where the teacher knows them all. Passages judged relevant are
never negatives. Give the same passages scores with \`winnow score\` first to filter false negatives.
`;

interface Flags extends DataFlags {
  readonly corpus?: string;
  readonly index?: string;
  readonly run?: string;
  readonly ranks: string;
  readonly negatives: string;
  readonly strategy: MineSettings['strategy'];
  readonly teacher?: string;
  readonly margin?: string;
  readonly ratio?: string;
  readonly seed: string;
  readonly out: string;
}

function number(flag: string, text: string, least: number): number {
  const value = Number(text);
  if (text.trim() !== '' && value >= least) return value;
  throw new WinnowError('invalid_input', {
    where: flag,
    expected: `a number of at least ${least}`,
    got: describe(text),
  });
}

function settingsOf(flags: Flags): MineSettings {
  const [, from = '', to = ''] = /^(\d+)-(\d+)$/.exec(flags.ranks) ?? [];
  const ranks: [number, number] = [Number(from), Number(to)];
  if (!(ranks[0] >= 1 && ranks[1] >= ranks[0]))
    throw new WinnowError('invalid_input', {
      where: '--ranks',
      expected: 'from-to, such as 10-100',
      got: describe(flags.ranks),
    });
  return {
    ranks,
    negatives: number('--negatives', flags.negatives, 1),
    strategy: flags.strategy,
    seed: number('--seed', flags.seed, 0),
    ...(flags.margin !== undefined && { teacherMargin: number('--margin', flags.margin, 0) }),
    ...(flags.ratio !== undefined && { teacherRatio: number('--ratio', flags.ratio, 0) }),
  };
}

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
    .option('--index <folder>', 'BM25 index of the corpus, from `winnow index` (default: one is built)')
    .option('--run <file>', 'a run of another first stage in place of BM25')
    .option('--ranks <from-to>', 'ranks negatives are taken from', '1-100')
    .option('--negatives <n>', 'negatives a query', '7')
    .addOption(new Option('--strategy <how>', 'which of them').choices(['top', 'random']).default('top'))
    .option('--teacher <file>', 'run with teacher scores, for the filters')
    .option('--margin <x>', 'drop negatives the teacher scores above a positive − x')
    .option('--ratio <x>', 'drop negatives the teacher scores above this share of a positive (0.95)')
    .option('--seed <n>', 'of strategy random', '42')
    .requiredOption('--out <file>', 'JSON lines; .gz is packed')
    .addHelpText('after', EXAMPLES)
    .action(run);
}
