import { basename } from 'node:path';
import { WinnowError } from '../../errors.ts';
import { bootstrapInterval } from '../../statistics/bootstrap.ts';
import { type Comparison, compareWithBaseline, type PairedTest } from '../../statistics/comparison.ts';
import type { Correction } from '../../statistics/corrections.ts';
import { mean } from '../../statistics/samples.ts';
import { type TukeyModel, type TukeyResult, tukeyHsd } from '../../statistics/tukey.ts';
import { createRandom, deriveSeed } from '../../util/random.ts';
import { repeated } from '../../util/repeated.ts';
import { type MeasuredRun, measureFiles } from '../formats/measure-files.ts';
import type { ScanOptions } from '../formats/run-scanner.ts';
import { readQueries } from '../formats/topics.ts';
import type { Measure } from '../measures/measure.ts';

/** A run file by the name of its system. */
export interface NamedRun {
  readonly system: string;
  readonly path: string;
}

/** How runs are compared. */
export interface CompareSettings extends ScanOptions {
  readonly measures: readonly Measure[];
  /** System that the others are tested against; default the first. */
  readonly baseline?: string | undefined;
  readonly test: PairedTest;
  readonly correction: Correction;
  readonly tukey: TukeyModel;
  readonly alpha: number;
  readonly seed: number;
  /** File of the queries' texts, for the report. */
  readonly queries?: string | undefined;
}

/** One measure of all systems. */
export interface MeasureComparison {
  readonly measure: string;
  readonly systems: readonly {
    readonly system: string;
    readonly mean: number;
    /** Bootstrap interval (BCa) of the mean over queries, 95 %. */
    readonly interval: readonly [number, number];
  }[];
  /** The other systems against the baseline. */
  readonly comparisons: readonly Comparison[];
  /** All pairs. */
  readonly tukey: TukeyResult;
  /** System → one value a query. */
  readonly perQuery: ReadonlyMap<string, Float64Array>;
}

/** Systems compared over the queries of the judgements. */
export interface RunsComparison {
  readonly qrels: string;
  readonly runs: readonly NamedRun[];
  readonly baseline: string;
  readonly settings: CompareSettings;
  readonly qids: readonly string[];
  /** Query id → text, where a file of them was given. */
  readonly texts: ReadonlyMap<string, string>;
  readonly measures: readonly MeasureComparison[];
  /** Queries that are not simply measured, a line for each reason. */
  readonly notes: readonly string[];
}

function fail(where: string, expected: string, got: string): never {
  throw new WinnowError('invalid_input', { where, expected, got });
}

/** Names runs by their files: `runs/bm25.run.gz` is `bm25`. Where two would have one name, all have their paths. */
export function nameRuns(paths: readonly string[]): NamedRun[] {
  const short = paths.map((path) => basename(path).replace(/(?:\.(?:gz|run|trec|txt|tsv|json|jsonl|ndjson))+$/i, ''));
  const distinct = new Set(short).size === short.length && !short.includes('');
  return paths.map((path, i) => ({ system: distinct ? short[i]! : path, path }));
}

function checkSettings(runs: readonly NamedRun[], { measures, baseline }: CompareSettings): void {
  const names = runs.map(({ system }) => system);
  const twice = repeated(names);
  if (runs.length < 2) fail('runs', 'at least 2 runs', `${runs.length}`);
  if (twice !== undefined) fail('runs', 'each system once', `${twice} twice`);
  if (baseline !== undefined && !names.includes(baseline)) fail('baseline', `one of ${names.join(', ')}`, baseline);
  const count = measures.find(({ aggregate }) => aggregate !== 'mean');
  if (count) fail('measures', 'measures with a mean over queries', count.name);
}

function compareMeasure(
  measure: string,
  runs: readonly NamedRun[],
  measured: readonly MeasuredRun[],
  baseline: string,
  { test, correction, alpha, seed, tukey: model }: CompareSettings,
): MeasureComparison {
  const perQuery = new Map(runs.map(({ system }, i) => [system, measured[i]!.perQuery.get(measure)!]));
  const others = new Map([...perQuery].filter(([system]) => system !== baseline));
  return {
    measure,
    systems: Array.from(perQuery, ([system, values]) => ({
      system,
      mean: mean(values),
      interval: bootstrapInterval(values, mean, {
        random: createRandom(deriveSeed(seed, system, 'mean')),
        resamples: 2000,
      }),
    })),
    comparisons: compareWithBaseline(perQuery.get(baseline)!, others, { test, correction, alpha, seed }),
    tukey: tukeyHsd(perQuery, { model, alpha, random: createRandom(deriveSeed(seed, measure, 'tukey')) }),
    perQuery,
  };
}

/**
 * Measures run files against judgements and compares the systems over all judged queries: each with the baseline by a paired test, and all
 * pairs by Tukey's.
 *
 * @throws WinnowError `invalid_input` for fewer than 2 runs or judged queries, an unknown baseline, a run without a judged query.
 */
export async function compareRuns(
  qrels: string,
  runs: readonly NamedRun[],
  settings: CompareSettings,
): Promise<RunsComparison> {
  checkSettings(runs, settings);
  const { measures, precision } = settings;
  const paths = runs.map(({ path }) => path);
  const measured = await measureFiles(qrels, paths, measures, { precision });
  const empty = measured.find(({ mean: means }) => [...means.values()].some(Number.isNaN));
  if (empty) fail(empty.run, `a run with queries of ${qrels}`, 'none of them');
  const qids = measured[0]!.queries;
  if (qids.length < 2) fail(qrels, 'at least 2 judged queries', `${qids.length}`);
  const baseline = settings.baseline ?? runs[0]!.system;
  return {
    qrels,
    runs,
    baseline,
    settings,
    qids,
    texts: settings.queries === undefined ? new Map() : await readQueries(settings.queries),
    measures: measures.map(({ name }) => compareMeasure(name, runs, measured, baseline, settings)),
    notes: [...new Set(measured.flatMap(({ notes }) => notes))],
  };
}
