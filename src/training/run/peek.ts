import { pairsWithin } from '../../registry/pair-limits.ts';
import type { EncodedRow, PairTokenizer } from '../../tokenization/tokenization-types.ts';
import type { Batch } from '../data/batches.ts';
import { type CandidateList, firstPlaces, hasOnlyLabels } from '../data/list-types.ts';
import { openSources } from '../data/sources.ts';
import { recipeTokenizer } from '../interaction/tokenizer.ts';
import { createObjective } from '../objectives/catalog.ts';
import type { LabelNeed } from '../objectives/needs.ts';
import { findBackbone } from '../recipe/backbone-folder.ts';
import type { LoadedRecipe } from '../recipe/recipe.ts';
import { checkFiles } from './checks.ts';
import { openStream } from './stream.ts';

/** A passage of a list as it is trained on. */
interface PeekedPassage {
  readonly text: string;
  readonly docid?: string;
  /** Grade of the list in double precision, before it is stored as float32; 0 is not relevant. */
  readonly relevance: number;
  /** What the objective learns from the grade; absent where it reads none. */
  readonly target?: number;
  /** The teacher's score; absent where the list has none, and where labels would stand in for it and the objective reads none. */
  readonly teacher?: number;
  /** Weight of its loss; absent where no row of the list has one. */
  readonly weight?: number;
  /** How many times this text stands in the list. */
  readonly repeats: number;
  /** Tokens of the pair, special ones included. */
  readonly tokens: number;
  /** Tokens of the pair that are not in the row. */
  readonly tokensCut: number;
  readonly ids: readonly number[];
  /** Index at which token type 1 starts. */
  readonly secondSegment: number;
}

interface PeekedList {
  readonly qid: string;
  readonly query: string;
  /** Tokens of the query that are in no row of the list, at most. */
  readonly queryTokensCut: number;
  readonly passages: readonly PeekedPassage[];
}

/** A micro-batch, or the first lists of one. */
interface PeekedBatch {
  /** Optimizer step, from 1. */
  readonly step: number;
  /** Micro-batch of the step, from 1. */
  readonly microBatch: number;
  /** Lists of the whole micro-batch; more than are shown where the preview ends inside it. */
  readonly of: number;
  readonly lists: readonly PeekedList[];
}

/** What the first steps of a run train on. */
export interface Peek {
  readonly name: string;
  readonly objective: string;
  /** Whether the objective reads grades and a teacher's scores. */
  readonly reads: { readonly relevance: boolean; readonly teacher: boolean };
  readonly maxLength: number;
  readonly padId: number;
  readonly batches: readonly PeekedBatch[];
  /** Lists, rows and passages left out while these lists were read, by reason. */
  readonly leftOut: Readonly<Record<string, number>>;
  /** File and line of the first one by reason. */
  readonly firstLeftOut: Readonly<Record<string, string>>;
  /** What was not read or had no effect, a sentence each. */
  readonly notes: readonly string[];
}

function targetOf(relevance: number, labels: LabelNeed | undefined): number {
  if (labels === 'binary') return relevance > 0 ? 1 : 0;
  return labels === 'target' ? Math.min(1, relevance) : relevance;
}

async function peekList(
  list: CandidateList,
  rows: readonly EncodedRow[],
  tokenizer: PairTokenizer,
  { recipe }: LoadedRecipe,
): Promise<PeekedList> {
  const { needs } = createObjective(recipe.objective);
  const { fullLengths, queryCut } = await tokenizer.encode(list.query, list.passages, pairsWithin(recipe));
  const teacher = !needs.teacher && hasOnlyLabels(list) ? undefined : list.teacher;
  const repeats = new Map<string, number>();
  for (const text of list.passages) repeats.set(text, (repeats.get(text) ?? 0) + 1);
  return {
    qid: list.qid,
    query: list.query,
    queryTokensCut: queryCut.reduce((most, cut) => Math.max(most, cut), 0),
    passages: list.passages.map((text, p) => ({
      text,
      ...(list.docids && { docid: list.docids[p]! }),
      relevance: list.relevance[p]!,
      ...(needs.relevance && { target: targetOf(list.relevance[p]!, needs.labels) }),
      ...(teacher && { teacher: teacher[p]! }),
      ...(list.weights && { weight: list.weights[p]! }),
      repeats: repeats.get(text)!,
      tokens: rows[p]!.ids.length,
      tokensCut: fullLengths[p]! - rows[p]!.ids.length,
      ids: Array.from(rows[p]!.ids),
      secondSegment: rows[p]!.secondSegment,
    })),
  };
}

async function peekBatch(batch: Batch, most: number, tokenizer: PairTokenizer, loaded: LoadedRecipe) {
  const lists: PeekedList[] = [];
  let row = 0;
  for (const list of batch.lists.slice(0, most)) {
    lists.push(await peekList(list, batch.rows.slice(row, row + list.passages.length), tokenizer, loaded));
    row += list.passages.length;
  }
  return { of: batch.lists.length, lists };
}

/**
 * Returns the first `count` lists of a run, in the order and in the batches of its steps, without a model or a step. Numbers are those of the
 * data, before float32.
 * @throws WinnowError `invalid_input` as `train` does for data and tokenizer.
 */
export async function peekRecipe(loaded: LoadedRecipe, count: number): Promise<Peek> {
  const { recipe, folder } = loaded;
  checkFiles(loaded);
  const objective = createObjective(recipe.objective);
  const tokenizer = await recipeTokenizer(await findBackbone(recipe.backbone, folder), recipe);
  try {
    const source = await openSources(recipe.data, folder, objective.needs);
    const { accumulate } = recipe.batch;
    const found: PeekedBatch[] = [];
    let left = count;
    try {
      for await (const batch of await openStream(recipe, source, tokenizer)) {
        const place = found.length;
        const where = { step: Math.floor(place / accumulate) + 1, microBatch: (place % accumulate) + 1 };
        found.push({ ...where, ...(await peekBatch(batch, left, tokenizer, loaded)) });
        left -= batch.lists.length;
        if (left <= 0) break;
      }
      const { relevance, teacher } = objective.needs;
      return {
        name: recipe.name,
        objective: objective.name,
        reads: { relevance, teacher },
        maxLength: recipe.maxLength,
        padId: tokenizer.padId,
        batches: found,
        leftOut: { ...source.skipped() },
        firstLeftOut: firstPlaces(source.leftOut()),
        notes: source.notes(),
      };
    } finally {
      await source.close?.();
    }
  } finally {
    await tokenizer.close();
  }
}
