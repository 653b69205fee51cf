import { join } from 'node:path';
import { liftSvg } from '../../reports/charts/lift-chart.ts';
import { renderMarkdown } from '../../reports/markdown.ts';
import type { ImageSection } from '../../reports/report-model.ts';
import { writeFileAtomic } from '../../util/files.ts';
import type { Experiment } from '../definitions/definition.ts';
import type { ExperimentStore } from '../records.ts';
import { analyze, type ReportOptions } from './analyze.ts';
import { reportModel } from './report-tables.ts';
import { liftPoints, seriesOf } from './series.ts';

/** Points of time in the drawing of a metric. */
const POINTS = 60;

/**
 * Writes the report of an experiment as `report.json`, `report.md` and a drawing of each metric that has outcomes.
 * @returns the paths of the files.
 */
export async function writeReportFiles(
  store: ExperimentStore,
  experiment: Experiment,
  folder: string,
  options: ReportOptions = {},
): Promise<readonly string[]> {
  const report = await analyze(store, experiment, options);
  const series = await seriesOf(store, experiment, { ...options, points: POINTS, now: Date.now() });
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
  return ['report.json', 'report.md', ...drawings.map(({ file }) => file)].map((file) => join(folder, file));
}
