import { join } from 'node:path';
import { Command } from 'commander';
import { loadConfig } from '../config/load-config.ts';
import { WinnowError } from '../errors.ts';
import { analyze } from '../experiments/analysis/analyze.ts';
import { type Baseline, baselineOf, planFor } from '../experiments/analysis/planning.ts';
import { planTable, reportModel, selfCheckTable } from '../experiments/analysis/report-tables.ts';
import { selfCheck } from '../experiments/analysis/self-check.ts';
import { liftPoints, seriesOf } from '../experiments/analysis/series.ts';
import { prepareExperiment, statusOf } from '../experiments/assignment/prepared-experiment.ts';
import type { Experiment } from '../experiments/definitions/definition.ts';
import { type OfflineExperiments, openOffline, readExperiments } from '../experiments/offline-experiments.ts';
import { liftSvg } from '../reports/charts/lift-chart.ts';
import { renderMarkdown } from '../reports/markdown.ts';
import type { ImageSection } from '../reports/report-model.ts';
import { textTable } from '../reports/tables.ts';
import { renderTerminal, terminalSection } from '../reports/terminal.ts';
import { parseNumber, parseTime } from '../util/cli-numbers.ts';
import { writeFileAtomic } from '../util/files.ts';
import { numberOption } from './options.ts';

interface Common {
  readonly experiments?: string;
  readonly database?: string;
  readonly json?: true;
}

const print = (text: string): void => void process.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
const printJson = (value: unknown) => print(JSON.stringify(value, null, 2));

const lifts = (text: string): number[] => text.split(',').map((part) => parseNumber(part, '--lift'));

const reading = (name: string) =>
  new Command(name)
    .option('--experiments <file>', 'experiments.yaml; WINNOW_EXPERIMENTS, or what the database knows, if absent')
    .option('--database <target>', 'SQLite file or postgres:// URL; WINNOW_EXPERIMENTS_DATABASE if absent')
    .option('--json', 'machine-readable output');

/** Runs a command on the database that options or environment name. */
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
    .description('Experiments, their states and models.')
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

/** Writes the report as JSON, Markdown and a drawing of each metric. */
async function writeReport(offline: OfflineExperiments, experiment: Experiment, folder: string, until?: number) {
  const report = await analyze(offline.store, experiment, until === undefined ? {} : { until });
  const series = await seriesOf(offline.store, experiment, { until, points: 60, now: Date.now() });
  const drawings: ImageSection[] = [];
  for (const { name } of experiment.metrics) {
    const points = liftPoints(series, name);
    if (points.length === 0) continue;
    const file = `${name}.svg`;
    await writeFileAtomic(join(folder, file), await liftSvg(name, points));
    drawings.push({ kind: 'image', title: `Lift of ${name}`, file, alt: `${name} over time` });
  }
  await writeFileAtomic(join(folder, 'report.json'), `${JSON.stringify(report, null, 2)}\n`);
  await writeFileAtomic(join(folder, 'report.md'), renderMarkdown(reportModel(report, drawings)));
  for (const file of ['report.json', 'report.md', ...drawings.map(({ file }) => file)]) print(join(folder, file));
}

function reportCommand(): Command {
  return reading('report')
    .description('Sample ratio, intervals and verdict of an experiment.')
    .argument('<name>')
    .option('--until <time>', 'state at an earlier time', (text) => parseTime(text, '--until'))
    .option('--out <folder>', 'write report.md, report.json and a picture of each metric there instead')
    .action((name: string, options: Common & { until?: number; out?: string }) =>
      withExperiments(options, async (offline) => {
        const experiment = offline.find(name);
        const { until, out, json } = options;
        if (out !== undefined) return writeReport(offline, experiment, out, until);
        const report = await analyze(offline.store, experiment, until === undefined ? {} : { until });
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

/** What is said by flags wins over what the experiment has shown. */
function withFlags(seen: Baseline | undefined, flags: PlanFlags): Baseline {
  const { mean = seen?.mean, deviation = seen?.deviation, correlation = seen?.correlation ?? 0 } = flags;
  const unitsADay = flags.daily ?? seen?.unitsADay;
  if (mean === undefined || deviation === undefined)
    throw new WinnowError('invalid_input', {
      where: 'plan',
      expected: 'an experiment with outcomes, or --mean and --deviation',
      got: seen ? 'neither' : 'no outcomes of control',
    });
  const metric = flags.metric ?? seen?.metric ?? 'metric';
  return { metric, mean, deviation, correlation, ...(unitsADay === undefined ? {} : { unitsADay }) };
}

function planCommand(): Command {
  return reading('plan')
    .description('How many units and days an experiment needs.')
    .argument('[name]', 'an experiment whose control shows mean, deviation and traffic')
    .option('--metric <name>', 'its first metric if absent')
    .option('--lift <shares>', 'effects relative to the mean, separated by commas', lifts, [0.01, 0.02, 0.05, 0.1])
    .addOption(numberOption('--power <share>', 'chance to find them', { min: 0, max: 1 }, 0.8))
    .addOption(numberOption('--mean <value>', 'mean of a unit', {}))
    .addOption(numberOption('--deviation <value>', 'standard deviation over units', { min: 0 }))
    .addOption(numberOption('--correlation <value>', 'with what the unit did before (CUPED)', { min: -1, max: 1 }))
    .addOption(numberOption('--daily <units>', 'new units a day', { min: 0 }))
    .action(async (name: string | undefined, flags: PlanFlags) => {
      const show = (seen: Baseline | undefined, weights?: readonly number[]) => {
        const baseline = withFlags(seen, flags);
        const rows = planFor(baseline, flags.lift, {
          power: flags.power,
          ...(weights ? { weights: weights as [number, number] } : {}),
        });
        if (flags.json) printJson({ baseline, power: flags.power, rows });
        else print(terminalSection(planTable(baseline, rows, flags.power)));
      };
      if (name === undefined) return show(undefined);
      await withExperiments(flags, async (offline) => {
        const experiment = offline.find(name);
        const { arms, control, metrics } = experiment;
        const weightOf = (wanted: boolean) =>
          arms.filter((arm) => (arm.name === control) === wanted).map((a) => a.weight);
        const seen = await baselineOf(offline.store, experiment, flags.metric ?? metrics[0]!.name);
        show(seen, [...weightOf(true), ...weightOf(false)]);
      });
    });
}

function checkCommand(): Command {
  return reading('check')
    .description('A/A self-check: the analysis on control’s units halved at random, where no effect can be.')
    .argument('<name>')
    .addOption(numberOption('--runs <count>', 'fake experiments', { integer: true, min: 1 }, 1000))
    .action((name: string, options: Common & { runs: number }) =>
      withExperiments(options, async (offline) => {
        const checks = await selfCheck(offline.store, offline.find(name), { runs: options.runs });
        if (options.json) printJson(checks);
        else print(terminalSection(selfCheckTable(checks)));
        if (checks.some(({ ok }) => !ok)) process.exitCode = 1;
      }),
    );
}

function validateCommand(): Command {
  return new Command('validate')
    .description('Check a file of definitions without using it.')
    .argument('<file>')
    .action(async (file: string) => {
      const experiments = await readExperiments(file);
      print(`${file}: ${experiments.length} experiment(s) in order: ${experiments.map(({ name }) => name).join(', ')}`);
    });
}

const EXAMPLES = `
Examples:
  $ npx winnow experiments validate experiments.yaml
  $ npx winnow experiments list --database runs/experiments.sqlite
  $ npx winnow experiments report new-objective
  $ npx winnow experiments report new-objective --out report/       # report.md, report.json, pictures
  $ npx winnow experiments report new-objective --json | jq .verdict
  $ npx winnow experiments plan new-objective --lift 0.01,0.03
  $ npx winnow experiments plan --mean 0.31 --deviation 0.9 --daily 20000
  $ npx winnow experiments check new-objective
`;

/** `winnow experiments …`: what A/B tests have shown, and what they need. */
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
