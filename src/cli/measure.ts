import { Command } from 'commander';
import { type MeasuredRun, measureFiles } from '../evaluation/formats/measure-files.ts';
import { MEASURES, type MeasureRule } from '../evaluation/measures/catalog.ts';
import { type Evaluation, evaluationJson } from '../evaluation/measures/evaluation.ts';
import { distinctMeasures, type Measure, parseMeasures } from '../evaluation/measures/measure.ts';
import { writeFileAtomic } from '../util/files.ts';
import { precisionOption, qrelsOption } from './options.ts';

const AT = { none: '', optional: '[@k]', required: '@k' } as const;

function parametersOf({ accepts }: MeasureRule): string {
  const names = accepts.filter((name) => name !== 'cutoff' && name !== 'recall');
  return names.length > 0 ? ` (${names.join(', ')})` : '';
}

const EXAMPLES = `
Examples:
  $ npx winnow measure --qrels qrels.dl19-passage.txt --run bm25.run nDCG@10 'AP(rel=2)' 'RR(rel=2)@10'
  $ npx winnow measure --qrels qrels/test.tsv --run run.trec.gz --json nDCG@10 R@100
  $ npx winnow measure --qrels qrels.txt --run bm25.run --run new.run nDCG@10 R@100
  $ zcat run.gz | npx winnow measure --qrels qrels.txt --run - nDCG@10
  $ npx winnow measure --qrels qrels.txt --run run.txt official              # trec_eval's default set
  $ npx winnow measure --qrels qrels.txt --run run.txt ndcg_cut.5,10 P 'ERR@20'
  $ npx winnow measure --qrels qrels.dev.small.tsv --run run.dev.small.tsv MSMARCO_RR@10
  $ npx winnow measure --qrels qrels.txt --run new.run --reference old.run 'RBO(p=0.9)'

Measures are computed as by trec_eval 10 -c: ties by docno descending, linear gain. A judged query that is missing in the
run counts 0; a query without judgements is ignored; standard error names both. A run without any judged query has the
value nan. Names of trec_eval mean what they mean there: ndcg_cut is nDCG@5 … nDCG@1000.

Measures:
${Object.entries(MEASURES)
  .map(([kind, rule]) => `  ${(kind + AT[rule.at]).padEnd(12)} ${rule.summary}${parametersOf(rule)}`)
  .join('\n')}
`;

interface Options {
  readonly qrels: string;
  readonly run: readonly string[];
  readonly reference?: string;
  readonly perQuery?: true;
  readonly json?: true;
  readonly out?: string;
  readonly precision: 'double' | 'single';
}

/** Returns the values of one run, or `{runs: [{run, mean, perQuery}]}` of several. NaN is written as null. */
function toJson(runs: readonly MeasuredRun[]): string {
  const document =
    runs.length === 1
      ? evaluationJson(runs[0]!)
      : { runs: runs.map((one) => ({ run: one.run, ...evaluationJson(one) })) };
  return `${JSON.stringify(document, null, 2)}\n`;
}

/** Returns lines as trec_eval prints them: measure, query or `all`, value. @param start first column. */
function toText(evaluation: Evaluation, withQueries: boolean, start: string): string {
  const { measures, queries, perQuery, mean } = evaluation;
  const width = Math.max(...measures.map(({ name }) => name.length));
  const shown = (measure: Measure, value: number): string =>
    Number.isNaN(value) ? 'nan' : measure.aggregate === 'sum' ? String(value) : value.toFixed(4);
  const line = (measure: Measure, qid: string, value: number): string =>
    `${start}${measure.name.padEnd(width)}\t${qid}\t${shown(measure, value)}\n`;
  const rows = withQueries
    ? queries.flatMap((qid, i) => measures.map((measure) => line(measure, qid, perQuery.get(measure.name)![i]!)))
    : [];
  return [...rows, ...measures.map((measure) => line(measure, 'all', mean.get(measure.name)!))].join('');
}

async function run(names: readonly string[], options: Options): Promise<void> {
  const measures = distinctMeasures(names.flatMap(parseMeasures));
  const runs = await measureFiles(options.qrels, options.run, measures, options);
  const width = Math.max(...options.run.map((path) => path.length));
  const start = (path: string): string => (runs.length === 1 ? '' : `${path.padEnd(width)}\t`);
  const text = options.json
    ? toJson(runs)
    : runs.map((one) => toText(one, options.perQuery === true, start(one.run))).join('');
  for (const note of new Set(runs.flatMap(({ notes }) => notes))) process.stderr.write(`winnow: ${note}\n`);
  if (options.out === undefined) process.stdout.write(text);
  else await writeFileAtomic(options.out, text);
}

/** Makes `winnow measure`: measures a run against judgements. */
export function command(): Command {
  return new Command()
    .description('Measure a run against judgements, with the numbers of trec_eval.')
    .argument('<measures...>', 'names such as nDCG@10, RR@10, AP(rel=2), R@1000, or those of trec_eval')
    .addOption(qrelsOption())
    .requiredOption(
      '--run <file>',
      'run: TREC, MS MARCO (qid pid rank), rank_llm or JSON; .gz too; - is standard input; repeat the flag for several',
      (path: string, before: readonly string[] | undefined) => [...(before ?? []), path],
    )
    .option('--reference <file>', 'run to compare with, for RBO')
    .option('--per-query', 'print the value of every judged query too')
    .option('--json', 'print {"mean": {measure: value}, "perQuery": {qid: {measure: value}}}')
    .option('--out <file>', 'file to write instead of standard output')
    .addOption(precisionOption())
    .addHelpText('after', EXAMPLES)
    .action(run);
}
