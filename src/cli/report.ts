import { Command } from 'commander';
import { gridComparison } from '../reports/grid-comparison.ts';
import { PAPER_GRID, readGridData } from '../reports/grid-data.ts';
import type { ReportFormat } from '../reports/write-report.ts';
import { drawingsOption, reportFormatOption } from './options.ts';
import { printOrWriteReport } from './print-report.ts';

const EXAMPLES = `
Examples:
  $ npx winnow report                          # the 54 rows of the paper
  $ npx winnow report --out report/            # report.html, report.md and report.json
  $ npx winnow report --format json | jq .data.objectives.averageRanks
  $ npx winnow report --data grid.json --out report/   # another grid in the same format
  $ npx winnow report --drawings pictures/     # each chart as an SVG file, for a page or a paper

The report has Friedman's χ², Nemenyi's critical difference, mean ranks and column means of a grid of backbones and
objectives, computed from its rows.
`;

interface Options {
  readonly data?: string;
  readonly format: ReportFormat;
  readonly out?: string;
  readonly drawings?: string;
}

async function run({ data, format, out, drawings }: Options): Promise<void> {
  const report = gridComparison(data === undefined ? PAPER_GRID : await readGridData(data));
  await printOrWriteReport(report, { format, out, drawings });
}

/** Makes `winnow report`: statistics and charts of a grid of results. */
export function command(): Command {
  return new Command()
    .description('Compute and draw the statistics of a grid of backbones and objectives.')
    .option('--data <file>', 'grid as JSON (default: the 54 rows of arXiv 2603.03010)')
    .addOption(reportFormatOption())
    .option('--out <folder>', 'folder for report.html, report.md and report.json, instead of printing')
    .addOption(drawingsOption())
    .addHelpText('after', EXAMPLES)
    .action(run);
}
