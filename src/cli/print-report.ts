import type { ReportModel } from '../reports/report-model.ts';
import { renderTerminal } from '../reports/terminal.ts';
import { REPORT_FORMATS, type ReportFormat, writeReport } from '../reports/write-report.ts';

/** Writes a report to standard output, in color if it is a terminal and `NO_COLOR` is not set. */
export async function printReport(report: ReportModel, format: ReportFormat): Promise<void> {
  const color = process.stdout.isTTY === true && process.env.NO_COLOR === undefined;
  process.stdout.write(
    format === 'terminal' ? renderTerminal(report, { color }) : await REPORT_FORMATS[format](report),
  );
}

/** Writes the files of a report to a folder and prints their paths; without a folder it prints the report. */
export async function printOrWriteReport(
  report: ReportModel,
  format: ReportFormat,
  out: string | undefined,
): Promise<void> {
  if (out === undefined) await printReport(report, format);
  else for (const path of await writeReport(out, report)) process.stdout.write(`${path}\n`);
}
