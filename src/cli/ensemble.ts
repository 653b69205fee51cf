import { basename } from 'node:path';
import { Command } from 'commander';
import { z } from 'zod';
import { WinnowError } from '../errors.ts';
import { readQrels } from '../evaluation/formats/qrels.ts';
import { readRankLlm } from '../evaluation/formats/read-rank-llm.ts';
import { readRun, writeRun } from '../evaluation/formats/run.ts';
import type { Run } from '../evaluation/measures/evaluation.ts';
import { type Measure, parseMeasure } from '../evaluation/measures/measure.ts';
import { readTeacher } from '../training/data/teacher.ts';
import { blendAll, chooseWeights, type Teacher, type WeightChoice } from '../training/teachers/choose-weights.ts';
import { NORMALIZATIONS, type Normalization } from '../training/teachers/ensemble.ts';
import { sha256File, writeFileAtomic } from '../util/files.ts';
import { isJson, isJsonLines, readJsonFile } from '../util/json-files.ts';
import { choiceOption } from './options.ts';
import { plainTable } from './plain-table.ts';

const EXAMPLES = `
Examples:
  $ npx winnow ensemble --teacher e5.run --teacher bge.run --teacher splade.json --qrels held-out.qrels --choice weights.json --out teacher.run
  $ npx winnow ensemble --teacher e5-train.run --teacher bge-train.run --weights weights.json --out train.run
  $ npx winnow ensemble --teacher a.run --teacher b.run --qrels held-out.qrels --candidates bm25.run --measure 'RR(rel=2)@10' --out ab.run

Takes the weighted mean of score files of \`winnow score\` and \`winnow teach\`, and of other runs. Weights are chosen on judged queries, which must
not be those that a model is measured on; --weights applies an earlier choice to other lists, with the teachers in the same order. A passage that a
teacher did not score is below all that it scored; a query that it does not know is left to the others.
`;

interface Flags {
  readonly teacher: readonly string[];
  readonly qrels?: string;
  readonly candidates?: string;
  readonly measure: string;
  readonly normalize: Normalization;
  readonly choice?: string;
  readonly weights?: string;
  readonly out: string;
}

/** What `--choice` writes, as far as `--weights` reads it. */
const choiceSchema = z.object({
  normalize: z.enum(NORMALIZATIONS),
  teachers: z.array(z.object({ file: z.string(), weight: z.number().min(0).max(1) })).min(1),
});

/** @throws WinnowError `invalid_input` unless there is either a file of weights or one of judgements, and flags that have an effect. */
function checkFlags({ qrels, weights, choice, candidates }: Flags): void {
  const refuse = (where: string, expected: string, got: string): never => {
    throw new WinnowError('invalid_input', { where, expected, got });
  };
  if ((qrels === undefined) === (weights === undefined))
    refuse('ensemble', '--qrels or --weights', qrels === undefined ? 'neither' : 'both');
  if (weights !== undefined && choice !== undefined) refuse('--choice', '--qrels, on which weights are chosen', 'none');
  if (weights !== undefined && candidates !== undefined)
    refuse('--candidates', '--qrels, which it is measured by', 'none');
}

async function readWeights(path: string, teachers: readonly Teacher[]): Promise<z.infer<typeof choiceSchema>> {
  const parsed = choiceSchema.safeParse(await readJsonFile(path));
  if (parsed.success && parsed.data.teachers.length === teachers.length) return parsed.data;
  throw new WinnowError('invalid_input', {
    where: path,
    expected: `the weights of ${teachers.length} teachers, as --choice writes them`,
    got: parsed.success ? `those of ${parsed.data.teachers.length}` : 'another file',
  });
}

const figure = (value: number): string => value.toFixed(4);

function table(teachers: readonly Teacher[], choice: WeightChoice, { name }: Measure): string {
  const { weights, alone, equal, chosen, leftOut, queries } = choice;
  const rows = teachers.map(({ name: file }, i) => [file, weights[i]!.toFixed(2), figure(alone[i]!)]);
  return plainTable([
    ['teacher', 'weight', `${name}, ${queries} queries`],
    ...rows,
    ['equal weights', '', figure(equal)],
    ['these weights', '', figure(chosen)],
    ['weights chosen without the query', '', figure(leftOut)],
  ]);
}

/** Reads candidate lists: a run, or JSON of rank_llm. */
const readLists = async (path: string): Promise<Run> =>
  isJson(path) || isJsonLines(path) ? (await readRankLlm(path)).run : readRun(path);

/** Chooses weights, prints the table and writes the choice. */
async function choose(flags: Flags, teachers: readonly Teacher[], qrels: string): Promise<readonly number[]> {
  const { normalize: normalization, candidates } = flags;
  const measure = parseMeasure(flags.measure);
  const choice = chooseWeights({
    teachers,
    qrels: await readQrels(qrels),
    measure,
    normalization,
    candidates: candidates === undefined ? undefined : await readLists(candidates),
  });
  if (!choice)
    throw new WinnowError('invalid_input', { where: qrels, expected: 'judgements of queries with lists', got: 'none' });
  process.stdout.write(`${table(teachers, choice, measure)}\n`);
  if (flags.choice !== undefined) {
    const hashes = await Promise.all(flags.teacher.map(sha256File));
    const { weights, alone, ...values } = choice;
    const listed = teachers.map(({ name }, i) => ({
      file: name,
      sha256: hashes[i],
      weight: weights[i],
      alone: alone[i],
    }));
    const document = { normalize: normalization, measure: measure.name, ...values, teachers: listed };
    await writeFileAtomic(flags.choice, `${JSON.stringify(document, null, 2)}\n`);
  }
  return choice.weights;
}

async function run(flags: Flags): Promise<void> {
  checkFlags(flags);
  const teachers: Teacher[] = [];
  for (const path of flags.teacher) teachers.push({ name: basename(path), scores: await readTeacher(path, 'score') });
  const known = flags.weights === undefined ? undefined : await readWeights(flags.weights, teachers);
  const weights = known?.teachers.map(({ weight }) => weight) ?? (await choose(flags, teachers, flags.qrels!));
  const blended = blendAll(teachers, weights, known?.normalize ?? flags.normalize);
  await writeRun(flags.out, blended, 'winnow-ensemble');
  const passages = [...blended.values()].reduce((sum, { docids }) => sum + docids.length, 0);
  process.stdout.write(`${flags.out}: ${passages} scores of ${blended.size} queries\n`);
}

const collect = (value: string, before: readonly string[] | undefined): readonly string[] => [...(before ?? []), value];

/** Makes `winnow ensemble`: the weighted mean of teachers. */
export function command(): Command {
  return new Command('ensemble')
    .description('Take the weighted mean of score files, with weights chosen on judged queries.')
    .requiredOption('--teacher <file>', 'score file; repeat the flag for several', collect)
    .option('--qrels <file>', 'judgements of the held-out queries that weights are chosen on')
    .option(
      '--candidates <file>',
      'run, or JSON of rank_llm, with the lists that are ranked for the choice (default: all scored passages)',
    )
    .option('--measure <name>', 'measure that the weights maximize', 'nDCG@10')
    .addOption(choiceOption('--normalize <how>', 'normalization of the scores of a list', NORMALIZATIONS, 'z'))
    .option('--choice <file>', 'JSON file to write: weights, files with hashes, values of the measure')
    .option('--weights <file>', 'earlier choice to apply')
    .requiredOption('--out <file>', 'TREC run to write')
    .addHelpText('after', EXAMPLES)
    .action(run);
}
