import { basename, join, resolve } from 'node:path';
import { Command } from 'commander';
import { loadConfig } from '../config/load-config.ts';
import { WinnowError } from '../errors.ts';
import { runSuite, type SuiteObserver } from '../evaluation/suites/run-suite.ts';
import type { SuiteModels } from '../evaluation/suites/suite-models.ts';
import { suiteReport } from '../evaluation/suites/suite-report.ts';
import { quickened, readSuite } from '../evaluation/suites/suite-schema.ts';
import { openSuiteModels } from '../main/suite-models.ts';
import { writeDrawings } from '../reports/drawings.ts';
import type { ReportModel } from '../reports/report-model.ts';
import { type ReportFormat, writeReport } from '../reports/write-report.ts';
import { type Progress, startProgress } from '../util/progress.ts';
import type { Shard } from '../util/shard.ts';
import { drawingsOption, instructionIgnored, instructionOption, reportFormatOption, shardOption } from './options.ts';
import { printReport } from './print-report.ts';

const EXAMPLES = `
Examples:
  $ npx winnow eval bench/suites/shared.yaml --quick           # ten queries a set, ten passages a query
  $ npx winnow eval suite.yaml --models models --out runs/suite
  $ npx winnow eval suite.yaml --shard 1/4                     # the second of four parts; all write to one --out
  $ npx winnow eval suite.yaml --report-only --format json     # no scoring: the report of finished cells

Each set and model has a folder under --out with run.trec.gz, cell.json and values.json. A cell is scored again only
if the model's file, the texts, the queries or the candidate lists have changed. report.html, report.md and report.json
are written to --out. Requests to a live search engine carry WINNOW_SEARCH_AUTHORIZATION as Authorization header.
`;

interface Options {
  readonly models?: string;
  readonly out?: string;
  readonly shard?: Shard;
  readonly quick?: true;
  readonly reportOnly?: true;
  readonly drawings?: string;
  readonly format: ReportFormat;
  readonly config?: string;
  readonly instruction?: string;
}

/** Shows a progress bar and notes on standard error. */
function display(): SuiteObserver & { stop(): void } {
  let bar: Progress | undefined;
  let total = 0;
  const say = (line: string): boolean => process.stderr.write(`${line}\n`);
  return {
    onWork({ pending, done, pairs }) {
      say(`${done} of ${done + pending} cells are finished; ${pairs} pairs to score`);
      total = pairs;
    },
    onPairs({ pairs, set, system }) {
      bar ??= startProgress('eval', total, pairs);
      bar.update(pairs, `${system} on ${set}`);
    },
    onNote: say,
    stop: () => bar?.stop(),
  };
}

const flagsOf = ({ models, config }: Options): string[] => [
  ...(models === undefined ? [] : ['--models', models]),
  ...(config === undefined ? [] : ['--config', config]),
];

function openModels(options: Options): SuiteModels & { close(): Promise<void> } {
  const environment = { ...process.env };
  const { instruction } = options;
  const told = new Set<string>();
  const onIgnored = (key: string) => {
    if (!told.has(key)) process.stderr.write(instructionIgnored(key));
    told.add(key);
  };
  return openSuiteModels(
    (variant) =>
      loadConfig([...flagsOf(options), ...(variant === 'auto' ? [] : ['--registry-variant', variant])], environment),
    { instruction, onIgnored },
  );
}

/** Leaves out the passages of single queries: they are longer than the tables. */
const forTerminal = (report: ReportModel): ReportModel => ({
  ...report,
  sections: report.sections.filter(({ kind }) => kind !== 'differences'),
});

async function run(file: string, options: Options): Promise<void> {
  const read = readSuite(file);
  const loaded = options.quick ? { ...read, suite: quickened(read.suite) } : read;
  const name = basename(file).replace(/\.ya?ml$/, '');
  const out = join(resolve(options.out ?? join('runs', name)), options.quick ? 'quick' : '');
  const models = openModels(options);
  const observer = display();
  try {
    const outcome = await runSuite(loaded, models, {
      out,
      observer,
      reportOnly: options.reportOnly,
      shard: options.shard,
      authorization: process.env.WINNOW_SEARCH_AUTHORIZATION,
    });
    observer.stop();
    if (outcome.kind === 'partial') {
      if (options.reportOnly)
        throw new WinnowError('invalid_input', {
          where: out,
          expected: 'results of every cell',
          got: `none of ${outcome.missing.join(', ')}; run the suite without --report-only first`,
        });
      process.stdout.write(`this part is finished; ${outcome.missing.length} cells of other parts are missing\n`);
      return;
    }
    const report = await suiteReport(outcome.result);
    await outcome.close();
    await printReport(options.format === 'terminal' ? forTerminal(report) : report, options.format);
    const drawings = options.drawings === undefined ? [] : await writeDrawings(options.drawings, report);
    for (const path of [...(await writeReport(out, report)), ...drawings]) process.stderr.write(`${path}\n`);
  } finally {
    observer.stop();
    await models.close();
  }
}

/** Makes `winnow eval`: compares models on the sets of a suite. */
export function command(): Command {
  return new Command()
    .description('Re-rank the sets of a suite with models of the registry, measure and compare them.')
    .argument('<suite>', 'suite.yaml: sets, first stages, models, measures, statistics')
    .option('--models <folder>', 'registry folder (default: the setting registry.folder)')
    .option('--config <file>', 'settings file of `npx winnow serve`')
    .option('--out <folder>', 'folder of results; finished cells in it are not scored again (default: runs/<suite>)')
    .addOption(instructionOption())
    .addOption(shardOption('the cells; the part that finishes last writes the report'))
    .option('--quick', 'score ten queries a set and ten passages a query, in <out>/quick')
    .option('--report-only', 'score nothing; report the finished cells')
    .addOption(reportFormatOption())
    .addOption(drawingsOption())
    .addHelpText('after', EXAMPLES)
    .action(run);
}
