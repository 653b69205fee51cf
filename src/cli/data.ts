import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Command } from 'commander';
import { WinnowError } from '../errors.ts';
import { pairsWithin } from '../registry/pair-limits.ts';
import { createLocalTokenizer } from '../tokenization/local.ts';
import { type DataSource, dataSourceSchema, type Sampler, samplerSchema } from '../training/data/data-schema.ts';
import { type Converted, convertData } from '../training/data/survey/convert.ts';
import { guessFormat } from '../training/data/survey/guess-format.ts';
import type { ObjectiveGroup } from '../training/data/survey/objective-use.ts';
import { type Suggestion, suggest } from '../training/data/survey/suggestion.ts';
import { type DataSurvey, surveyData } from '../training/data/survey/survey.ts';
import { createObjective, OBJECTIVES } from '../training/objectives/catalog.ts';
import { findBackbone } from '../training/recipe/backbone-folder.ts';
import { type Recipe, readRecipe } from '../training/recipe/recipe.ts';
import { startProgress } from '../util/progress.ts';
import { writeSpelling } from '../util/spelling.ts';
import { type DataFlags, dataFormatOption, dataSource, leftOutText, withDataFiles } from './data-flags.ts';
import type { ExitCode } from './exit-codes.ts';
import { choiceOption, numberOption } from './options.ts';
import { printReport } from './print-report.ts';
import { surveyReport } from './survey-report.ts';

const EXAMPLES = `
Examples:
  $ npx winnow data check pairs.jsonl                                  # form, recipe lines, labels, lengths, duplicates
  $ npx winnow data check train.jsonl dev.jsonl --backbone all-minilm-l6-v2   # tokens and what the tokenizer cannot spell
  $ npx winnow data check --recipe recipe.yaml                         # the sources of a recipe, with its tokenizer
  $ npx winnow data check first.run --queries q.tsv --collection c.tsv # a form of ids
  $ npx winnow data check triples.tsv --to jsonl --out train.jsonl     # convert
  $ npx winnow data check pairs.jsonl --json                           # one JSON document
`;

interface Flags extends Omit<DataFlags, 'format' | 'data'> {
  readonly format?: DataSource['format'];
  readonly recipe?: string;
  readonly backbone?: string;
  readonly maxLength?: number;
  readonly to?: 'jsonl';
  readonly out?: string;
  readonly json?: true;
}

/** The exit code where nothing of a file can be trained on. */
const EXIT_UNUSABLE: ExitCode = 1;

/** A source to look at, with the folder that its paths are relative to. */
interface Place {
  readonly source: DataSource;
  readonly folder: string;
}

interface Checked {
  readonly path: string;
  readonly source: DataSource;
  readonly survey: DataSurvey;
  readonly suggestion: Suggestion;
  readonly converted?: Converted & { readonly out: string };
}

const refuse = (where: string, expected: string, got: string): never => {
  throw new WinnowError('invalid_input', { where, expected, got });
};

function checkFlags(files: readonly string[], { recipe, backbone, to, out, format }: Flags): void {
  if (recipe === undefined && files.length === 0) refuse('data check', 'files, or --recipe', 'neither');
  if (recipe !== undefined && files.length > 0) refuse('data check', 'files or --recipe', 'both');
  if (recipe !== undefined && backbone !== undefined) refuse('data check', '--recipe or --backbone', 'both');
  if (recipe !== undefined && format !== undefined)
    refuse('--format', 'files beside it', '--recipe, which names formats');
  if ((to === undefined) !== (out === undefined)) refuse('data check', '--to and --out together', 'one of them');
  if (to !== undefined && (recipe !== undefined || files.length > 1)) refuse('--to', 'one file', 'several sources');
}

async function placesOf(files: readonly string[], flags: Flags, recipe: ReturnType<typeof readRecipe> | undefined) {
  if (recipe) return recipe.recipe.data.train.map((source): Place => ({ source, folder: recipe.folder }));
  const places: Place[] = [];
  for (const path of files) {
    const format = flags.format ?? (await guessFormat(path));
    places.push({ source: dataSource({ ...flags, format, data: path }), folder: process.cwd() });
  }
  return places;
}

/** Groups objectives by what they need of a list. */
function objectiveGroups(): ObjectiveGroup[] {
  const groups = new Map<string, { names: string[]; needs: ObjectiveGroup['needs'] }>();
  for (const name of OBJECTIVES.keys()) {
    const { needs } = createObjective(name);
    const key = JSON.stringify([needs.relevance, needs.teacher, needs.labels, needs.pointwise, needs.weights]);
    const group = groups.get(key);
    if (group) group.names.push(name);
    else groups.set(key, { names: [name], needs });
  }
  return [...groups.values()];
}

/** Files below this size are read in a second or two. */
const SHOWN_BYTES = 8 * 2 ** 20;

/** Starts a progress display by the size of a file, which is about that of its texts. None for small files and folders. */
async function progressOf({ source, folder }: Place) {
  const found = await stat(resolve(folder, source.path));
  const size = found.isFile() ? found.size : 0;
  if (size < SHOWN_BYTES) return undefined;
  const total = Math.max(1, Math.round(size / 1024));
  const progress = startProgress(`check ${source.path} (KiB)`, total);
  return {
    update: (characters: number) => progress.update(Math.min(total - 1, Math.round(characters / 1024))),
    stop: () => progress.stop(),
  };
}

/** Returns the fields that a recipe has to state: those that differ from the defaults. */
function stated(source: DataSource): Partial<DataSource> {
  const defaults = dataSourceSchema.parse({ format: source.format, path: source.path });
  const different = Object.entries(source).filter(
    ([key, value]) => key === 'format' || key === 'path' || value !== defaults[key as keyof DataSource],
  );
  return Object.fromEntries(different) as Partial<DataSource>;
}

async function tokenizerOf(flags: Flags, loaded: ReturnType<typeof readRecipe> | undefined) {
  const named = loaded?.recipe.backbone ?? flags.backbone;
  if (named === undefined) return undefined;
  const folder = await findBackbone(named, loaded?.folder ?? '.');
  const recipe: Pick<Recipe, 'maxLength' | 'maxQueryTokens'> | undefined = loaded?.recipe;
  const pairs = pairsWithin({ ...recipe, maxLength: flags.maxLength ?? recipe?.maxLength ?? 192 });
  return { tokenizer: await createLocalTokenizer(folder), pairs };
}

async function check(
  place: Place,
  { sampler, tokenizer, flags }: { sampler: Sampler; tokenizer: Awaited<ReturnType<typeof tokenizerOf>>; flags: Flags },
): Promise<Checked> {
  const { source, folder } = place;
  const progress = flags.json ? undefined : await progressOf(place);
  const survey = await surveyData(source, folder, {
    sampler,
    objectives: objectiveGroups(),
    tokenizer,
    ...(progress && { onText: progress.update }),
  });
  progress?.stop();
  const { out } = flags;
  return {
    path: source.path,
    source,
    survey,
    suggestion: suggest(stated(source), survey),
    ...(out !== undefined && { converted: { out, ...(await convertData(source, folder, out)) } }),
  };
}

/** Returns a suggestion in the spelling of recipes. */
const documented = ({ suggestion, ...rest }: Checked) => ({
  ...rest,
  source: writeSpelling(dataSourceSchema, rest.source),
  suggestion: { ...suggestion, source: writeSpelling(dataSourceSchema, suggestion.source) },
});

async function run(files: readonly string[], flags: Flags): Promise<void> {
  checkFlags(files, flags);
  const warnings: string[] = [];
  const loaded =
    flags.recipe === undefined
      ? undefined
      : readRecipe(flags.recipe, {}, flags.json ? (line) => warnings.push(line.trim()) : undefined);
  const places = await placesOf(files, flags, loaded);
  const sampler = loaded?.recipe.data.sampler ?? samplerSchema.parse({});
  const tokenizer = await tokenizerOf(flags, loaded);
  try {
    const checked: ReturnType<typeof documented>[] = [];
    for (const place of places) {
      const result = documented(await check(place, { sampler, tokenizer, flags }));
      if (result.suggestion.share === 0) process.exitCode = EXIT_UNUSABLE;
      if (flags.json) checked.push(result);
      else await printReport(surveyReport(result), 'terminal');
      if (!flags.json && result.converted)
        process.stdout.write(
          `\n${result.converted.out}: ${result.converted.lists} lists${leftOutText(result.converted.leftOut)}\n`,
        );
    }
    if (flags.json) process.stdout.write(`${JSON.stringify({ files: checked, warnings })}\n`);
  } finally {
    await tokenizer?.tokenizer.close();
  }
}

const checkCommand = (): Command =>
  withDataFiles(
    new Command('check')
      .description('Describe training data: its form, what a recipe says for it, what is in it and what is odd.')
      .argument('[files...]', 'files or folders of lists, rows or triples')
      .addOption(dataFormatOption('format of the files (default: guessed)')),
  )
    .addOption(numberOption('--min-relevance <x>', 'lowest grade or label of a relevant passage', {}))
    .option('--recipe <file>', 'look at the sources of this recipe, with its tokenizer, length and sampler')
    .option('--backbone <folder>', 'folder of the tokenizer that counts tokens (default: words are counted)')
    .addOption(
      numberOption('--max-length <n>', 'tokens of a pair that are not cut (default: that of the recipe, or 192)', {
        integer: true,
        min: 8,
      }),
    )
    .addOption(choiceOption('--to <form>', 'also convert the file to this form', ['jsonl']))
    .option('--out <file>', 'file to write with --to; .gz is compressed')
    .option('--json', 'print one JSON document')
    .addHelpText('after', EXAMPLES)
    .action(run);

/** Makes `winnow data`: looks at training data. */
export function command(): Command {
  return new Command('data')
    .description('Look at training data before a recipe is written.')
    .addCommand(checkCommand())
    .addHelpText('after', EXAMPLES);
}
