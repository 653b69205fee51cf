import { join } from 'node:path';
import { writeFileAtomic } from '../util/files.ts';
import { renderHtml } from './html.ts';
import { renderJson, renderMarkdown } from './markdown.ts';
import type { ReportModel } from './report-model.ts';
import { renderTerminal } from './terminal.ts';

export type ReportFormat = 'terminal' | 'markdown' | 'json' | 'html';

export const REPORT_FORMATS: Readonly<Record<ReportFormat, (report: ReportModel) => string | Promise<string>>> = {
  terminal: (report) => renderTerminal(report),
  markdown: renderMarkdown,
  json: renderJson,
  html: renderHtml,
};

/** Files of a report in a folder, with their formats. */
const FILES = { 'report.html': 'html', 'report.md': 'markdown', 'report.json': 'json' } as const;

/** Writes `report.html`, `report.md` and `report.json` into a folder and returns their paths. */
export async function writeReport(folder: string, report: ReportModel): Promise<string[]> {
  const paths: string[] = [];
  for (const [name, format] of Object.entries(FILES)) {
    const path = join(folder, name);
    await writeFileAtomic(path, await REPORT_FORMATS[format](report));
    paths.push(path);
  }
  return paths;
}
