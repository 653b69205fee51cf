import { type InferenceSession, Tensor } from 'onnxruntime-node';
import { createSession } from '../inference/providers.ts';
import { PROBE_BATCH, PROBE_LENGTH } from '../onnx/probe.ts';
import { encodeModel } from '../onnx/protobuf.ts';
import type { Feeds } from '../onnx/session.ts';
import type { EncodedRow } from '../tokenization/types.ts';
import { type Backbone, trainable } from './backbone.ts';
import type { Batch } from './data/batches.ts';
import { ENCODER_INPUTS, type EngineFeeds, listFeeds, rowFeeds } from './feeds.ts';
import {
  DROPOUT_INPUT,
  type DropoutRates,
  fillDropoutMask,
  insertDropout,
  type MaskPart,
  NO_DROPOUT,
  overrideRates,
  ratesOf,
  type WithDropout,
  weightsToInputs,
} from './gradients/index.ts';
import { createObjective } from './objectives/catalogue.ts';
import type { Objective } from './objectives/objective.ts';
import type { Recipe } from './recipe.ts';
import { buildLoss, buildStep, NAMES, type TrainableWeight } from './step.ts';
import { createStepper, type StateArrays, type Stepper } from './stepper.ts';

/** Everything of a run that lives in the engine. */
export interface TrainingEngine {
  readonly stepper: Stepper;
  readonly trained: readonly TrainableWeight[];
  /** The dropout mask of a batch; nothing where nothing is dropped. */
  dropout(batch: Batch, step: number): EngineFeeds;
  /** The objective on this batch if all scores were equal. */
  trivialLoss(batch: Batch): Promise<number>;
  /** Scores of rows with the weights as they are now, dropout off. */
  score(rows: readonly EncodedRow[]): Promise<Float32Array>;
  close(): Promise<void>;
}

const sessionSettings = (recipe: Recipe) => ({
  provider: recipe.provider,
  threads: recipe.threads,
  optimization: 'basic' as const,
});

function ratesFor(recipe: Recipe, config: Readonly<Record<string, unknown>>): DropoutRates {
  if (recipe.dropout === 'off') return NO_DROPOUT;
  const own = ratesOf(config);
  return recipe.dropout === 'config' ? own : overrideRates(own, recipe.dropout);
}

const probeMask = (parts: readonly MaskPart[]): Feeds =>
  parts.length === 0 ? {} : { [DROPOUT_INPUT]: fillDropoutMask(parts, PROBE_BATCH, PROBE_LENGTH, 0, 0) };

async function stepSessions(backbone: Backbone, dropped: WithDropout, objective: Objective, recipe: Recipe) {
  const { accumulate } = recipe.batch;
  const weights = trainable(backbone);
  const options = {
    objective,
    optimizer: recipe.optimizer,
    weights,
    microBatches: accumulate,
    probe: probeMask(dropped.parts),
  };
  const open = async (kind: 'step' | 'apply' | 'accumulate') => {
    const graph = await buildStep(dropped.model, backbone.logits, { ...options, kind });
    return { session: await createSession(encodeModel(graph.model), sessionSettings(recipe)), trained: graph.trained };
  };
  const update = await open(accumulate > 1 ? 'apply' : 'step');
  const summing = accumulate > 1 ? await open('accumulate') : undefined;
  return { update: update.session, trained: update.trained, ...(summing && { accumulate: summing.session }) };
}

/** A session of the plain forward graph that is fed the current weights. */
async function scoringSession(
  backbone: Backbone,
  trained: readonly TrainableWeight[],
  recipe: Recipe,
): Promise<InferenceSession> {
  const graph = weightsToInputs(
    backbone.model.graph,
    trained.map((w) => w.name),
  );
  return createSession(encodeModel({ ...backbone.model, graph }), { ...sessionSettings(recipe), optimization: 'all' });
}

const SCORING_TOKENS = 4096;

/** Cuts rows, sorted by length, into batches of a token budget, and puts the scores back in order. */
async function scoreRows(
  rows: readonly EncodedRow[],
  run: (batch: readonly EncodedRow[]) => Promise<Float32Array>,
): Promise<Float32Array> {
  const order = [...rows.keys()].sort((a, b) => rows[a]!.ids.length - rows[b]!.ids.length);
  const scores = new Float32Array(rows.length);
  for (let at = 0; at < order.length; ) {
    let end = at + 1;
    while (end < order.length && (end + 1 - at) * rows[order[end]!]!.ids.length <= SCORING_TOKENS) end++;
    const places = order.slice(at, end);
    const found = await run(places.map((p) => rows[p]!));
    places.forEach((place, i) => {
      scores[place] = found[i]!;
    });
    at = end;
  }
  return scores;
}

function maskFeeds(parts: readonly MaskPart[], batch: Batch, seed: number, step: number): EngineFeeds {
  if (parts.length === 0) return {};
  const length = batch.rows.reduce((most, row) => Math.max(most, row.ids.length), 1);
  const mask = fillDropoutMask(parts, batch.rows.length, length, seed, step);
  return { [DROPOUT_INPUT]: new Tensor('uint8', mask.bytes, [...mask.dims]) };
}

/** Opens the sessions of a run. @param state weights and moments to go on from. */
export async function openEngine(
  backbone: Backbone,
  recipe: Recipe,
  padId: number,
  state?: StateArrays,
): Promise<TrainingEngine> {
  const objective = createObjective(recipe.objective);
  const found = backbone.weights.map((w) => ({
    tensor: w.name,
    name: w.parameter,
    dims: w.value.dims,
    decay: w.decays,
  }));
  const dropped = await insertDropout(backbone.model, found, ratesFor(recipe, backbone.config), backbone.logits);
  const { trained, ...sessions } = await stepSessions(backbone, dropped, objective, recipe);
  const scoring = await scoringSession(backbone, trained, recipe);
  const loss = await createSession(encodeModel(buildLoss(objective)), { threads: 1 });
  const stepper = createStepper(sessions, {
    weights: trained,
    optimizer: recipe.optimizer,
    padId,
    ...(state && { state }),
  });
  const inputs = scoring.inputNames.filter((name) => ENCODER_INPUTS.includes(name));
  return {
    stepper,
    trained,
    dropout: (batch, step) => maskFeeds(dropped.parts, batch, recipe.seed, step),
    async trivialLoss(batch) {
      const flat = new Tensor('float32', new Float32Array(batch.valid.length), [batch.queries, batch.passages]);
      const asked = Object.entries({ ...listFeeds(batch), [NAMES.scores]: flat }).filter(([name]) =>
        loss.inputNames.includes(name),
      );
      return ((await loss.run(Object.fromEntries(asked)))[NAMES.loss] as Tensor).data[0] as number;
    },
    score(rows) {
      const weights = stepper.tensors();
      return scoreRows(
        rows,
        async (batch) =>
          ((await scoring.run({ ...rowFeeds(batch, inputs, padId), ...weights }))[backbone.logits] as Tensor)
            .data as Float32Array,
      );
    },
    async close() {
      for (const session of [sessions.update, sessions.accumulate, scoring, loss]) await session?.release();
    },
  };
}
