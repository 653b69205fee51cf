import { WinnowError } from '../../errors.ts';
import { type Candidates, candidatesOf, type StageContext } from './candidates.ts';
import { type CellFacts, readFacts } from './cells.ts';
import type { ModelGate, SuiteModel } from './ports.ts';
import { FIRST_STAGE, type LoadedSuite, type Suite, systemName } from './schema.ts';
import { fingerprint, isLeftOut, type LeftOut, type OpenSet, openSet } from './set.ts';

/** A model that scores, by the name tables use. */
export interface ScoringSystem {
  readonly name: string;
  readonly reference: string;
  readonly variant: string;
  readonly model: SuiteModel;
  /** Named by a cascade only: it has no row of its own. */
  readonly hidden: boolean;
}

/** One model on one set. */
export interface PlannedCell {
  readonly set: PlannedSet;
  readonly system: ScoringSystem;
  readonly key: string;
  readonly pairs: number;
  /** Facts of the finished cell with this key. */
  readonly done: CellFacts | undefined;
}

export interface PlannedSet {
  readonly set: OpenSet;
  readonly candidates: Candidates;
}

export interface Plan {
  readonly sets: readonly PlannedSet[];
  readonly systems: readonly ScoringSystem[];
  readonly cells: readonly PlannedCell[];
  readonly leftOut: readonly LeftOut[];
}

const CAUSES = ['unknown_model', 'unknown_version', 'model_refused', 'invalid_manifest', 'hash_mismatch'] as const;

interface Wanted {
  readonly name: string;
  readonly reference: string;
  readonly variant: string;
  readonly hidden: boolean;
}

/** Every model that has to score: those with a row, and those that only cascades name. */
function wantedModels({ models }: Suite): Wanted[] {
  const rows = models.flatMap((spec): Wanted[] =>
    'cascade' in spec ? [] : [{ name: systemName(spec), reference: spec.model, variant: spec.variant, hidden: false }],
  );
  const stages = models.flatMap((spec) => ('cascade' in spec ? spec.cascade.map((stage) => stage.model) : []));
  const known = new Set([FIRST_STAGE, ...rows.flatMap(({ name, reference }) => [name, reference])]);
  const hidden = [...new Set(stages)].filter((name) => !known.has(name));
  return [...rows, ...hidden.map((name) => ({ name, reference: name, variant: 'auto', hidden: true }))];
}

async function openModel(gate: ModelGate, wanted: Wanted): Promise<ScoringSystem | LeftOut> {
  try {
    const model = await gate.open(wanted.reference, wanted.variant);
    if (wanted.variant !== 'auto' && model.variant !== wanted.variant)
      return { what: wanted.name, reason: `${model.key} has no ${wanted.variant} file` };
    return { ...wanted, model };
  } catch (error) {
    if (error instanceof WinnowError && (CAUSES as readonly string[]).includes(error.code))
      return { what: wanted.name, reason: error.message };
    throw error;
  }
}

async function planCell(out: string, set: PlannedSet, system: ScoringSystem): Promise<PlannedCell> {
  const key = fingerprint([1, set.candidates.fingerprint, system.model.key, system.model.sha256]);
  const facts = await readFacts(out, set.set.spec.name, system.name);
  const pairs = [...set.candidates.run.values()].reduce((sum, { docids }) => sum + docids.length, 0);
  return { set, system, key, pairs, done: facts?.key === key ? facts : undefined };
}

/** Opens sets and models, retrieves candidates, and finds out which cells are there already. */
export async function planSuite(
  { suite, folder }: LoadedSuite,
  gate: ModelGate,
  context: Omit<StageContext, 'folder'>,
  say: (text: string) => void,
): Promise<Plan> {
  const leftOut: LeftOut[] = [];
  const sets: PlannedSet[] = [];
  for (const spec of suite.sets) {
    const opened = await openSet(spec, { folder, out: context.out, seed: suite.seed, depth: suite.depth });
    if (isLeftOut(opened)) {
      leftOut.push(opened);
      say(`left out: ${opened.what}, ${opened.reason}`);
      continue;
    }
    sets.push({ set: opened, candidates: await candidatesOf(opened, { ...context, folder }) });
  }
  const systems: ScoringSystem[] = [];
  for (const wanted of wantedModels(suite)) {
    const opened = await openModel(gate, wanted);
    if (!isLeftOut(opened)) systems.push(opened);
    else {
      leftOut.push(opened);
      say(`left out: ${opened.what}, ${opened.reason}`);
    }
  }
  const cells: PlannedCell[] = [];
  for (const set of sets) for (const system of systems) cells.push(await planCell(context.out, set, system));
  return { sets, systems, cells, leftOut };
}
