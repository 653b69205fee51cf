import { type Graph, producers } from '../../onnx/graph.ts';
import { float32View } from '../../onnx/tensor.ts';
import { pairsWithin } from '../../registry/pair-limits.ts';
import { mean } from '../../statistics/samples.ts';
import { createLocalTokenizer } from '../../tokenization/local.ts';
import type { EncodedRow } from '../../tokenization/tokenization-types.ts';
import { openSources } from '../data/sources.ts';
import { createObjective } from '../objectives/catalog.ts';
import type { LoadedRecipe } from '../recipe/recipe.ts';
import type { TrainingOutcome } from '../run/trainer.ts';
import { withWeights } from '../step/backbone.ts';
import { openRowScorer } from '../step/row-scorer.ts';

/*
 * Most objectives compare passages of one list, so they do not determine a number added to all scores; after a sigmoid, all scores might be near
 * 0 or near 1. Before such a model is published, its last bias is shifted so that 0 means: as likely relevant as not.
 */

/** Lists that are scored, and passages of each: enough for the one number. */
const LISTS = 32;
const PER_LIST = 8;

/** Ops that return their input's numbers unchanged. */
const UNCHANGED: ReadonlySet<string> = new Set(['Reshape', 'Squeeze', 'Unsqueeze', 'Identity']);

/** Returns the initializer of the single number that is added last, if there is one. */
export function lastBias(graph: Graph, logits: string): string | undefined {
  const made = producers(graph);
  let node = made.get(logits);
  while (node && UNCHANGED.has(node.op)) node = made.get(node.inputs[0]!);
  const scalars = (node?.inputs ?? []).filter((name) => graph.initializers.get(name)?.dims.join() === '1');
  return (node?.op === 'Add' || node?.op === 'Gemm') && scalars.length === 1 ? scalars[0] : undefined;
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/**
 * Returns the b for which mean σ(−(s + b)) over relevant passages equals mean σ(s + b) over others: both kinds are taken for the other to the
 * same extent, whatever their numbers. The difference falls with b, so bisection finds it.
 */
export function zeroPoint(relevant: readonly number[], others: readonly number[]): number {
  const all = [...relevant, ...others];
  let [low, high] = [-Math.max(...all) - 40, -Math.min(...all) + 40];
  while (high - low > 1e-4) {
    const b = (low + high) / 2;
    const difference = mean(relevant.map((s) => sigmoid(-s - b))) - mean(others.map((s) => sigmoid(s + b)));
    if (difference > 0) low = b;
    else high = b;
  }
  return (low + high) / 2;
}

interface Scored {
  readonly relevant: readonly number[];
  readonly others: readonly number[];
}

/** Scores passages of training lists, separated by whether they are relevant. */
async function scoreLists({ recipe, folder }: LoadedRecipe, { backbone, weights }: TrainingOutcome): Promise<Scored> {
  const source = await openSources(recipe.data, folder);
  const tokenizer = await createLocalTokenizer(backbone.folder);
  const scorer = await openRowScorer(
    withWeights(backbone.model, weights),
    { padId: tokenizer.padId, output: backbone.logits },
    { threads: recipe.threads },
  );
  const rows: EncodedRow[] = [];
  const grades: number[] = [];
  try {
    let lists = 0;
    for await (const { query, passages, relevance } of source.lists(recipe.seed)) {
      rows.push(...(await tokenizer.encode(query, passages.slice(0, PER_LIST), pairsWithin(recipe))).rows);
      grades.push(...relevance.slice(0, PER_LIST));
      if (++lists === LISTS) break;
    }
    const scores = Array.from(await scorer.score(rows));
    return {
      relevant: scores.filter((_, i) => grades[i]! > 0),
      others: scores.filter((_, i) => !(grades[i]! > 0)),
    };
  } finally {
    await scorer.close();
    await tokenizer.close();
    await source.close?.();
  }
}

/**
 * Shifts the last bias of an outcome, where the objective leaves it undetermined, the model has one, and the training data has relevant
 * passages. The order of passages does not change.
 */
export async function withZeroPoint(loaded: LoadedRecipe, outcome: TrainingOutcome): Promise<TrainingOutcome> {
  const { backbone, weights } = outcome;
  // The score is the cosine's, or its passages are read apart.
  if (backbone.interaction) return outcome;
  const bias = lastBias(backbone.model.graph, backbone.logits);
  if (bias === undefined || createObjective(loaded.recipe.objective).anchored) return outcome;
  const { relevant, others } = await scoreLists(loaded, outcome);
  if (relevant.length === 0 || others.length === 0) return outcome;
  const [own] = weights.get(bias) ?? float32View(backbone.model.graph.initializers.get(bias)!);
  const shifted = Float32Array.of(own! + zeroPoint(relevant, others));
  return { ...outcome, weights: new Map([...weights, [bias, shifted]]) };
}
