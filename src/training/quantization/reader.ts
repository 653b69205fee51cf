import type { SessionSettings } from '../../inference/providers.ts';
import type { Model } from '../../onnx/graph.ts';
import { openPassageReader, type PassageGraph, type PassageStates } from '../interaction/passage-states.ts';
import { textsOf } from '../interaction/rows.ts';
import { comparedScores, type ModelRow } from '../measure/side-rows.ts';
import { apartFeeds } from '../step/apart-feeds.ts';
import { rowFeeds, type SessionFeeds } from '../step/feeds.ts';
import { openRowScorer, type RowScorer } from '../step/row-scorer.ts';

/*
 * What quantization needs to know of a graph: how rows become its inputs, and how rows are scored by it. The graphs of an interaction model read
 * one text of a row each, and a score takes both.
 */

export interface Reader {
  /** The tokens of a row whose states the graph has: those of a pair, or of one of its texts. */
  tokensOf(row: ModelRow): number;
  /** Makes the inputs of rows. Values of the graph have a row for each of them. */
  feeds(rows: readonly ModelRow[], inputs: readonly string[]): Promise<SessionFeeds>;
  /** Opens a file of the graph to score rows. */
  open(model: Model, settings?: SessionSettings): Promise<RowScorer>;
  /** Returns what two files are compared by, from what `open` gave for rows. */
  compared(rows: readonly ModelRow[], numbers: Float32Array): Float32Array;
  /** Whether the scores of rows are compared less the mean of their list. */
  readonly isCentered: boolean;
}

/** Reads rows of pairs, or those of a bi-encoder, by a graph whose first output is scores or vectors. */
const rowReader = (padId: number): Reader => ({
  tokensOf: ({ ids }) => ids.length,
  feeds: async (rows, inputs) => rowFeeds(rows, inputs, padId),
  open: (model, settings) => openRowScorer(model, { padId }, settings),
  compared: comparedScores,
  isCentered: false,
});

/** Returns the reader that options name, else that of rows. */
export const readerOf = ({ reader, padId }: { readonly reader?: Reader | undefined; readonly padId: number }): Reader =>
  reader ?? rowReader(padId);

/** Subtracts from each score the mean of its list: of the rows that share a query. */
function lessMeans(rows: readonly ModelRow[], scores: Float32Array): Float32Array {
  const lists = new Map<string, { sum: number; count: number }>();
  const keys = rows.map((row) => textsOf(row).query.join());
  for (const [i, key] of keys.entries()) {
    const { sum, count } = lists.get(key) ?? { sum: 0, count: 0 };
    lists.set(key, { sum: sum + scores[i]!, count: count + 1 });
  }
  return scores.map((x, i) => x - lists.get(keys[i]!)!.sum / lists.get(keys[i]!)!.count);
}

const LISTS = { compared: lessMeans, isCentered: true } as const;

/** The row without its texts by themselves, so that each row has a query of its own. */
const alone = ({ ids, secondSegment, truncated }: ModelRow): ModelRow => ({ ids, secondSegment, truncated });

const topScorer = (
  top: Model,
  states: Pick<PassageStates, 'feeds'>,
  padId: number,
  settings?: SessionSettings,
): Promise<RowScorer> =>
  openRowScorer(
    top,
    { padId, output: 'logits', feeds: (rows, inputs) => apartFeeds(rows, states, padId, inputs) },
    settings,
  );

/** Opens both graphs of an interaction model to score rows of `readApart`: passages are read again in every batch. */
export async function openHalves(
  passages: PassageGraph,
  top: Model,
  padId: number,
  settings: SessionSettings = {},
): Promise<RowScorer> {
  const states = await openPassageReader(passages, padId, settings, false);
  const scorer = await topScorer(top, states, padId, settings);
  return {
    score: (rows, limit) => scorer.score(rows, limit),
    async close() {
      await scorer.close();
      await states.close();
    },
  };
}

/** Reads the passages of rows of `readApart`; what the graph keeps of them is scored by a given top. */
export const passageReader = (kept: PassageGraph['kept'], top: Model, padId: number): Reader => ({
  tokensOf: (row) => textsOf(row).passage.length,
  feeds: async (rows, inputs) =>
    rowFeeds(
      rows.map((row) => ({ ids: textsOf(row).passage, secondSegment: textsOf(row).passage.length, truncated: false })),
      inputs,
      padId,
    ),
  open: (passage, settings) => openHalves({ passage, kept }, top, padId, settings),
  ...LISTS,
});

/** Reads the queries of rows of `readApart` beside kept states of their passages. */
export const topReader = (states: Pick<PassageStates, 'feeds'>, padId: number): Reader => ({
  tokensOf: (row) => textsOf(row).query.length,
  feeds: (rows, inputs) => apartFeeds(rows.map(alone), states, padId, inputs),
  open: (model, settings) => topScorer(model, states, padId, settings),
  ...LISTS,
});
