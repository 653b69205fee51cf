import { createEvaluator, type Evaluation } from '../measures/evaluation.ts';
import type { Measure } from '../measures/measure.ts';
import { readQrels } from './qrels.ts';
import { readRun, scanRun } from './run.ts';
import type { ScanOptions } from './run-scanner.ts';

interface MeasureFilesOptions extends ScanOptions {
  /** Path of the run that `RBO` compares with. */
  readonly reference?: string | undefined;
}

/** Reads the rankings of a reference run. */
async function readReference(path: string, options: ScanOptions): Promise<Map<string, readonly string[]>> {
  return new Map(Array.from(await readRun(path, options), ([qid, { docids }]) => [qid, docids]));
}

/** Measures a run file against a qrels file in one pass over the run; memory holds one query of the run at a time. */
export async function measureFiles(
  qrelsPath: string,
  runPath: string,
  measures: readonly Measure[],
  options: MeasureFilesOptions = {},
): Promise<Evaluation> {
  const qrels = await readQrels(qrelsPath);
  const reference = options.reference === undefined ? undefined : await readReference(options.reference, options);
  const evaluator = createEvaluator(qrels, measures, { reference });
  await scanRun(runPath, (qid, hits) => evaluator.query(qid, hits), options);
  return evaluator.finish();
}
