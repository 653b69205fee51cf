import { Command } from 'commander';
import { measureFiles } from '../evaluation/formats/measure-files.ts';
import { MEASURES, type MeasureRule } from '../evaluation/measures/catalog.ts';
import type { Evaluation } from '../evaluation/measures/evaluation.ts';
import { type Measure, parseMeasure } from '../evaluation/measures/measure.ts';
import { writeFileAtomic } from '../util/files.ts';
import { choiceOption } from './options.ts';

const AT = { none: '', optional: '[@k]', required: '@k' } as const;

function parametersOf({ accepts }: MeasureRule): string {
  const names = accepts.filter((name) => name !== 'cutoff' && name !== 'recall');
  return names.length > 0 ? ` (${names.join(', ')})` : '';
}

const EXAMPLES = `
Examples:
  $ npx winnow measure --qrels qrels.dl19-passage.txt --run bm25.run nDCG@10 'AP(rel=2)' 'RR(rel=2)@10'
  $ npx winnow measure --qrels qrels/test.tsv --run run.trec.gz --json nDCG@10 R@100
  $ zcat run.gz | npx winnow measure --qrels qrels.txt --run - nDCG@10
  $ npx winnow measure --qrels qrels.dev.small.tsv --run run.dev.small.tsv MSMARCO_RR@10
  $ npx winnow measure --qrels qrels.txt --run new.run --reference old.run 'RBO(p=0.9)'

Measures are computed as by trec_eval 10 -c: ties by docno descending, linear gain. A judged query that is missing in the
run counts 0; a query without judgements is ignored.

Measures:
${Object.entries(MEASURES)
  .map(([kind, rule]) => `  ${(kind + AT[rule.at]).padEnd(12)} ${rule.summary}${parametersOf(rule)}`)
  .join('\n')}
`;

interface Options {
  readonly qrels: string;
  readonly run: string;
  readonly reference?: string;
  readonly perQuery?: true;
  readonly json?: true;
  readonly out?: string;
  readonly precision: 'double' | 'single';
}

/** Returns the JSON `{mean: {measure: value}, perQuery: {qid: {measure: value}}}`. */
function toJson(evaluation: Evaluation): string {
  const names = evaluation.measures.map((measure) => measure.name);
  const row = (i: number) => Object.fromEntries(names.map((name) => [name, evaluation.perQuery.get(name)![i]!]));
  const mean = Object.fromEntries(evaluation.mean);
  const perQuery = Object.fromEntries(evaluation.queries.map((qid, i) => [qid, row(i)]));
  return `${JSON.stringify({ mean, perQuery }, null, 2)}\n`;
}

/** Returns lines as trec_eval prints them: measure, query or `all`, value. */
function toText(evaluation: Evaluation, withQueries: boolean): string {
  const { measures, queries, perQuery, mean } = evaluation;
  const width = Math.max(...measures.map(({ name }) => name.length));
  const line = (measure: Measure, qid: string, value: number): string =>
    `${measure.name.padEnd(width)}\t${qid}\t${measure.aggregate === 'sum' ? value : value.toFixed(4)}\n`;
  const rows = withQueries
    ? queries.flatMap((qid, i) => measures.map((measure) => line(measure, qid, perQuery.get(measure.name)![i]!)))
    : [];
  return [...rows, ...measures.map((measure) => line(measure, 'all', mean.get(measure.name)!))].join('');
}

async function run(names: readonly string[], options: Options): Promise<void> {
  const measures = [...new Map(names.map(parseMeasure).map((measure) => [measure.name, measure])).values()];
  const evaluation = await measureFiles(options.qrels, options.run, measures, options);
  const text = options.json ? toJson(evaluation) : toText(evaluation, options.perQuery === true);
  if (options.out === undefined) process.stdout.write(text);
  else await writeFileAtomic(options.out, text);
}

/** Makes `winnow measure`: measures a run against judgements. */
export function command(): Command {
  return new Command()
    .description('Measure a run against judgements, with the numbers of trec_eval.')
    .argument('<measures...>', 'names such as nDCG@10, RR@10, AP(rel=2), Success@5, R@1000')
    .requiredOption('--qrels <file>', 'judgements: TREC, MS MARCO, BEIR or JSON; .gz too')
    .requiredOption(
      '--run <file>',
      'run: TREC, MS MARCO (qid pid rank), rank_llm or JSON; .gz too; - is standard input',
    )
    .option('--reference <file>', 'run to compare with, for RBO')
    .option('--per-query', 'print the value of every judged query too')
    .option('--json', 'print {"mean": {measure: value}, "perQuery": {qid: {measure: value}}}')
    .option('--out <file>', 'file to write instead of standard output')
    .addOption(
      choiceOption(
        '--precision <kind>',
        'compare scores as 64-bit numbers or, like trec_eval up to version 9, as 32-bit numbers',
        ['double', 'single'],
        'double',
      ),
    )
    .addHelpText('after', EXAMPLES)
    .action(run);
}
