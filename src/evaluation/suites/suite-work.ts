import { WinnowError } from '../../errors.ts';
import { someIds } from '../measures/coverage.ts';
import { type Candidates, candidatesOf, type StageContext } from './candidates.ts';
import { type CellFacts, dropProgress, readFacts } from './cells.ts';
import { type ForeignRun, foreignRuns } from './foreign-runs.ts';
import { expandSets } from './set-groups.ts';
import type { PruneSpec, SuiteModel, SuiteModels } from './suite-models.ts';
import { FIRST_STAGE, type LoadedSuite, type Suite, systemName } from './suite-schema.ts';
import { fingerprint, isLeftOut, type LeftOut, type OpenSet, openSet } from './suite-set.ts';

/** A model that scores, by the name tables use. */
export interface ScoringSystem {
  readonly name: string;
  readonly reference: string;
  readonly variant: string;
  readonly model: SuiteModel;
  readonly prune?: PruneSpec | undefined;
  /** Named by a cascade only: it has no row of its own. */
  readonly hidden: boolean;
}

/** An open set with its candidate lists. */
export interface PreparedSet extends OpenSet {
  readonly candidates: Candidates;
}

/** One model on one set. */
export interface WorkCell {
  readonly set: PreparedSet;
  readonly system: ScoringSystem;
  readonly key: string;
  readonly pairs: number;
  /** Facts of the finished cell with this key. */
  readonly done: CellFacts | undefined;
}

/** All that a suite has to score, finished cells included. */
export interface SuiteWork {
  readonly sets: readonly PreparedSet[];
  readonly systems: readonly ScoringSystem[];
  readonly cells: readonly WorkCell[];
  /** Run files of systems that do not run here. */
  readonly foreign: readonly ForeignRun[];
  readonly leftOut: readonly LeftOut[];
}

/** Errors for which a model is left out of the suite; others end the command. */
const LEAVES_OUT = ['unknown_model', 'unknown_version', 'model_refused', 'invalid_manifest', 'hash_mismatch'] as const;

type RequestedModel = Omit<ScoringSystem, 'model'>;

/** Every model that has to score: those with a row, and those that only cascades name. */
function requestedModels({ models }: Suite): RequestedModel[] {
  const rows = models.flatMap((spec): RequestedModel[] => {
    if ('cascade' in spec) return [];
    const { model: reference, variant, prune } = spec;
    return [{ name: systemName(spec), reference, variant, prune, hidden: false }];
  });
  const stages = models.flatMap((spec) => ('cascade' in spec ? spec.cascade.map((stage) => stage.model) : []));
  // A stage needs all scores, which a pruned system does not have.
  const whole = rows.filter(({ prune }) => prune === undefined);
  const known = new Set([FIRST_STAGE, ...whole.flatMap(({ name, reference }) => [name, reference])]);
  const hidden = [...new Set(stages)].filter((name) => !known.has(name));
  return [...rows, ...hidden.map((name) => ({ name, reference: name, variant: 'auto', hidden: true }))];
}

/** Returns why a model cannot be pruned so; undefined if it can. */
function whyUnpruned({ recall }: PruneSpec, { key, pruning }: SuiteModel): string | undefined {
  if (!pruning) return `${key} is not calibrated for pruning its served file (npx winnow prune)`;
  const most = Math.max(...pruning.recalls);
  return most < recall ? `${key} is calibrated for recalls up to ${most}, got ${recall}` : undefined;
}

async function openModel(models: SuiteModels, requested: RequestedModel): Promise<ScoringSystem | LeftOut> {
  const { name, reference, variant } = requested;
  try {
    const model = await models.open(reference, variant);
    if (variant !== 'auto' && model.variant !== variant)
      return { what: name, reason: `${model.key} has no ${variant} file` };
    const unpruned = requested.prune && whyUnpruned(requested.prune, model);
    return unpruned === undefined ? { ...requested, model } : { what: name, reason: unpruned };
  } catch (error) {
    if (error instanceof WinnowError && (LEAVES_OUT as readonly string[]).includes(error.code))
      return { what: name, reason: error.message };
    throw error;
  }
}

async function prepareCell(out: string, set: PreparedSet, system: ScoringSystem): Promise<WorkCell> {
  const { model, prune } = system;
  const pruned = prune === undefined ? [] : [prune, model.pruning ?? {}];
  const key = fingerprint([2, set.candidates.fingerprint, model.key, model.sha256, model.pairs ?? {}, ...pruned]);
  const facts = await readFacts(out, set.name, system.name);
  const pairs = [...set.candidates.run.values()].reduce((sum, { docids }) => sum + docids.length, 0);
  const done = facts?.key === key ? facts : undefined;
  // A process that was killed after it wrote the cell's last file leaves the progress behind.
  if (done) await dropProgress(out, set.name, system.name);
  return { set, system, key, pairs, done };
}

/** Retrieves the candidates of a set. A set without any is left out: its query ids do not match, and all measures would be 0. */
async function withCandidates(set: OpenSet, context: StageContext): Promise<PreparedSet | LeftOut> {
  const candidates = await candidatesOf(set, context);
  const qids = [...set.queries.keys()];
  const without = qids.filter((qid) => (candidates.run.get(qid)?.docids.length ?? 0) === 0);
  if (without.length === qids.length) {
    await set.data.passages.close();
    return { what: set.name, reason: `${candidates.name} has candidates for none of its queries (${someIds(qids)})` };
  }
  const note = `${without.length} of ${qids.length} queries have no candidates and count 0: ${someIds(without)}`;
  return { ...set, candidates, notes: without.length > 0 ? [...set.notes, note] : set.notes };
}

/**
 * Opens sets and models, retrieves candidates and looks up which cells are finished.
 *
 * @param onNote called with a line for each set or model that is left out, and for queries that are not measured or count 0.
 */
export async function prepareSuite(
  loaded: LoadedSuite,
  models: SuiteModels,
  context: Omit<StageContext, 'folder'>,
  onNote: (text: string) => void,
): Promise<SuiteWork> {
  const { suite, folder } = loaded;
  const leftOut: LeftOut[] = [];
  const leaveOut = (part: LeftOut): void => {
    leftOut.push(part);
    onNote(`left out: ${part.what}, ${part.reason}`);
  };
  const sets: PreparedSet[] = [];
  const specs = await expandSets(suite.sets, folder, onNote);
  for (const spec of specs) {
    const set = await openSet(spec, { folder, out: context.out, seed: suite.seed, depth: suite.depth });
    const prepared = isLeftOut(set) ? set : await withCandidates(set, { ...context, folder });
    if (isLeftOut(prepared)) leaveOut(prepared);
    else {
      sets.push(prepared);
      for (const note of prepared.notes) onNote(`${prepared.name}: ${note}`);
    }
  }
  const systems: ScoringSystem[] = [];
  for (const requested of requestedModels(suite)) {
    const system = await openModel(models, requested);
    if (isLeftOut(system)) leaveOut(system);
    else systems.push(system);
  }
  const foreign: ForeignRun[] = [];
  const names = specs.map(({ name }) => name);
  for (const run of foreignRuns(loaded, names)) {
    if (isLeftOut(run)) leaveOut(run);
    else foreign.push(run);
  }
  const cells: WorkCell[] = [];
  for (const set of sets) for (const system of systems) cells.push(await prepareCell(context.out, set, system));
  return { sets, systems, cells, foreign, leftOut };
}
