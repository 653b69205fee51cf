import { existsSync } from 'node:fs';
import { Command } from 'commander';
import { distinctMeasures, parseMeasures } from '../evaluation/measures/measure.ts';
import { compareRuns, type NamedRun, nameRuns } from '../evaluation/runs/compare-runs.ts';
import { comparisonReport } from '../evaluation/runs/comparison-report.ts';
import type { ReportFormat } from '../reports/write-report.ts';
import type { Correction } from '../statistics/corrections.ts';
import type { TukeyModel } from '../statistics/tukey.ts';
import {
  choiceOption,
  drawingsOption,
  numberOption,
  precisionOption,
  qrelsOption,
  reportFormatOption,
} from './options.ts';
import { printOrWriteReport } from './print-report.ts';

const EXAMPLES = `
Examples:
  $ npx winnow compare --qrels qrels.txt bm25.run splade.run reranked.run
  $ npx winnow compare --qrels qrels.txt --measure nDCG@10,AP --baseline splade bm25.run splade.run
  $ npx winnow compare --qrels qrels.txt --queries topics.txt old=runs/1.run new=runs/2.run --out report/
  $ npx winnow compare --qrels qrels.txt a.run b.run --json | jq '.data.measures[0].tukey.pairs'

A run may come from any system, in any format of \`npx winnow measure\`. Systems are named by their files, or as NAME=FILE.
The mean is over all judged queries; a query that a run leaves out counts 0. Standard error names such queries.
`;

interface Options {
  readonly qrels: string;
  readonly measure: readonly string[];
  readonly baseline?: string;
  readonly queries?: string;
  readonly test: 't' | 'randomization' | 'wilcoxon';
  readonly correction: Correction;
  readonly tukey: TukeyModel;
  readonly alpha: number;
  readonly seed: number;
  readonly precision: 'double' | 'single';
  readonly format: ReportFormat;
  readonly json?: true;
  readonly out?: string;
  readonly drawings?: string;
}

/** A part of trec_eval's lists, such as `ndcg_cut.5,10` and `ndcg.1=3,2=7`. */
const LIST_PART = /^\d[\d.]*(?:=[-\d.]+)?$/;

/** Splits a list of measures at commas outside parentheses and outside trec_eval's lists. */
function splitMeasures(text: string): string[] {
  const names: string[] = [];
  for (const part of (text.match(/(?:\([^)]*\)|[^,(])+/g) ?? []).map((name) => name.trim())) {
    const last = names.at(-1);
    if (last !== undefined && LIST_PART.test(part)) names[names.length - 1] = `${last},${part}`;
    else if (part !== '') names.push(part);
  }
  return names;
}

/** Parses `NAME=FILE`. A path that exists is a file, even with `=` in its name. */
function namedRuns(given: readonly string[]): NamedRun[] {
  const parts = given.map((text) => (existsSync(text) ? undefined : /^([^=]+)=(.+)$/.exec(text)));
  const plain = nameRuns(given.map((text, i) => parts[i]?.[2] ?? text));
  return plain.map((run, i) => ({ ...run, system: parts[i]?.[1] ?? run.system }));
}

async function run(given: readonly string[], options: Options): Promise<void> {
  const names = options.measure.length > 0 ? options.measure : ['nDCG@10'];
  const measures = distinctMeasures(names.flatMap(parseMeasures));
  const { test, correction, tukey, alpha, seed, precision, baseline, queries } = options;
  const comparison = await compareRuns(options.qrels, namedRuns(given), {
    measures,
    test: test === 'randomization' ? 'randomisation' : test,
    correction,
    tukey,
    alpha,
    seed,
    precision,
    baseline,
    queries,
  });
  for (const note of comparison.notes) process.stderr.write(`winnow: ${note}\n`);
  await printOrWriteReport(comparisonReport(comparison), {
    format: options.json ? 'json' : options.format,
    out: options.out,
    drawings: options.drawings,
  });
}

/** Makes `winnow compare`: compares run files of any systems. */
export function command(): Command {
  return new Command()
    .description(
      'Compare run files: means, paired tests against a baseline, Tukey’s test of all pairs, queries that differ.',
    )
    .argument('<runs...>', 'at least two runs, FILE or NAME=FILE; .gz too; - is standard input')
    .addOption(qrelsOption())
    .option(
      '--measure <names>',
      'measures with commas between, the main one first; may be repeated (default: nDCG@10)',
      (text: string, before: readonly string[]) => [...before, ...splitMeasures(text)],
      [],
    )
    .option('--baseline <name>', 'system that the others are tested against (default: the first run)')
    .option('--queries <file>', 'texts of the queries, for the report')
    .addOption(
      choiceOption('--test <name>', 'paired test against the baseline', ['t', 'randomization', 'wilcoxon'], 't'),
    )
    .addOption(
      choiceOption(
        '--correction <name>',
        'correction of its p-values over the other systems',
        ['holm', 'bonferroni', 'benjamini-hochberg', 'none'],
        'holm',
      ),
    )
    .addOption(
      choiceOption(
        '--tukey <model>',
        'test of all pairs: queries as blocks, systems as independent samples, or by random swaps within a query',
        ['two-way', 'one-way', 'randomized'],
        'two-way',
      ),
    )
    .addOption(numberOption('--alpha <x>', 'level of significance', { min: 0.0001, max: 0.5 }, 0.05))
    .addOption(numberOption('--seed <n>', 'seed of intervals and randomization', { integer: true, min: 0 }, 1))
    .addOption(precisionOption())
    .addOption(reportFormatOption())
    .option('--json', 'print JSON, as --format json does')
    .option('--out <folder>', 'folder for report.html, report.md and report.json, instead of printing')
    .addOption(drawingsOption())
    .addHelpText('after', EXAMPLES)
    .action(run);
}
