import { resolve } from 'node:path';
import { Command } from 'commander';
import { openRaw } from '../training/data/sources.ts';
import { teachLists } from '../training/teachers/llm/teach-lists.ts';
import { type Progress, startProgress } from '../util/progress.ts';
import { type Shard, shardFile, WHOLE } from '../util/shard.ts';
import { type DataFlags, dataSource, withDataFlags } from './data-flags.ts';
import { numberOption, shardOption } from './options.ts';

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

/** Shows the lists that are done, with the tokens that were paid for in place of a note. */
function display(): { readonly start: (label: string, total: number) => Progress; onUsage(tokens: number): void } {
  let tokens = 0;
  return {
    start(_label, total) {
      const bar = startProgress('teach', total);
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
        `${taught.answers} answers paid for: ${taught.prompt} + ${taught.completion} tokens\n`,
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
    .option('--cache <folder>', 'folder of the answers', 'runs/llm-cache')
    .addOption(shardOption('the queries'))
    .requiredOption('--out <file>', 'TREC run, or rank_llm JSON with texts where it ends in .json or .jsonl')
    .addHelpText('after', EXAMPLES)
    .action(run);
}
