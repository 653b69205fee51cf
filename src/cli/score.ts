import { rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Command } from 'commander';
import { loadConfig } from '../config/load-config.ts';
import { WinnowError } from '../errors.ts';
import { openStack, type Stack } from '../main/stack.ts';
import { createScorer, type Scorer } from '../rerank/scorer.ts';
import { createLogger } from '../telemetry/logger.ts';
import { createMetrics } from '../telemetry/metrics.ts';
import { DATA_FORMATS, type DataSource, dataSourceSchema } from '../training/data/schema.ts';
import { openRaw } from '../training/data/sources.ts';
import type { IdentifiedList } from '../training/data/types.ts';
import { openBiEncoder } from '../training/teachers/bi-encoder.ts';
import { NORMALIZATIONS, type Normalization } from '../training/teachers/ensemble.ts';
import { jobLists, type ListScorer, runScoreJob, type ScoreJob } from '../training/teachers/score-job.ts';
import { meanOfLogs, writeTeacherFile } from '../training/teachers/teacher-file.ts';
import { startProgress } from '../util/progress.ts';
import { type Shard, shardFile, WHOLE } from '../util/shard.ts';
import { acceptOldFlag, choiceOption, modelsOption, numberOption, providerOption, shardOption } from './options.ts';

const EXAMPLES = `
Examples:
  $ npx winnow score --format rank-llm --data BM25.dl21.top100.json --model minilm-l6-infonce --out teacher.run
  $ npx winnow score --format rank-llm --data dl22.json --bi-encoder backbones/all-minilm-l6-v2 --out cosine.run
  $ npx winnow score --format triples --data triples.tsv --queries queries.tsv --collection collection.tsv \\
      --model big --model bigger --out mean.run          # the mean of two models' logits
  $ npx winnow score --format trec --data first.run --queries q.tsv --collection c.tsv --model big \\
      --shard 0/4 --out teacher.run                      # writes teacher.0-of-4.run; cat the parts together

The file goes into a recipe as \`teacher: teacher.run\`. Killed at any instant and started again with the same
arguments, the command goes on after the last list that was scored.
`;

/** Flags that name candidate lists; the same words as in a recipe. */
export interface DataFlags {
  readonly format: DataSource['format'];
  readonly data: string;
  readonly qrels?: string;
  readonly queries?: string;
  readonly collection?: string;
  readonly candidates?: string;
  readonly split?: string;
}

/** Adds the flags that name candidate lists to a command. */
export const withDataFlags = (command: Command): Command =>
  command
    .addOption(choiceOption('--format <format>', 'what the data is', DATA_FORMATS).makeOptionMandatory())
    .requiredOption('--data <path>', 'file or folder of the lists')
    .option('--queries <file>', 'texts of query ids')
    .option('--collection <file>', 'texts of passage ids')
    .option('--qrels <file>', 'judgements')
    .option('--candidates <file>', 'run the lists of a BEIR, WikiQA or SQuAD set are taken from')
    .option('--split <name>', 'part of a BEIR or WikiQA set (default train)');

export function dataSource(flags: DataFlags): DataSource {
  const { format, data, qrels, queries, collection, candidates, split } = flags;
  const given = Object.entries({ qrels, queries, collection, candidates, split }).filter(([, v]) => v !== undefined);
  return dataSourceSchema.parse({ format, path: data, ...Object.fromEntries(given) });
}

interface Flags extends DataFlags {
  readonly model: readonly string[];
  readonly biEncoder: readonly string[];
  readonly models: string;
  readonly provider?: string;
  readonly normalize: Normalization;
  readonly depth: number;
  readonly maxLength: number;
  readonly shard?: Shard;
  readonly out: string;
}

/** Makes scorers of registry models: tokenizer threads, scheduler and hosts as behind a server's batch lane. */
type ModelScorers = (model: string) => Promise<ListScorer>;

/** The version a name means now is named in the progress file, so that a job never goes on with another one. */
const modelScorers =
  ({ registry }: Stack, scorer: Scorer): ModelScorers =>
  async (reference) => {
    const lease = await registry.acquire(reference);
    const model = `${lease.version.name}@${lease.version.version}`;
    lease.release();
    return {
      name: `model ${model} ${lease.version.variant}`,
      score: (lists: AsyncIterable<IdentifiedList>) => scorer.score(lists, { model }),
    };
  };

async function withModels(flags: Flags, work: (scorers: ModelScorers) => Promise<void>): Promise<void> {
  const wanted = ['--models', flags.models, '--registry-watch', 'false', '--telemetry-log-level', 'warn'];
  const config = loadConfig(
    [...wanted, ...(flags.provider === undefined ? [] : ['--provider', flags.provider])],
    process.env,
  );
  const metrics = createMetrics();
  const stack = await openStack(config, { metrics, logger: createLogger(config.telemetry.logLevel) });
  try {
    const { registry, tokenizers, scheduler } = stack;
    const scorer = createScorer({ registry, tokenizers, scheduler, settings: config.tokenization });
    await work(modelScorers(stack, scorer));
  } finally {
    await stack.closePrefetched();
    await stack.close();
    metrics.close();
  }
}

async function countLists(job: ScoreJob): Promise<number> {
  let lists = 0;
  for await (const _ of jobLists(job)) lists++;
  return lists;
}

async function scoreAll(flags: Flags, job: ScoreJob, log: (place: number) => string): Promise<void> {
  const total = await countLists(job);
  const one = async (scorer: ListScorer, place: number): Promise<void> => {
    const progress = startProgress(scorer.name, total);
    await runScoreJob(job, scorer, log(place), (done) => progress.update(done, 'lists')).finally(() => progress.stop());
  };
  if (flags.model.length > 0)
    await withModels(flags, async (scorerOf) => {
      for (const [i, model] of flags.model.entries()) await one(await scorerOf(model), i);
    });
  for (const [i, folder] of flags.biEncoder.entries()) {
    const provider =
      flags.provider === undefined || flags.provider === 'auto' ? {} : { provider: flags.provider as 'cpu' };
    const encoder = await openBiEncoder(folder, { maxLength: flags.maxLength, ...provider });
    await one(encoder, flags.model.length + i).finally(() => encoder.close());
  }
}

async function run(flags: Flags): Promise<void> {
  const teachers = [...flags.model, ...flags.biEncoder];
  const { depth } = flags;
  if (teachers.length === 0)
    throw new WinnowError('invalid_input', { where: 'score', expected: '--model or --bi-encoder', got: 'neither' });
  const source = await openRaw(dataSource(flags), process.cwd());
  const { shard = WHOLE } = flags;
  const job: ScoreJob = { source, shard, depth };
  const out = resolve(shardFile(flags.out, shard));
  const log = (place: number): string => `${out}.${place}.progress`;
  try {
    await scoreAll(flags, job, log);
    const logs = teachers.map((_, place) => log(place));
    const scores = meanOfLogs(logs, flags.normalize);
    const written = await writeTeacherFile(out, scores, () => jobLists(job), 'winnow-score');
    for (const path of logs) await rm(path);
    process.stdout.write(`${out}: ${written.passages} scores of ${written.queries} queries\n`);
  } finally {
    await source.close();
  }
}

const collect = (value: string, before: readonly string[]): readonly string[] => [...before, value];

/** `winnow score`: teacher scores of candidate lists. */
export function command(): Command {
  const score = withDataFlags(
    new Command('score').description('Score candidate lists with one teacher or the mean of several.'),
  )
    .option('--model <name>', 'model of the registry folder; may be given several times', collect, [])
    .option('--bi-encoder <folder>', 'sentence encoder whose cosine scores; may be given several times', collect, [])
    .addOption(
      choiceOption('--normalize <how>', "each teacher's scores of a list, before the mean", NORMALIZATIONS, 'none'),
    )
    .addOption(modelsOption())
    .addOption(providerOption())
    .addOption(numberOption('--depth <n>', 'passages of a list that are scored', { integer: true, min: 1 }, 1000))
    .addOption(numberOption('--max-length <n>', 'tokens of a text a bi-encoder reads', { integer: true, min: 1 }, 256))
    .addOption(shardOption('the queries'))
    .requiredOption('--out <file>', 'TREC run, or rank_llm JSON with texts where it ends in .json or .jsonl')
    .addHelpText('after', EXAMPLES)
    .action(run);
  return acceptOldFlag(score, '--normalise', '--normalize');
}
