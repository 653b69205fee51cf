import { type Graph, producers } from '../../onnx/graph.ts';
import { encodeModel } from '../../onnx/protobuf.ts';
import { float32View } from '../../onnx/tensor.ts';
import { mean } from '../../statistics/samples.ts';
import { createLocalTokenizer } from '../../tokenization/local.ts';
import type { EncodedRow } from '../../tokenization/tokenization-types.ts';
import { openSources } from '../data/sources.ts';
import { createObjective } from '../objectives/catalog.ts';
import { pairOptions } from '../recipe/pair-options.ts';
import type { LoadedRecipe } from '../recipe/recipe.ts';
import type { TrainingOutcome } from '../run/trainer.ts';
import { withWeights } from '../step/backbone.ts';
import { openRowScorer } from '../step/row-scorer.ts';

/*
 * Most objectives compare passages of one list, so a model may add any number to all of its scores; through a sigmoid everything might come out
 * near 0, or near 1. Before such a model is published, its last bias is moved to where 0 means: as likely relevant as not.
 */

/** Lists looked at, and passages of each: one number is found, to a tenth or so. */
const LISTS = 32;
const PER_LIST = 8;

/** The values a score passes through unchanged on its way out. */
const SEE_THROUGH: ReadonlySet<string> = new Set(['Reshape', 'Squeeze', 'Unsqueeze', 'Identity']);

/** The one number that is added last of all, if there is one; by initializer. */
export function lastBias(graph: Graph, logits: string): string | undefined {
  const made = producers(graph);
  let node = made.get(logits);
  while (node && SEE_THROUGH.has(node.op)) node = made.get(node.inputs[0]!);
  const scalars = (node?.inputs ?? []).filter((name) => graph.initializers.get(name)?.dims.join() === '1');
  return (node?.op === 'Add' || node?.op === 'Gemm') && scalars.length === 1 ? scalars[0] : undefined;
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/**
 * The b that makes mean σ(−(s + b)) over relevant passages equal to mean σ(s + b) over others: either kind is taken for the other to the same
 * extent, however many there are of each. Bisection, since the difference falls in b.
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

/** Scores of passages of training lists, by whether they are relevant. */
async function scoreLists({ recipe, folder }: LoadedRecipe, { backbone, weights }: TrainingOutcome): Promise<Scored> {
  const source = await openSources(recipe.data, folder);
  const tokenizer = await createLocalTokenizer(backbone.folder);
  const scorer = await openRowScorer(
    encodeModel(withWeights(backbone.model, weights)),
    { padId: tokenizer.padId, output: backbone.logits },
    { threads: recipe.threads },
  );
  const rows: EncodedRow[] = [];
  const grades: number[] = [];
  try {
    let lists = 0;
    for await (const { query, passages, relevance } of source.lists(recipe.seed)) {
      rows.push(...(await tokenizer.encode(query, passages.slice(0, PER_LIST), pairOptions(recipe))).rows);
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
 * The outcome with its last bias moved, where the objective left it free, the model has one, and the training data says what is relevant.
 * Orders of passages stay as they are.
 */
export async function withZeroPoint(loaded: LoadedRecipe, outcome: TrainingOutcome): Promise<TrainingOutcome> {
  const { backbone, weights } = outcome;
  const bias = lastBias(backbone.model.graph, backbone.logits);
  if (bias === undefined || createObjective(loaded.recipe.objective).anchored) return outcome;
  const { relevant, others } = await scoreLists(loaded, outcome);
  if (relevant.length === 0 || others.length === 0) return outcome;
  const [own] = weights.get(bias) ?? float32View(backbone.model.graph.initializers.get(bias)!);
  const moved = Float32Array.of(own! + zeroPoint(relevant, others));
  return { ...outcome, weights: new Map([...weights, [bias, moved]]) };
}
