import { basename, join, resolve } from 'node:path';
import { Command } from 'commander';
import { loadConfig } from '../config/load-config.ts';
import { WinnowError } from '../errors.ts';
import { runSuite, type SuiteObserver } from '../evaluation/suites/run-suite.ts';
import type { SuiteModels } from '../evaluation/suites/suite-models.ts';
import { suiteReport } from '../evaluation/suites/suite-report.ts';
import { quickened, readSuite } from '../evaluation/suites/suite-schema.ts';
import { openSuiteModels } from '../main/suite-models.ts';
import type { ReportModel } from '../reports/report-model.ts';
import { renderTerminal } from '../reports/terminal.ts';
import { REPORT_FORMATS, type ReportFormat, writeReport } from '../reports/write-report.ts';
import { type Progress, startProgress } from '../util/progress.ts';
import type { Shard } from '../util/shard.ts';
import { reportFormatOption, shardOption } from './options.ts';

const EXAMPLES = `
Examples:
  $ npx winnow eval bench/suites/shared.yaml --quick           # ten queries of each set, ten passages deep
  $ npx winnow eval suite.yaml --models models --out runs/suite
  $ npx winnow eval suite.yaml --shard 1/4                     # the second of four parts; any order, one shared --out
  $ npx winnow eval suite.yaml --report-only --format json     # no scoring: report what is there

Results are kept per set and model under --out: run.trec.gz, cell.json, values.json. A cell is scored again only
where the model's file, the texts, the queries or the candidate lists have changed. report.html, report.md and
report.json are written beside them. A live search engine gets WINNOW_SEARCH_AUTHORIZATION as its header.
`;

interface Options {
  readonly models?: string;
  readonly out?: string;
  readonly shard?: Shard;
  readonly quick?: true;
  readonly reportOnly?: true;
  readonly format: ReportFormat;
  readonly config?: string;
}

/** Bar and notes on standard error. */
function display(): SuiteObserver & { stop(): void } {
  let bar: Progress | undefined;
  const say = (line: string): boolean => process.stderr.write(`${line}\n`);
  return {
    onWork({ pending, done, pairs }) {
      say(`${done} of ${done + pending} cells are there; ${pairs} pairs to score`);
      if (pairs > 0) bar = startProgress('eval', pairs);
    },
    onPairs: ({ pairs, set, system }) => bar?.update(pairs, `${system} on ${set}`),
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
  return openSuiteModels((variant) =>
    loadConfig([...flagsOf(options), ...(variant === 'auto' ? [] : ['--registry-variant', variant])], environment),
  );
}

/** Queries with their passages are for the page: on a terminal they would push the tables away. */
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
      ...{ out, observer, reportOnly: options.reportOnly },
      shard: options.shard,
      authorization: process.env.WINNOW_SEARCH_AUTHORIZATION,
    });
    observer.stop();
    if (outcome.kind === 'partial') {
      if (options.reportOnly)
        throw new WinnowError('invalid_input', {
          where: out,
          expected: 'every cell to be finished',
          got: `${outcome.missing.length} missing: ${outcome.missing.join(', ')}`,
        });
      process.stdout.write(`this part is done; ${outcome.missing.length} cells of other parts are missing\n`);
      return;
    }
    const report = await suiteReport(outcome.result);
    await outcome.close();
    const color = process.stdout.isTTY === true && process.env.NO_COLOR === undefined;
    const { format } = options;
    process.stdout.write(
      format === 'terminal' ? renderTerminal(forTerminal(report), { color }) : await REPORT_FORMATS[format](report),
    );
    for (const path of await writeReport(out, report)) process.stderr.write(`${path}\n`);
  } finally {
    observer.stop();
    await models.close();
  }
}

/** `winnow eval`: models against each other on the sets of a suite. */
export function command(): Command {
  return new Command()
    .description('Re-rank the sets of a suite with models of the registry, measure and compare them.')
    .argument('<suite>', 'suite.yaml: sets, first stages, models, measures, statistics')
    .option('--models <folder>', 'registry folder (default: the setting registry.folder)')
    .option('--config <file>', 'settings file, as for `npx winnow serve`')
    .option('--out <folder>', 'folder of results; finished parts in it are not done again (default: runs/<suite>)')
    .addOption(shardOption('the cells; the last to finish reports'))
    .option('--quick', 'ten queries a set, ten passages deep, in a folder of its own')
    .option('--report-only', 'score nothing; report what is there')
    .addOption(reportFormatOption())
    .addHelpText('after', EXAMPLES)
    .action(run);
}
