import { rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import { describe, WinnowError } from '../errors.ts';
import { openRaw } from '../training/data/sources.ts';
import { cached } from '../training/teachers/llm/cache.ts';
import { chatClient } from '../training/teachers/llm/client.ts';
import { llmRanker, type RankerFacts } from '../training/teachers/llm/ranker.ts';
import { jobLists, runScoreJob, type ScoreJob } from '../training/teachers/score-job.ts';
import { meanOfLogs, writeTeacherFile } from '../training/teachers/teacher-file.ts';
import { startProgress } from '../util/progress.ts';
import { type Shard, shardFile, WHOLE } from '../util/shard.ts';
import { numberOption, shardOption } from './options.ts';
import { type DataFlags, dataSource, withDataFlags } from './score.ts';

const EXAMPLES = `
Examples:
  $ npx winnow teach --format rank-llm --data BM25.dl21.top100.json --endpoint http://localhost:11434/v1 --model qwen3:30b --out llm.run
  $ OPENAI_API_KEY=… npx winnow teach --format trec --data colbert.run --queries q.tsv --collection c.tsv --depth 50 \\
      --endpoint https://api.example.org/v1 --model big-model --concurrency 8 --out llm.run

Each list is ranked by a window that slides from its end to its start. Answers are kept under --cache, so a job that is killed, or
started again with another depth, pays for nothing twice. Use the file in a recipe as \`teacher: llm.run\` with an objective that
learns from ranks (DistillRankNET, ADR-MSE).
`;

interface Flags extends DataFlags {
  readonly endpoint: string;
  readonly model: string;
  readonly apiKeyEnv: string;
  readonly depth: number;
  readonly window: number;
  readonly stride: number;
  readonly words: number;
  readonly concurrency: number;
  readonly attempts: number;
  readonly timeout: number;
  readonly maxTokens?: number;
  readonly cache: string;
  readonly shard?: Shard;
  readonly out: string;
}

function rankerOptions(flags: Flags) {
  const { window: size, stride, words, concurrency } = flags;
  if (stride >= size)
    throw new WinnowError('invalid_input', {
      where: '--stride',
      expected: `less than the window, ${size}`,
      got: describe(flags.stride),
    });
  const name = `llm ${flags.model} window ${size}/${stride}, ${words} words`;
  return { name, size, stride, words, concurrency };
}

async function run(flags: Flags): Promise<void> {
  const options = rankerOptions(flags);
  const { shard = WHOLE } = flags;
  const usage = { answers: 0, prompt: 0, completion: 0 };
  const facts: RankerFacts = { windows: 0, repaired: 0, unusable: 0 };
  const client = chatClient({
    ...{ base: flags.endpoint, model: flags.model, temperature: 0, apiKey: process.env[flags.apiKeyEnv] },
    ...{ attempts: flags.attempts, timeoutMs: 1000 * flags.timeout },
    ...(flags.maxTokens !== undefined && { maxTokens: flags.maxTokens }),
  });
  const kept = cached(client, flags.cache, flags.model, (answer) => {
    usage.answers++;
    usage.prompt += answer.usage.prompt;
    usage.completion += answer.usage.completion;
  });
  const source = await openRaw(dataSource(flags), process.cwd());
  const job: ScoreJob = { source, shard, depth: flags.depth };
  const out = resolve(shardFile(flags.out, shard));
  const log = `${out}.progress`;
  let total = 0;
  for await (const _ of jobLists(job)) total++;
  const progress = startProgress('teach', total);
  const onList = (done: number) => progress.update(done, `${usage.prompt + usage.completion} tokens`);
  try {
    await runScoreJob(job, llmRanker(kept, options, facts), log, onList).finally(() => progress.stop());
    const written = await writeTeacherFile(out, meanOfLogs([log], 'none'), () => jobLists(job), 'winnow-teach');
    await rm(log);
    process.stdout.write(
      `${out}: ${written.queries} queries, ${facts.windows} windows (${facts.repaired} answers repaired, ${facts.unusable} unusable), ` +
        `${usage.answers} answers paid for: ${usage.prompt} + ${usage.completion} tokens\n`,
    );
  } finally {
    await source.close();
  }
}

/** `winnow teach`: list-wise rankings by a language model. */
export function command(): Command {
  return withDataFlags(
    new Command('teach').description(
      'Rank candidate lists with a language model behind an OpenAI-compatible endpoint.',
    ),
  )
    .requiredOption('--endpoint <url>', 'base URL; /chat/completions is added')
    .requiredOption('--model <name>', 'model the endpoint knows')
    .option('--api-key-env <name>', 'environment variable with the key', 'OPENAI_API_KEY')
    .addOption(numberOption('--depth <n>', 'passages of a list that are ranked', { integer: true, min: 1 }, 100))
    .addOption(numberOption('--window <n>', 'passages shown at once', { integer: true, min: 2 }, 20))
    .addOption(numberOption('--stride <n>', 'how far the window moves', { integer: true, min: 1 }, 10))
    .addOption(numberOption('--words <n>', 'words of a passage that are shown', { integer: true, min: 1 }, 300))
    .addOption(numberOption('--concurrency <n>', 'queries under way at once', { integer: true, min: 1 }, 4))
    .addOption(numberOption('--attempts <n>', 'tries of a request', { integer: true, min: 1 }, 6))
    .addOption(numberOption('--timeout <s>', 'seconds a try may take', { integer: true, min: 1 }, 300))
    .addOption(numberOption('--max-tokens <n>', 'limit of an answer', { integer: true, min: 1 }))
    .addOption(new Option('--cache <folder>', 'where answers are kept').default('runs/llm-cache'))
    .addOption(shardOption('the queries'))
    .requiredOption('--out <file>', 'TREC run, or rank_llm JSON with texts where it ends in .json or .jsonl')
    .addHelpText('after', EXAMPLES)
    .action(run);
}
