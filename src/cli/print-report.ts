import { writeDrawings } from '../reports/drawings.ts';
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

interface ReportOutput {
  readonly format: ReportFormat;
  /** Folder of the report's files; without it the report is printed. */
  readonly out: string | undefined;
  /** Folder of its charts, each a file. */
  readonly drawings: string | undefined;
}

/** Writes the files of a report to a folder and prints their paths, or prints the report. */
export async function printOrWriteReport(report: ReportModel, { format, out, drawings }: ReportOutput): Promise<void> {
  if (out === undefined) await printReport(report, format);
  else for (const path of await writeReport(out, report)) process.stdout.write(`${path}\n`);
  if (drawings === undefined) return;
  // The report itself may be on standard output.
  for (const path of await writeDrawings(drawings, report)) process.stderr.write(`${path}\n`);
}
