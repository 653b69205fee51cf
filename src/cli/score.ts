import { resolve } from 'node:path';
import { Command } from 'commander';
import { loadConfig } from '../config/load-config.ts';
import { WinnowError } from '../errors.ts';
import { openTeachers } from '../main/teacher-scorers.ts';
import { openRaw } from '../training/data/sources.ts';
import { NORMALIZATIONS, type Normalization } from '../training/teachers/ensemble.ts';
import { scoreToFile } from '../training/teachers/score-to-file.ts';
import { POOLING_MODES, type PoolingMode } from '../util/pooling-modes.ts';
import { startProgress } from '../util/progress.ts';
import { type Shard, shardFile, WHOLE } from '../util/shard.ts';
import { cutText, type DataFlags, dataSource, leftOutText, withDataFlags } from './data-flags.ts';
import {
  acceptOldFlag,
  choiceOption,
  instructionIgnored,
  instructionOption,
  modelsOption,
  numberOption,
  providerOption,
  shardOption,
} from './options.ts';

const EXAMPLES = `
Examples:
  $ npx winnow score --format rank-llm --data BM25.dl21.top100.json --model minilm-l6-infonce --out teacher.run
  $ npx winnow score --format rank-llm --data dl22.json --bi-encoder backbones/all-minilm-l6-v2 --out cosine.run
  $ npx winnow score --format rank-llm --data dl22.json --bi-encoder bge-small --pooling cls --vectors vectors \
      --query-prefix 'Represent this sentence for searching relevant passages: ' --out bge.run
  $ npx winnow score --format triples --data triples.tsv --queries queries.tsv --collection collection.tsv \\
      --model big --model bigger --out mean.run          # the mean of the logits of two models
  $ npx winnow score --format trec --data first.run --queries q.tsv --collection c.tsv --model big \\
      --shard 0/4 --out teacher.run                      # writes teacher.0-of-4.run; concatenate the parts

  $ npx winnow score --format rank-llm --data dl22.json --model qwen3-reranker \\
      --instruction 'Given a question, find passages that answer it' --out qwen.run

The file goes into a recipe as \`teacher: teacher.run\`. A command that was stopped and is started again with the same
arguments goes on after the last list that was scored.
`;

interface Flags extends DataFlags {
  readonly model: readonly string[];
  readonly biEncoder: readonly string[];
  readonly models: string;
  readonly provider?: 'auto' | 'cpu' | 'cuda' | 'webgpu';
  readonly normalize: Normalization;
  readonly depth: number;
  readonly maxLength: number;
  readonly queryPrefix?: string;
  readonly passagePrefix?: string;
  readonly pooling?: PoolingMode;
  readonly vectors?: string;
  readonly instruction?: string;
  readonly shard?: Shard;
  readonly out: string;
}

const configOf = ({ models, provider }: Flags) =>
  loadConfig(
    [
      '--models',
      models,
      '--registry-watch',
      'false',
      '--telemetry-log-level',
      'warn',
      ...(provider === undefined ? [] : ['--provider', provider]),
    ],
    process.env,
  );

/** Returns how sentence encoders read texts. @throws WinnowError `invalid_input` for flags that no encoder would read. */
function sidesOf({ biEncoder, maxLength, queryPrefix, passagePrefix, pooling, vectors }: Flags) {
  const only = Object.entries({
    '--query-prefix': queryPrefix,
    '--passage-prefix': passagePrefix,
    '--pooling': pooling,
    '--vectors': vectors,
  });
  const given = only.find(([, value]) => value !== undefined)?.[0];
  if (given !== undefined && biEncoder.length === 0)
    throw new WinnowError('invalid_input', { where: given, expected: '--bi-encoder', got: '--model alone' });
  return { maxLength, queryPrefix, passagePrefix, pooling, vectors };
}

async function run(flags: Flags): Promise<void> {
  const { model: models, biEncoder: biEncoders, provider, instruction, depth, shard = WHOLE } = flags;
  if (models.length + biEncoders.length === 0)
    throw new WinnowError('invalid_input', { where: 'score', expected: '--model or --bi-encoder', got: 'neither' });
  const sides = sidesOf(flags);
  const source = await openRaw(dataSource(flags), process.cwd());
  const path = resolve(shardFile(flags.out, shard));
  try {
    const teachers = openTeachers(() => configOf(flags), {
      models,
      biEncoders,
      sides,
      provider,
      instruction,
      onIgnored: (name) => process.stderr.write(instructionIgnored(name)),
    });
    const written = await scoreToFile({ source, shard, depth }, teachers, {
      path,
      normalization: flags.normalize,
      tag: 'winnow-score',
      logOf: (place) => `${path}.${place}.progress`,
      progress: startProgress,
    });
    const { passages, queries, leftOut, cut } = written;
    process.stdout.write(`${path}: ${passages} scores of ${queries} queries${cutText(cut)}${leftOutText(leftOut)}\n`);
  } finally {
    await source.close();
  }
}

const collect = (value: string, before: readonly string[]): readonly string[] => [...before, value];

/** Makes `winnow score`: scores candidate lists with teachers. */
export function command(): Command {
  const score = withDataFlags(
    new Command('score').description('Score candidate lists with one teacher or the mean of several.'),
  )
    .option('--model <name>', 'model of the registry folder; repeat the flag for several', collect, [])
    .option('--bi-encoder <folder>', 'sentence encoder that scores by cosine; repeat the flag for several', collect, [])
    .addOption(
      choiceOption(
        '--normalize <how>',
        'normalization of the scores of a list, for each teacher, before their mean',
        NORMALIZATIONS,
        'none',
      ),
    )
    .addOption(modelsOption())
    .addOption(providerOption())
    .addOption(
      numberOption('--depth <n>', 'passages of a list that are scored, from rank 1', { integer: true, min: 1 }, 1000),
    )
    .addOption(
      numberOption('--max-length <n>', 'tokens of a text that a bi-encoder reads', { integer: true, min: 1 }, 256),
    )
    .option(
      '--query-prefix <text>',
      'text that bi-encoders read before each query (default: what the folder or its name says)',
    )
    .option('--passage-prefix <text>', 'text that bi-encoders read before each passage (default: as above)')
    .addOption(
      choiceOption(
        '--pooling <how>',
        'how bi-encoders make one vector of token states (default: what the folder says, else mean)',
        POOLING_MODES,
      ),
    )
    .option('--vectors <folder>', 'folder that keeps the vectors of bi-encoders for later runs')
    .addOption(instructionOption())
    .addOption(shardOption('the queries'))
    .requiredOption('--out <file>', 'TREC run to write; .json and .jsonl are written as rank_llm JSON with texts')
    .addHelpText('after', EXAMPLES)
    .action(run);
  return acceptOldFlag(score, '--normalise', '--normalize');
}
