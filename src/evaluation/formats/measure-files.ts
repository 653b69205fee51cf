import { WinnowError } from '../../errors.ts';
import { STDIN } from '../../util/bytes.ts';
import { sourceName } from '../../util/text.ts';
import { coverageNotes, sharesQueries, someIds } from '../measures/coverage.ts';
import { createEvaluator, type Evaluation } from '../measures/evaluation.ts';
import type { Measure } from '../measures/measure.ts';
import { readQrels, splitEmpty } from './qrels.ts';
import { readRun, scanRun } from './run.ts';
import type { ScanOptions } from './run-scanner.ts';

interface MeasureFilesOptions extends ScanOptions {
  /** Path of the run that `RBO` compares with. */
  readonly reference?: string | undefined;
}

/** The values of one run. */
export interface MeasuredRun extends Evaluation {
  readonly run: string;
  /** Queries that are not simply measured, a line for each reason. */
  readonly notes: readonly string[];
}

/** Reads the rankings of a reference run. @throws WinnowError `invalid_input` where no measure compares with it. */
async function readReference(
  path: string,
  measures: readonly Measure[],
  options: ScanOptions,
): Promise<Map<string, readonly string[]>> {
  if (!measures.some(({ kind }) => kind === 'RBO'))
    throw new WinnowError('invalid_input', { where: '--reference', expected: 'RBO among the measures', got: 'none' });
  return new Map(Array.from(await readRun(path, options), ([qid, { docids }]) => [qid, docids]));
}

/** Replaces the values of measures by NaN, which cannot be read as a result; counts stay. */
function withoutValues(evaluation: Evaluation): Evaluation {
  const isCount = new Map(evaluation.measures.map(({ name, aggregate }) => [name, aggregate === 'sum']));
  return {
    ...evaluation,
    perQuery: new Map(
      Array.from(evaluation.perQuery, ([name, values]) => [
        name,
        isCount.get(name) ? values : values.map(() => Number.NaN),
      ]),
    ),
    mean: new Map(Array.from(evaluation.mean, ([name, value]) => [name, isCount.get(name) ? value : Number.NaN])),
  };
}

/**
 * Measures run files against a qrels file in one pass over each run; memory holds one query of a run at a time. The values of a run without
 * a judged query are NaN.
 *
 * @throws WinnowError `invalid_input` for a file that cannot be read, qrels without judgements, and standard input given twice.
 */
export async function measureFiles(
  qrelsPath: string,
  runPaths: readonly string[],
  measures: readonly Measure[],
  options: MeasureFilesOptions = {},
): Promise<MeasuredRun[]> {
  if ([qrelsPath, options.reference, ...runPaths].filter((path) => path === STDIN).length > 1)
    throw new WinnowError('invalid_input', { where: '--run', expected: 'standard input (-) once', got: 'twice' });
  const { qrels, empty } = splitEmpty(await readQrels(qrelsPath));
  const reference =
    options.reference === undefined ? undefined : await readReference(options.reference, measures, options);
  const measured: MeasuredRun[] = [];
  for (const run of runPaths) {
    const evaluator = createEvaluator(qrels, measures, { reference });
    await scanRun(run, (qid, hits) => evaluator.query(qid, hits), options);
    const evaluation = evaluator.finish();
    const { coverage } = evaluation;
    const notes = coverageNotes(coverage, sourceName(run), sourceName(qrelsPath), empty);
    const unknown = reference === undefined ? [] : coverage.judged.filter((qid) => !reference.has(qid));
    if (unknown.length > 0)
      notes.push(
        `${sourceName(options.reference!)}: without ${unknown.length} of the judged queries: ${someIds(unknown)}`,
      );
    measured.push({ ...(sharesQueries(coverage) ? evaluation : withoutValues(evaluation)), run, notes });
  }
  return measured;
}
