import { type Comparison, compareWithBaseline } from '../../statistics/comparison.ts';
import { adjust } from '../../statistics/corrections.ts';
import { mean } from '../../statistics/samples.ts';
import { measureFor, prepareRun } from '../formats/dataset.ts';
import { type Fold, readFolds } from '../formats/folds.ts';
import { someIds } from '../measures/coverage.ts';
import { evaluate, type Run } from '../measures/evaluation.ts';
import { distinctMeasures, type Measure, parseMeasure } from '../measures/measure.ts';
import { cascadeRun, stagePairs } from './cascade.ts';
import { type CellFacts, readCell, writeValues } from './cells.ts';
import { readForeign } from './foreign-runs.ts';
import { type PruningResult, pruningResult } from './pruning-result.ts';
import { saidSeen, whySeen } from './seen.ts';
import { FIRST_STAGE, type LoadedSuite, type Suite, systemName } from './suite-schema.ts';
import { type LeftOut, pathIn } from './suite-set.ts';
import type { PreparedSet, ScoringSystem, SuiteWork } from './suite-work.ts';

/** One system on one set. */
export interface SystemResult {
  readonly system: string;
  readonly run: Run;
  /** Measure as the suite names it → one value per query. */
  readonly perQuery: ReadonlyMap<string, Float64Array>;
  readonly mean: ReadonlyMap<string, number>;
  /** Milliseconds of re-ranking a query, with as many queries in flight as keep the engine busy; absent for a run file. */
  readonly ms: number | undefined;
  /** Why the set does not count as unseen for the system. */
  readonly seen: string | undefined;
  readonly facts: CellFacts | undefined;
  /** The run file of a system that does not run here. */
  readonly file?: string;
  /** What pruning saved; absent where nothing asked for it. */
  readonly pruning?: PruningResult;
}

/** A measure by the name the suite gives it, with the set's relevance level and cutoffs applied. */
interface SetMeasure {
  readonly label: string;
  readonly measure: Measure;
}

/** One set with every system's values. */
export interface SetResult {
  readonly name: string;
  readonly prepared: PreparedSet;
  readonly measures: readonly SetMeasure[];
  /** Judged queries in the order of the per-query values. */
  readonly qids: readonly string[];
  /** The first stage, then the suite's systems in its order. */
  readonly systems: readonly SystemResult[];
  /** Results by system and by model reference, including systems that only cascades name. */
  readonly tables: ReadonlyMap<string, SystemResult>;
  readonly folds: readonly Fold[];
  /** Queries that are not measured, count 0 or are in no fold, a line for each reason. */
  readonly notes: readonly string[];
  /** Measure → comparisons with the baseline. */
  readonly comparisons: ReadonlyMap<string, readonly Comparison[]>;
}

/** A suite with everything measured. */
export interface SuiteResult {
  readonly suite: Suite;
  readonly sets: readonly SetResult[];
  readonly leftOut: readonly LeftOut[];
}

function measuresOf(suite: Suite, { spec, data }: PreparedSet): SetMeasure[] {
  const labels = spec.measures ?? suite.measures ?? data.measures;
  return labels.map((label) => ({ label, measure: measureFor(data, parseMeasure(label)) }));
}

interface Context {
  readonly loaded: LoadedSuite;
  readonly work: SuiteWork;
  readonly out: string;
  readonly prepared: PreparedSet;
  readonly measures: readonly SetMeasure[];
}

type Values = Pick<SystemResult, 'run' | 'perQuery' | 'mean'>;

/** Measures a run and writes its values to the folder of results. */
async function measureRun({ out, prepared, measures }: Context, system: string, run: Run): Promise<Values> {
  const distinct = distinctMeasures(measures.map(({ measure }) => measure));
  const evaluation = evaluate(prepared.qrels, run, distinct);
  await writeValues(out, prepared.spec.name, system, evaluation);
  return {
    run,
    perQuery: new Map(measures.map(({ label, measure }) => [label, evaluation.perQuery.get(measure.name)!])),
    mean: new Map(measures.map(({ label, measure }) => [label, evaluation.mean.get(measure.name)!])),
  };
}

const perQueryMs = (seconds: number, { queries }: PreparedSet): number => (1000 * seconds) / queries.size;

async function modelResult(context: Context, system: ScoringSystem): Promise<SystemResult> {
  const { out, prepared, work } = context;
  const { key } = work.cells.find((cell) => cell.set === prepared && cell.system === system)!;
  const { run, facts } = (await readCell(out, prepared.name, system.name, key))!;
  const pruning = pruningResult(system, facts, work.systems);
  return {
    ...(pruning && { pruning }),
    system: system.name,
    ...(await measureRun(context, system.name, run)),
    ms: perQueryMs(facts.seconds, prepared),
    seen: whySeen(prepared.spec, prepared.hashes, system.name, system.model),
    facts,
  };
}

async function firstStageResult(context: Context): Promise<SystemResult> {
  const { prepared } = context;
  const { run, seconds } = prepared.candidates;
  return {
    system: FIRST_STAGE,
    ...(await measureRun(context, FIRST_STAGE, run)),
    ms: perQueryMs(seconds, prepared),
    seen: undefined,
    facts: undefined,
  };
}

/** Estimates milliseconds a query of a cascade: each stage's share of the pairs times the stage's time for all of them. */
export function cascadeMs(
  prepared: PreparedSet,
  stages: readonly { readonly table: SystemResult; readonly keep?: number | undefined }[],
): number {
  const { run } = prepared.candidates;
  const [all = 0] = stagePairs(run, [undefined]);
  const pairs = stagePairs(
    run,
    stages.map(({ keep }) => keep),
  );
  return stages.reduce(
    (sum, { table }, i) => sum + (table.system === FIRST_STAGE ? 0 : ((table.ms ?? 0) * pairs[i]!) / Math.max(1, all)),
    0,
  );
}

type CascadeSpec = Extract<Suite['models'][number], { cascade: unknown }>;

async function cascadeResult(
  context: Context,
  spec: CascadeSpec,
  tables: ReadonlyMap<string, SystemResult>,
): Promise<SystemResult | undefined> {
  const stages = spec.cascade.map((stage) => ({ ...stage, table: tables.get(stage.model) }));
  if (stages.some(({ table }) => table === undefined)) return undefined;
  const whole = stages as ((typeof stages)[number] & { table: SystemResult })[];
  const { prepared } = context;
  const run = cascadeRun(
    prepared.candidates.run,
    whole.map(({ table, keep, blend }) => ({ run: table.run, keep, blend })),
  );
  return {
    system: spec.name,
    ...(await measureRun(context, spec.name, run)),
    ms: cascadeMs(prepared, whole),
    seen: whole.map(({ table }) => table.seen).find((reason) => reason !== undefined),
    facts: undefined,
  };
}

interface ForeignResults {
  readonly systems: readonly SystemResult[];
  /** Queries that the run files do not have. */
  readonly notes: readonly string[];
}

/** Measures the run files of a set. A run without a query of the set has no row there, since its values would all be 0. */
async function foreignResults(context: Context): Promise<ForeignResults> {
  const { prepared, work } = context;
  const systems: SystemResult[] = [];
  const notes: string[] = [];
  for (const foreign of work.foreign.filter(({ set }) => set === undefined || set === prepared.name)) {
    const { system, file } = foreign;
    const whole = await readForeign(foreign, work.sets);
    const run = prepareRun(prepared.data, new Map([...whole].filter(([qid]) => prepared.qrels.has(qid))));
    const missing = [...prepared.qrels.keys()].filter((qid) => !run.has(qid));
    if (run.size === 0) notes.push(`${system} has no row: ${file} has none of the queries (${someIds(missing)})`);
    else {
      if (missing.length > 0)
        notes.push(
          `${system}: ${missing.length} of ${prepared.qrels.size} queries are not in ${file} and count 0: ${someIds(missing)}`,
        );
      const values = await measureRun(context, system, run);
      systems.push({ system, ...values, ms: undefined, seen: saidSeen(prepared.spec, system), facts: undefined, file });
    }
  }
  return { systems, notes };
}

/** Returns results by the names stages may use: the system's own and the model's reference. */
async function tablesOf(context: Context): Promise<Map<string, SystemResult>> {
  const tables = new Map([[FIRST_STAGE, await firstStageResult(context)]]);
  for (const system of context.work.systems) {
    const result = await modelResult(context, system);
    tables.set(system.name, result);
    if (system.prune === undefined && !tables.has(system.reference)) tables.set(system.reference, result);
  }
  return tables;
}

function compare(suite: Suite, systems: readonly SystemResult[], label: string): Comparison[] {
  const baseline = systems.find(({ system }) => system === suite.baseline)?.perQuery.get(label);
  if (baseline === undefined || baseline.length < 2) return [];
  const others = new Map(
    systems.filter(({ system }) => system !== suite.baseline).map((s) => [s.system, s.perQuery.get(label)!]),
  );
  const { test, alpha, seed } = suite;
  return compareWithBaseline(baseline, others, { test, alpha, seed, correction: 'none' });
}

/** Notes the measured queries that no fold tests: no mean of a fold counts them. */
function foldNotes(folds: readonly Fold[], qids: readonly string[]): string[] {
  const tested = new Set(folds.flatMap(({ test }) => test));
  const untested = folds.length === 0 ? [] : qids.filter((qid) => !tested.has(qid));
  return untested.length === 0
    ? []
    : [`${untested.length} of ${qids.length} queries are in the test part of no fold: ${someIds(untested)}`];
}

async function setResult(context: Context): Promise<SetResult> {
  const { loaded, prepared, measures } = context;
  const { suite, folder } = loaded;
  const tables = await tablesOf(context);
  const systems = [tables.get(FIRST_STAGE)!];
  for (const spec of suite.models) {
    const result = 'cascade' in spec ? await cascadeResult(context, spec, tables) : tables.get(systemName(spec));
    if (result !== undefined) systems.push(result);
  }
  const foreign = await foreignResults(context);
  systems.push(...foreign.systems);
  const folds = prepared.spec.folds === undefined ? [] : await readFolds(pathIn(folder, prepared.spec.folds));
  const qids = [...prepared.qrels.keys()];
  return {
    name: prepared.name,
    prepared,
    measures,
    qids,
    systems,
    tables,
    folds,
    notes: [...prepared.notes, ...foreign.notes, ...foldNotes(folds, qids)],
    comparisons: new Map(measures.map(({ label }) => [label, compare(suite, systems, label)])),
  };
}

/** Lists the measures of all sets by the names the suite gives them. */
export const labelsOf = (sets: readonly SetResult[]): string[] => [
  ...new Set(sets.flatMap(({ measures }) => measures.map(({ label }) => label))),
];

/** Adjusts p-values family by family: the systems of one set, or all comparisons of the suite, one measure at a time. */
function adjustComparisons({ family, correction, alpha }: Suite, sets: readonly SetResult[]): SetResult[] {
  const adjustFamily = (lists: readonly (readonly Comparison[])[]): Comparison[][] => {
    const adjusted = adjust(
      lists.flat().map(({ p }) => p),
      correction,
    );
    let at = 0;
    return lists.map((list) =>
      list.map((comparison) => {
        const adjustedP = adjusted[at++]!;
        return { ...comparison, adjustedP, significant: adjustedP < alpha };
      }),
    );
  };
  const fixed = new Map(
    labelsOf(sets).map((label) => {
      const lists = sets.map(({ comparisons }) => comparisons.get(label) ?? []);
      return [label, family === 'suite' ? adjustFamily(lists) : lists.map((list) => adjustFamily([list])[0]!)] as const;
    }),
  );
  return sets.map((set, i) => ({
    ...set,
    comparisons: new Map(set.measures.map(({ label }) => [label, fixed.get(label)![i]!])),
  }));
}

/** Measures every system on every set and compares it with the baseline. All cells must be finished. */
export async function measureSuite(loaded: LoadedSuite, work: SuiteWork, out: string): Promise<SetResult[]> {
  const sets: SetResult[] = [];
  for (const prepared of work.sets)
    sets.push(await setResult({ loaded, work, out, prepared, measures: measuresOf(loaded.suite, prepared) }));
  return adjustComparisons(loaded.suite, sets);
}

/** Returns a system's mean over a fold's test queries; NaN if none of them was measured. */
export const foldMean = (result: SetResult, system: SystemResult, label: string, fold: Fold): number => {
  const tested = new Set(fold.test);
  const values = [...system.perQuery.get(label)!].filter((_, i) => tested.has(result.qids[i]!));
  return values.length === 0 ? Number.NaN : mean(values);
};

/** Lists the systems of all sets in the order of the suite. */
export const systemsOf = (sets: readonly SetResult[]): string[] => [
  ...new Set(sets.flatMap(({ systems }) => systems.map(({ system }) => system))),
];
