import { appendDropped, insertDropout, type WithDropout } from '../../autodiff/dropout/insert.ts';
import { createDropoutMasks, fillDropoutMask } from '../../autodiff/dropout/mask.ts';
import { WinnowError } from '../../errors.ts';
import { createSession, threadsOf } from '../../inference/providers.ts';
import { type InferenceSession, Tensor } from '../../onnx/engine.ts';
import { PROBE_BATCH, PROBE_LENGTH } from '../../onnx/probe.ts';
import { float32View, sizeOf } from '../../onnx/tensor.ts';
import { weightsToInputs } from '../../onnx/weights.ts';
import type { EncodedRow } from '../../tokenization/tokenization-types.ts';
import type { Batch } from '../data/batches.ts';
import { openPassageStates, type PassageStates } from '../interaction/passage-states.ts';
import { createObjective } from '../objectives/catalog.ts';
import type { Objective } from '../objectives/objective.ts';
import { FIRST_SCALE, type LossScale } from '../optimizers/loss-scale.ts';
import type { Recipe } from '../recipe/recipe.ts';
import { apartFeeds } from './apart-feeds.ts';
import { type Backbone, trainable } from './backbone.ts';
import { maskFeeds, ratesFor } from './dropout.ts';
import { type BatchSize, type ListArrays, listFeeds, type SessionFeeds } from './feeds.ts';
import { createHostStepper } from './host-stepper.ts';
import { loopOf } from './loop.ts';
import { createLoopStepper } from './loop-stepper.ts';
import { adapterInputs, insertAdapters } from './lora.ts';
import { NAMES } from './names.ts';
import { packingOf } from './packing.ts';
import { openRowScorer, type RowScorer } from './row-scorer.ts';
import { buildLoss, buildStep, type StepKind, type TrainingGraph } from './step.ts';
import { createStepper, type StateArrays, type Stepper, type StepperOptions, tensorLike } from './stepper.ts';
import type { TrainableWeight } from './trainable.ts';

/** The sessions of a training run. */
export interface TrainingSessions {
  readonly stepper: Stepper;
  readonly trained: readonly TrainableWeight[];
  /** Returns the dropout masks of a batch; empty without dropout. @param size the batch is padded to, if it is. */
  dropout(batch: Batch, step: number, size?: BatchSize): SessionFeeds;
  /** Returns the objective's value on this batch if all scores were equal. */
  trivialLoss(batch: Batch): Promise<number>;
  /** Returns the objective's value on lists with these scores, [queries, passages]. */
  loss(lists: ListArrays, scores: Float32Array): Promise<number>;
  /** Makes the inputs of rows that tokens alone do not give: states of passages; none for cross-encoders. */
  inputs(rows: readonly EncodedRow[]): Promise<SessionFeeds>;
  /** Scores rows without dropout. @param weights in place of the current ones. */
  score(rows: readonly EncodedRow[], weights?: StateArrays): Promise<Float32Array>;
  /** States of passages; undefined for cross-encoders. */
  readonly passages: PassageStates | undefined;
  close(): Promise<void>;
}

const sessionSettings = (recipe: Recipe) => ({
  provider: recipe.provider,
  threads: recipe.threads,
  optimization: 'basic' as const,
  // A memory pattern would take a second block of memory for every shape of batch.
  memoryPattern: false,
});

/** Where the optimizer runs: on the host, in the graph, or in the graph with several steps per run of the session. */
type StepperKind = 'host' | 'graph' | 'loop';

function stepperKind({ stepsPerRun, optimizer, provider }: Recipe): StepperKind {
  if (stepsPerRun > 1) return 'loop';
  if (optimizer.place !== 'auto') return optimizer.place;
  return provider === 'cpu' ? 'host' : 'graph';
}

interface OpenedStepper {
  readonly stepper: Stepper;
  readonly trained: readonly TrainableWeight[];
  readonly sessions: readonly InferenceSession[];
}

/** Wraps frozen weights as inputs of a session, without copies. */
const fixedFeeds = (fixed: readonly TrainableWeight[]): SessionFeeds =>
  Object.fromEntries(fixed.map(({ name, value }) => [name, tensorLike(float32View(value), value.dims)]));

type Build = (kind: StepKind) => Promise<TrainingGraph>;
type Open = (model: TrainingGraph['model']) => Promise<InferenceSession>;
type State = Omit<StepperOptions, 'weights'>;

const OPEN_STEPPER: Readonly<
  Record<
    StepperKind,
    (
      build: Build,
      open: Open,
      state: State,
      recipe: Recipe,
      fixed: readonly TrainableWeight[],
    ) => Promise<OpenedStepper>
  >
> = {
  async host(build, open, state, { threads }, fixed) {
    const { model, trained, tables } = await build('gradients');
    const session = await open(model);
    const settings = { weights: trained, tables, fixed: fixedFeeds(fixed), threads: threadsOf(threads) };
    return {
      stepper: createHostStepper(session, { ...state, ...settings }),
      trained,
      sessions: [session],
    };
  },
  async graph(build, open, state, { batch }) {
    const { model, trained } = await build(batch.accumulate > 1 ? 'apply' : 'step');
    const update = await open(model);
    const accumulate = batch.accumulate > 1 ? await open((await build('accumulate')).model) : undefined;
    const stepper = createStepper({ update, ...(accumulate && { accumulate }) }, { ...state, weights: trained });
    return { stepper, trained, sessions: accumulate ? [update, accumulate] : [update] };
  },
  async loop(build, open, state) {
    const { model, trained } = await build('step');
    const session = await open(loopOf(model));
    return { stepper: createLoopStepper(session, { ...state, weights: trained }), trained, sessions: [session] };
  },
};

async function openStepper(
  backbone: Backbone,
  dropped: WithDropout,
  objective: Objective,
  recipe: Recipe,
  state: State,
): Promise<OpenedStepper> {
  const options = {
    objective,
    optimizer: recipe.optimizer,
    weights: trainable(backbone),
    fixed: fixedWeights(backbone, recipe),
    microBatches: recipe.batch.accumulate,
    probe: fillDropoutMask(dropped.parts, PROBE_BATCH, PROBE_LENGTH, 0, 0),
    precision: recipe.precision,
    ...packingOf(backbone, recipe),
  };
  const build: Build = (kind) => buildStep(dropped.model, backbone.logits, { ...options, kind });
  const open: Open = (model) => createSession(model, sessionSettings(recipe));
  return OPEN_STEPPER[stepperKind(recipe)](build, open, state, recipe, options.fixed);
}

/** Adds the adapters, and dropout of their inputs. */
async function withAdapters(
  { model, parts }: WithDropout,
  { adapters }: Backbone,
  { lora }: Recipe,
  form: 'float32' | 'uint8',
): Promise<WithDropout> {
  const more = await appendDropped(model, adapterInputs(model.graph, adapters), lora?.dropout ?? 0, form);
  return { model: insertAdapters(more.model, adapters, more.copies), parts: [...parts, ...more.parts] };
}

/** Fewest elements of a frozen weight that is an input. */
const FIXED_ELEMENTS = 1 << 14;

/**
 * Returns the frozen weights that the sessions of a run with adapters read as inputs: one copy in memory serves both sessions, where
 * initializers would be copied into each.
 */
function fixedWeights({ adapters, weights }: Backbone, recipe: Recipe): readonly TrainableWeight[] {
  if (adapters.length === 0 || stepperKind(recipe) !== 'host') return [];
  return weights.filter((w) => w.frozen && sizeOf(w.value.dims) >= FIXED_ELEMENTS);
}

interface ScorerInputs {
  readonly padId: number;
  /** Returns the trained weights. */
  readonly weights: () => SessionFeeds;
  /** As of `openRowScorer`. */
  readonly feeds?: ((rows: readonly EncodedRow[]) => Promise<SessionFeeds>) | undefined;
}

/** Opens the states of passages, if the backbone is that of an interaction model. */
async function openPassages(
  { interaction }: Backbone,
  recipe: Recipe,
  padId: number,
  folder: string | undefined,
): Promise<PassageStates | undefined> {
  if (!interaction) return undefined;
  if (folder === undefined)
    throw new WinnowError('invalid_input', {
      where: 'interaction.passages',
      expected: 'a folder for states of passages',
      got: 'none',
    });
  const { provider, threads } = recipe;
  return openPassageStates(interaction, folder, padId, { provider, threads, memoryPattern: false });
}

/** Wraps the arrays of a state as inputs of a session. */
const stateFeeds = (weights: StateArrays, trained: readonly TrainableWeight[]): SessionFeeds =>
  Object.fromEntries(trained.map(({ name, value }) => [name, tensorLike(weights.get(name)!, value.dims)]));

/** Scores rows by the plain forward graph, which is fed the current weights. */
async function openScorer(
  backbone: Backbone,
  { trained }: OpenedStepper,
  recipe: Recipe,
  { padId, weights, feeds }: ScorerInputs,
): Promise<RowScorer> {
  const fixed = fixedWeights(backbone, recipe);
  const graph = weightsToInputs(
    insertAdapters(backbone.model, backbone.adapters).graph,
    [...trained, ...fixed].map((w) => w.name),
  );
  const held = fixedFeeds(fixed);
  return openRowScorer(
    { ...backbone.model, graph },
    { padId, output: backbone.logits, inputs: () => ({ ...weights(), ...held }), ...(feeds && { feeds }) },
    { ...sessionSettings(recipe), optimization: 'all' },
  );
}

/** Opens the sessions of a run. @param from weights, moments and loss scale to continue from. */
export async function openSessions(
  backbone: Backbone,
  recipe: Recipe,
  padId: number,
  from: { readonly state?: StateArrays; readonly lossScale?: LossScale; readonly passages?: string | undefined } = {},
): Promise<TrainingSessions> {
  const objective = createObjective(recipe.objective);
  const found = backbone.weights.map((w) => ({
    tensor: w.name,
    name: w.parameter,
    dims: w.value.dims,
    decay: w.decays,
  }));
  // Masks for a device are small to copy; those of a loop's steps are drawn before the first step, each in memory of its own.
  const onHost = stepperKind(recipe) === 'host';
  const rates = ratesFor(recipe, backbone.config);
  const form = onHost ? 'float32' : 'uint8';
  const plain = backbone.interaction
    ? { model: backbone.model, parts: [] }
    : await insertDropout(backbone.model, found, rates, backbone.logits, form);
  const dropped = await withAdapters(plain, backbone, recipe, form);
  const masks = createDropoutMasks(dropped.parts, onHost);
  const opened = await openStepper(backbone, dropped, objective, recipe, {
    optimizer: recipe.optimizer,
    padId,
    ...(from.state && { state: from.state }),
    ...(recipe.precision === 'fp16' && { lossScale: from.lossScale ?? FIRST_SCALE }),
  });
  const { stepper, trained } = opened;
  const passages = await openPassages(backbone, recipe, padId, from.passages);
  const inputs = passages && ((rows: readonly EncodedRow[]) => apartFeeds(rows, passages, padId));
  let replaced: StateArrays | undefined;
  const scorer = await openScorer(backbone, opened, recipe, {
    padId,
    feeds: inputs,
    weights: () => (replaced ? stateFeeds(replaced, trained) : stepper.tensors()),
  });
  const loss = await createSession(buildLoss(objective), { threads: 1 });
  const lossOf = async (lists: ListArrays, scores: Float32Array): Promise<number> => {
    const flat = new Tensor('float32', scores, [lists.queries, lists.passages]);
    const inputs = Object.entries({ ...listFeeds(lists), [NAMES.scores]: flat }).filter(([name]) =>
      loss.inputNames.includes(name),
    );
    return ((await loss.run(Object.fromEntries(inputs)))[NAMES.loss] as Tensor).data[0] as number;
  };
  return {
    stepper,
    trained,
    dropout: (batch, step, size) => maskFeeds(dropped, masks, batch, { seed: recipe.seed, step, size }),
    loss: lossOf,
    trivialLoss: (batch) => lossOf(batch, new Float32Array(batch.valid.length)),
    passages,
    inputs: async (rows) => (inputs ? inputs(rows) : {}),
    score(rows, weights) {
      // The scorer asks for its weights before it waits for anything.
      replaced = weights;
      const scores = scorer.score(rows);
      replaced = undefined;
      return scores;
    },
    async close() {
      await stepper.close?.();
      await scorer.close();
      await passages?.close();
      for (const session of [...opened.sessions, loss]) await session.release();
    },
  };
}
