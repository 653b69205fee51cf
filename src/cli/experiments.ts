import { Command } from 'commander';
import { loadConfig } from '../config/load-config.ts';
import { analyze } from '../experiments/analysis/analyze.ts';
import { DEFINITION_HASH, type Since } from '../experiments/analysis/period.ts';
import { type ExperimentPlan, planExperiment, planUnits } from '../experiments/analysis/planning.ts';
import { writeReportFiles } from '../experiments/analysis/report-files.ts';
import { planTable, reportModel, selfCheckTable } from '../experiments/analysis/report-tables.ts';
import { selfCheck } from '../experiments/analysis/self-check.ts';
import { prepareExperiment, statusOf } from '../experiments/assignment/prepared-experiment.ts';
import {
  effectsOnDatabase,
  type OfflineExperiments,
  openOffline,
  readExperiments,
} from '../experiments/offline-experiments.ts';
import { unsharedDatabase } from '../experiments/shared-database.ts';
import { textTable } from '../reports/tables.ts';
import { renderTerminal, terminalSection } from '../reports/terminal.ts';
import { parseNumber, parseTime } from '../util/cli-numbers.ts';
import { numberOption } from './options.ts';

interface Common {
  readonly experiments?: string;
  readonly database?: string;
  readonly json?: true;
}

const print = (text: string): void => void process.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
const printJson = (value: unknown) => print(JSON.stringify(value, null, 2));

/** Parses `--since`: a definition by its hash, or a time. */
const parseSince = (text: string): Since =>
  DEFINITION_HASH.test(text) ? text : /^\d+$/.test(text) ? Number(text) : parseTime(text, '--since');

const lifts = (text: string): number[] => text.split(',').map((part) => parseNumber(part, '--lift'));

const DATABASE = [
  '--database <target>',
  'SQLite file or postgres:// URL (default: WINNOW_EXPERIMENTS_DATABASE)',
] as const;

const reading = (name: string) =>
  new Command(name)
    .option(
      '--experiments <file>',
      'experiments.yaml (default: WINNOW_EXPERIMENTS, else the definitions in the database)',
    )
    .option(...DATABASE)
    .option('--json', 'print JSON');

/** Runs `work` on the experiments and the database that flags or environment name. */
async function withExperiments(options: Common, work: (offline: OfflineExperiments) => Promise<void>): Promise<void> {
  const { experiments } = loadConfig([], process.env);
  const offline = await openOffline({
    file: options.experiments ?? experiments.file,
    database: options.database ?? experiments.database.reveal(),
  });
  try {
    await work(offline);
  } finally {
    await offline.close();
  }
}

function listCommand(): Command {
  return reading('list')
    .description('List experiments with state and models.')
    .action((options: Common) =>
      withExperiments(options, async (offline) => {
        const now = Date.now();
        const rows = offline.list().map(({ experiment, source, configHash }) => {
          const { name, mode, arms, control } = experiment;
          return {
            name,
            mode,
            status: statusOf(prepareExperiment(experiment), now),
            source,
            configHash,
            arms,
            control,
          };
        });
        if (options.json) return printJson(rows);
        if (rows.length === 0) return print('No experiments.');
        const section = textTable({
          title: 'Experiments',
          head: ['name', 'mode', 'status', 'source', 'definition', 'arms'],
          rows: rows.map(({ name, mode, status, source, configHash, arms }) => [
            name,
            mode,
            status,
            source,
            configHash,
            arms.map((arm) => `${arm.name} (${arm.model})`).join(', '),
          ]),
        });
        print(terminalSection(section));
      }),
    );
}

function reportCommand(): Command {
  return reading('report')
    .description('Print sample ratio, intervals and verdict of an experiment.')
    .argument('<name>')
    .option('--until <time>', 'report of the state at an earlier time', (text) => parseTime(text, '--until'))
    .option('--since <time|definition>', 'when figures begin (default: when an arm was last another model)', parseSince)
    .option('--out <folder>', 'folder for report.md, report.json and a drawing of each metric, instead of printing')
    .action((name: string, options: Common & { until?: number; since?: Since; out?: string }) =>
      withExperiments(options, async (offline) => {
        const experiment = offline.find(name);
        const { until, since, out, json } = options;
        const range = { until, since };
        if (out !== undefined) return print((await writeReportFiles(offline.store, experiment, out, range)).join('\n'));
        const report = await analyze(offline.store, experiment, range);
        if (json) printJson(report);
        else print(renderTerminal(reportModel(report)));
      }),
    );
}

interface PlanFlags extends Common {
  readonly metric?: string;
  readonly lift: number[];
  readonly power: number;
  readonly mean?: number;
  readonly deviation?: number;
  readonly correlation?: number;
  readonly daily?: number;
}

function printPlan({ json, power }: PlanFlags, { baseline, rows }: ExperimentPlan): void {
  if (json) printJson({ baseline, power, rows });
  else print(terminalSection(planTable(baseline, rows, power)));
}

function planCommand(): Command {
  return reading('plan')
    .description('Compute how many units and days an experiment needs.')
    .argument('[name]', 'experiment whose control gives mean, deviation and traffic')
    .option('--metric <name>', 'metric to plan for (default: the first of the experiment)')
    .option(
      '--lift <shares>',
      'effects to find, relative to the mean, separated by commas',
      lifts,
      [0.01, 0.02, 0.05, 0.1],
    )
    .addOption(numberOption('--power <share>', 'probability to find an effect that is there', { min: 0, max: 1 }, 0.8))
    .addOption(numberOption('--mean <value>', 'mean of the metric over units', {}))
    .addOption(numberOption('--deviation <value>', 'standard deviation of the metric over units', { min: 0 }))
    .addOption(
      numberOption('--correlation <value>', 'correlation with the unit before the experiment (CUPED)', {
        min: -1,
        max: 1,
      }),
    )
    .addOption(numberOption('--daily <units>', 'new units a day', { min: 0 }))
    .action(async (name: string | undefined, flags: PlanFlags) => {
      const { lift, power, daily: unitsADay, metric, mean, deviation, correlation } = flags;
      const known = { metric, mean, deviation, correlation, unitsADay };
      if (name === undefined) return printPlan(flags, planUnits(known, lift, { power }));
      await withExperiments(flags, async (offline) =>
        printPlan(flags, await planExperiment(offline.store, offline.find(name), known, lift, { power })),
      );
    });
}

function checkCommand(): Command {
  return reading('check')
    .description(
      'Check the analysis by A/A tests: it splits the units of control at random, so that there is no effect to find.',
    )
    .argument('<name>')
    .addOption(numberOption('--runs <count>', 'number of A/A tests', { integer: true, min: 1 }, 1000))
    .action((name: string, options: Common & { runs: number }) =>
      withExperiments(options, async (offline) => {
        const checks = await selfCheck(offline.store, offline.find(name), { runs: options.runs });
        if (options.json) printJson(checks);
        else print(terminalSection(selfCheckTable(checks)));
        if (checks.some(({ ok }) => !ok)) process.exitCode = 1;
      }),
    );
}

interface ValidateFlags extends Pick<Common, 'database'> {
  readonly replicas?: number;
}

function validateCommand(): Command {
  return new Command('validate')
    .description(
      'Check a file of definitions, what its changes do to units that a database knows, and whether the replicas can share that database.',
    )
    .argument('<file>')
    .option(...DATABASE)
    .addOption(
      numberOption('--replicas <count>', 'processes that serve together (default: WINNOW_SERVER_REPLICAS)', {
        integer: true,
        min: 1,
      }),
    )
    .action(async (file: string, { database, replicas }: ValidateFlags) => {
      const experiments = await readExperiments(file);
      print(`${file}: ${experiments.length} experiment(s) in order: ${experiments.map(({ name }) => name).join(', ')}`);
      const config = loadConfig([], process.env);
      const target = database ?? config.experiments.database.reveal();
      for (const effect of target ? await effectsOnDatabase(experiments, target) : []) print(`warning: ${effect}`);
      const fault = unsharedDatabase(target, replicas ?? config.server.replicas);
      if (fault === undefined) return;
      process.stderr.write(`winnow: ${fault}\n`);
      process.exitCode = 1;
    });
}

const EXAMPLES = `
Examples:
  $ npx winnow experiments validate experiments.yaml --database runs/experiments.sqlite
  $ npx winnow experiments validate experiments.yaml --replicas 3
  $ npx winnow experiments list --database runs/experiments.sqlite
  $ npx winnow experiments report new-objective
  $ npx winnow experiments report new-objective --out report/       # report.md, report.json, drawings
  $ npx winnow experiments report new-objective --json | jq .verdict
  $ npx winnow experiments report new-objective --since 2026-11-01T00:00:00Z
  $ npx winnow experiments plan new-objective --lift 0.01,0.03
  $ npx winnow experiments plan --mean 0.31 --deviation 0.9 --daily 20000
  $ npx winnow experiments check new-objective
`;

/** Makes `winnow experiments`: reports, plans and checks A/B tests. */
export function command(): Command {
  return new Command('experiments')
    .description('Report, plan and check A/B tests of models.')
    .addCommand(listCommand())
    .addCommand(reportCommand())
    .addCommand(planCommand())
    .addCommand(checkCommand())
    .addCommand(validateCommand())
    .addHelpText('after', EXAMPLES);
}
