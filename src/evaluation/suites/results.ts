import { type Comparison, compareWithBaseline } from '../../statistics/comparison.ts';
import { adjust } from '../../statistics/corrections.ts';
import { mean } from '../../statistics/samples.ts';
import { measureFor } from '../formats/dataset.ts';
import { type Fold, readFolds } from '../formats/folds.ts';
import { evaluate, type Run } from '../measures/evaluation.ts';
import { type Measure, parseMeasure } from '../measures/measure.ts';
import { cascadeRun, stagePairs } from './cascade.ts';
import { type CellFacts, readCell, writeValues } from './cells.ts';
import type { Plan, PlannedSet, ScoringSystem } from './plan.ts';
import { FIRST_STAGE, type LoadedSuite, type Suite, systemName } from './schema.ts';
import { whySeen } from './seen.ts';
import { type LeftOut, pathIn } from './set.ts';

/** One system on one set. */
export interface SystemResult {
  readonly system: string;
  readonly run: Run;
  /** Measure as the suite names it → one value per query. */
  readonly perQuery: ReadonlyMap<string, Float64Array>;
  readonly mean: ReadonlyMap<string, number>;
  /** Milliseconds of re-ranking a query, as many in flight as keep the engine busy. */
  readonly ms: number;
  /** Why this set is no unseen one for the system. */
  readonly seen: string | undefined;
  readonly facts: CellFacts | undefined;
}

/** A measure by the name the suite gave it, and as the set wants it. */
interface SetMeasure {
  readonly label: string;
  readonly measure: Measure;
}

export interface SetResult {
  readonly planned: PlannedSet;
  readonly measures: readonly SetMeasure[];
  /** Judged queries in the order of the per-query values. */
  readonly qids: readonly string[];
  /** The first stage, then the suite's systems in its order. */
  readonly systems: readonly SystemResult[];
  /** Scored tables by system, hidden ones included: what curves are made of. */
  readonly tables: ReadonlyMap<string, SystemResult>;
  readonly folds: readonly Fold[];
  /** Measure → comparisons with the baseline. */
  readonly comparisons: ReadonlyMap<string, readonly Comparison[]>;
}

/** A suite with all that was measured. */
export interface SuiteResult {
  readonly suite: Suite;
  readonly sets: readonly SetResult[];
  readonly leftOut: readonly LeftOut[];
}

function measuresOf(suite: Suite, { set }: PlannedSet): SetMeasure[] {
  const labels = set.spec.measures ?? suite.measures ?? set.data.measures;
  return labels.map((label) => ({ label, measure: measureFor(set.data, parseMeasure(label)) }));
}

type Measured = Pick<SystemResult, 'perQuery' | 'mean'>;

async function measured(
  out: string,
  { set }: PlannedSet,
  system: string,
  run: Run,
  measures: readonly SetMeasure[],
): Promise<Measured> {
  const distinct = [...new Map(measures.map(({ measure }) => [measure.name, measure])).values()];
  const evaluation = evaluate(set.qrels, run, distinct);
  await writeValues(out, set.spec.name, system, evaluation);
  return {
    perQuery: new Map(measures.map(({ label, measure }) => [label, evaluation.perQuery.get(measure.name)!])),
    mean: new Map(measures.map(({ label, measure }) => [label, evaluation.mean.get(measure.name)!])),
  };
}

interface Context {
  readonly loaded: LoadedSuite;
  readonly out: string;
  readonly planned: PlannedSet;
  readonly measures: readonly SetMeasure[];
}

const perQueryMs = (seconds: number, { set }: PlannedSet): number => (1000 * seconds) / set.queries.size;

async function modelResult(context: Context, plan: Plan, system: ScoringSystem): Promise<SystemResult> {
  const { out, planned, measures } = context;
  const { key } = plan.cells.find((cell) => cell.set === planned && cell.system === system)!;
  const { run, facts } = (await readCell(out, planned.set.spec.name, system.name, key))!;
  return {
    system: system.name,
    run,
    ...(await measured(out, planned, system.name, run, measures)),
    ms: perQueryMs(facts.seconds, planned),
    seen: whySeen(planned.set.spec, planned.set.hashes, system.name, system.model),
    facts,
  };
}

async function firstStageResult({ out, planned, measures }: Context): Promise<SystemResult> {
  const { run, seconds } = planned.candidates;
  return {
    system: FIRST_STAGE,
    run,
    ...(await measured(out, planned, FIRST_STAGE, run, measures)),
    ms: perQueryMs(seconds, planned),
    seen: undefined,
    facts: undefined,
  };
}

/** Milliseconds a query of a cascade: each stage's share of pairs times what the stage took for all. */
export function cascadeMs(
  planned: PlannedSet,
  stages: readonly { readonly table: SystemResult; readonly keep?: number | undefined }[],
): number {
  const { run } = planned.candidates;
  const [all = 0] = stagePairs(run, [undefined]);
  const pairs = stagePairs(
    run,
    stages.map(({ keep }) => keep),
  );
  return stages.reduce(
    (sum, { table }, i) => sum + (table.system === FIRST_STAGE ? 0 : (table.ms * pairs[i]!) / Math.max(1, all)),
    0,
  );
}

type CascadeSpec = Extract<Suite['models'][number], { cascade: unknown }>;

async function cascadeResult(
  { planned, out, measures }: Context,
  spec: CascadeSpec,
  tables: ReadonlyMap<string, SystemResult>,
): Promise<SystemResult | undefined> {
  const stages = spec.cascade.map(({ model, keep }) => ({ table: tables.get(model), keep }));
  if (stages.some(({ table }) => table === undefined)) return undefined;
  const whole = stages as { table: SystemResult; keep: number | undefined }[];
  const run = cascadeRun(
    planned.candidates.run,
    whole.map(({ table, keep }) => ({ run: table.run, keep })),
  );
  return {
    system: spec.name,
    run,
    ...(await measured(out, planned, spec.name, run, measures)),
    ms: cascadeMs(planned, whole),
    seen: whole.map(({ table }) => table.seen).find((reason) => reason !== undefined),
    facts: undefined,
  };
}

/** Tables by the names stages may use: the system's own and the model's reference. */
async function tablesOf(context: Context, plan: Plan): Promise<Map<string, SystemResult>> {
  const tables = new Map([[FIRST_STAGE, await firstStageResult(context)]]);
  for (const system of plan.systems) {
    const result = await modelResult(context, plan, system);
    tables.set(system.name, result);
    if (!tables.has(system.reference)) tables.set(system.reference, result);
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

async function setResult(context: Context, plan: Plan): Promise<SetResult> {
  const { loaded, planned, measures } = context;
  const { suite, folder } = loaded;
  const tables = await tablesOf(context, plan);
  const systems = [tables.get(FIRST_STAGE)!];
  for (const spec of suite.models) {
    const result = 'cascade' in spec ? await cascadeResult(context, spec, tables) : tables.get(systemName(spec));
    if (result !== undefined) systems.push(result);
  }
  const { folds } = planned.set.spec;
  return {
    planned,
    measures,
    qids: [...planned.set.qrels.keys()],
    systems,
    tables,
    folds: folds === undefined ? [] : await readFolds(pathIn(folder, folds)),
    comparisons: new Map(measures.map(({ label }) => [label, compare(suite, systems, label)])),
  };
}

/** Adjusts p-values family by family: the systems of one set, or all comparisons of the suite, one measure at a time. */
function corrected({ family, correction, alpha }: Suite, sets: readonly SetResult[]): SetResult[] {
  const fix = (lists: readonly (readonly Comparison[])[]): Comparison[][] => {
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
  const labels = [...new Set(sets.flatMap(({ measures }) => measures.map(({ label }) => label)))];
  const fixed = new Map(
    labels.map((label) => {
      const lists = sets.map(({ comparisons }) => comparisons.get(label) ?? []);
      return [label, family === 'suite' ? fix(lists) : lists.map((list) => fix([list])[0]!)] as const;
    }),
  );
  return sets.map((set, i) => ({
    ...set,
    comparisons: new Map(set.measures.map(({ label }) => [label, fixed.get(label)![i]!])),
  }));
}

/** Measures every system on every set and compares it with the baseline. All cells must be there. */
export async function resultsOf(loaded: LoadedSuite, plan: Plan, out: string): Promise<SetResult[]> {
  const sets: SetResult[] = [];
  for (const planned of plan.sets)
    sets.push(await setResult({ loaded, out, planned, measures: measuresOf(loaded.suite, planned) }, plan));
  return corrected(loaded.suite, sets);
}

/** Means of a fold's test queries. */
export const foldMean = (result: SetResult, system: SystemResult, label: string, fold: Fold): number => {
  const tested = new Set(fold.test);
  const values = [...system.perQuery.get(label)!].filter((_, i) => tested.has(result.qids[i]!));
  return values.length === 0 ? Number.NaN : mean(values);
};

export const nameOf = ({ planned }: SetResult): string => planned.set.spec.name;

/** Systems in the order of the suite, over all sets. */
export const systemsOf = (sets: readonly SetResult[]): string[] => [
  ...new Set(sets.flatMap(({ systems }) => systems.map(({ system }) => system))),
];
