import { resolve } from 'node:path';
import { Command } from 'commander';
import { openRaw } from '../training/data/sources.ts';
import { teachLists } from '../training/teachers/llm/teach-lists.ts';
import { type StartProgress, startProgress } from '../util/progress.ts';
import { type Shard, shardFile, WHOLE } from '../util/shard.ts';
import { cutText, type DataFlags, dataSource, leftOutText, withDataFlags } from './data-flags.ts';
import { numberOption, shardOption } from './options.ts';

const EXAMPLES = `
Examples:
  $ npx winnow teach --format rank-llm --data BM25.dl21.top100.json --endpoint http://localhost:11434/v1 --model qwen3:30b --out llm.run
  $ OPENAI_API_KEY=… npx winnow teach --format trec --data colbert.run --queries q.tsv --collection c.tsv --depth 50 \\
      --endpoint https://api.example.org/v1 --model big-model --concurrency 8 --out llm.run

A window slides over each list from its end to its start. Answers are kept under --cache: a job that was stopped, or is started again
with another depth, sends no request twice. Use the file in a recipe as \`teacher: llm.run\`, with an objective that learns from ranks
(DistillRankNET, ADR-MSE).
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

/** Shows the lists that are done and the tokens of new answers. */
function display(): { readonly start: StartProgress; onUsage(tokens: number): void } {
  let tokens = 0;
  return {
    start(_label, total, from) {
      const bar = startProgress('teach', total, from);
      return { update: (done) => bar.update(done, `${tokens} tokens`), stop: () => bar.stop() };
    },
    onUsage(total) {
      tokens = total;
    },
  };
}

async function run(flags: Flags): Promise<void> {
  const { shard = WHOLE, depth, endpoint: base, model, attempts, maxTokens, window: size, stride, words } = flags;
  const source = await openRaw(dataSource(flags), process.cwd());
  const path = resolve(shardFile(flags.out, shard));
  const shown = display();
  try {
    const taught = await teachLists(
      { source, shard, depth },
      {
        client: {
          base,
          model,
          apiKey: process.env[flags.apiKeyEnv],
          attempts,
          timeoutMs: 1000 * flags.timeout,
          maxTokens,
        },
        ranker: { size, stride, words, concurrency: flags.concurrency },
        cache: flags.cache,
      },
      { path, normalization: 'none', tag: 'winnow-teach', logOf: () => `${path}.progress`, progress: shown.start },
      shown.onUsage,
    );
    process.stdout.write(
      `${path}: ${taught.queries} queries, ${taught.windows} windows (${taught.repaired} answers repaired, ${taught.unusable} unusable), ` +
        `${taught.answers} answers paid for: ${taught.prompt} + ${taught.completion} tokens${cutText(taught.cut)}${leftOutText(taught.leftOut)}\n`,
    );
  } finally {
    await source.close();
  }
}

/** Makes `winnow teach`: ranks candidate lists with a language model. */
export function command(): Command {
  return withDataFlags(
    new Command('teach').description(
      'Rank candidate lists with a language model behind an OpenAI-compatible endpoint.',
    ),
  )
    .requiredOption('--endpoint <url>', 'base URL of the endpoint, without /chat/completions')
    .requiredOption('--model <name>', 'name of the model at the endpoint')
    .option('--api-key-env <name>', 'environment variable with the API key', 'OPENAI_API_KEY')
    .addOption(
      numberOption('--depth <n>', 'passages of a list that are ranked, from rank 1', { integer: true, min: 1 }, 100),
    )
    .addOption(numberOption('--window <n>', 'passages in one prompt', { integer: true, min: 2 }, 20))
    .addOption(
      numberOption(
        '--stride <n>',
        'passages by which the window moves; less than --window',
        { integer: true, min: 1 },
        10,
      ),
    )
    .addOption(numberOption('--words <n>', 'words of a passage in the prompt', { integer: true, min: 1 }, 300))
    .addOption(numberOption('--concurrency <n>', 'queries in flight at once', { integer: true, min: 1 }, 4))
    .addOption(
      numberOption('--attempts <n>', 'attempts at a request, the first included', { integer: true, min: 1 }, 6),
    )
    .addOption(numberOption('--timeout <s>', 'seconds that an attempt may take', { integer: true, min: 1 }, 300))
    .addOption(numberOption('--max-tokens <n>', 'limit of the tokens of an answer', { integer: true, min: 1 }))
    .option('--cache <folder>', 'folder of the answers', 'runs/llm-cache')
    .addOption(shardOption('the queries'))
    .requiredOption('--out <file>', 'TREC run to write; .json and .jsonl are written as rank_llm JSON with texts')
    .addHelpText('after', EXAMPLES)
    .action(run);
}
