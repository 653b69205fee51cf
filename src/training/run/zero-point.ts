import { WinnowError } from '../../errors.ts';
import { type Graph, producers } from '../../onnx/graph.ts';
import { float32View, tensor } from '../../onnx/tensor.ts';
import { pairsWithin } from '../../registry/pair-limits.ts';
import { mean } from '../../statistics/samples.ts';
import type { EncodedRow, PairTokenizer } from '../../tokenization/tokenization-types.ts';
import { openSources } from '../data/sources.ts';
import type { LoadedRecipe } from '../recipe/recipe.ts';
import { type Backbone, withWeights } from '../step/backbone.ts';
import { openRowScorer } from '../step/row-scorer.ts';

/*
 * Most objectives compare passages of one list, so they do not determine a number added to all scores; after a sigmoid, all scores might be near
 * 0 or near 1. Before such a model is published, its last bias is shifted so that 0 means: as likely relevant as not. A run can start there too.
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

/** A model that scores, and what its rows are made by. */
interface Ranker extends Pick<Backbone, 'model' | 'logits'> {
  readonly tokenizer: PairTokenizer;
}

/** Scores passages of training lists by a model, separated by whether they are relevant. */
async function scoreLists({ recipe, folder }: LoadedRecipe, { model, logits, tokenizer }: Ranker): Promise<Scored> {
  const source = await openSources(recipe.data, folder);
  const scorer = await openRowScorer(model, { padId: tokenizer.padId, output: logits }, { threads: recipe.threads });
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
    await source.close?.();
  }
}

/** What 0 has to be moved by. */
interface Shift {
  /** The initializer that moves. */
  readonly bias: string;
  readonly by: number;
}

/**
 * Returns by how much the last bias of a model has to move for 0 to mean: as likely relevant as not; undefined where the model has no such bias, or
 * the training data no relevant or no other passages.
 */
export async function findShift(loaded: LoadedRecipe, ranker: Ranker): Promise<Shift | undefined> {
  const bias = lastBias(ranker.model.graph, ranker.logits);
  if (bias === undefined) return undefined;
  const { relevant, others } = await scoreLists(loaded, ranker);
  return relevant.length === 0 || others.length === 0 ? undefined : { bias, by: zeroPoint(relevant, others) };
}

/** The bias of an untrained model moves by a multiple of this: a resumed run finds the same weights where other threads add in another order. */
const GRAIN = 0.01;

/**
 * Returns an untrained model with its zero point at 0. No order changes. An objective that reads scores one by one, such as BCE, else spends its
 * first steps on that, at the cost of the encoder.
 * @param onNote receives a line with the number.
 * @throws WinnowError `invalid_input` where there is nothing to move, or nothing to find the zero point by.
 */
export async function centered(
  backbone: Backbone,
  loaded: LoadedRecipe,
  tokenizer: PairTokenizer,
  onNote?: (note: string) => void,
): Promise<Backbone> {
  const { model, logits, weights } = backbone;
  const shift = await findShift(loaded, { model, logits, tokenizer });
  if (!shift)
    throw new WinnowError('invalid_input', {
      where: 'recipe centered',
      expected: 'a last layer with a bias, and lists with relevant and other passages',
      got: lastBias(model.graph, logits) === undefined ? 'no such bias' : 'passages of one kind',
    });
  const by = GRAIN * Math.round(shift.by / GRAIN);
  onNote?.(`score 0 is placed between relevant and other passages: the last bias moves by ${by.toFixed(2)}`);
  const [own] = float32View(model.graph.initializers.get(shift.bias)!);
  const value = tensor('float32', model.graph.initializers.get(shift.bias)!.dims, [own! + by]);
  return {
    ...backbone,
    model: withWeights(model, new Map([[shift.bias, float32View(value)]])),
    weights: weights.map((weight) => (weight.name === shift.bias ? { ...weight, value } : weight)),
  };
}
