import { mapAhead } from '../../../util/look-ahead.ts';
import type { IdentifiedList } from '../../data/list-types.ts';
import type { ListScorer } from '../score-job.ts';
import { readRanking } from './answer.ts';
import type { ChatClient } from './client.ts';
import { isCut, type Message, rankingPrompt } from './prompt.ts';
import { slide } from './windows.ts';

export interface RankerOptions {
  /** Name in progress files: model, prompt and windows. */
  readonly name: string;
  readonly size: number;
  readonly stride: number;
  /** Words shown of a passage. */
  readonly words: number;
  /** Queries ranked at the same time. */
  readonly concurrency: number;
}

/** Counts of a job. */
export interface RankerFacts {
  windows: number;
  /** Answers with missing, repeated or unknown passages. */
  repaired: number;
  /** Windows left in their order because no answer named a passage. */
  unusable: number;
}

/** Sent once where an answer names no passage. */
const REMINDER = 'Your last answer named no passage. Give only the line of bracketed numbers.';

async function rankWindow(
  client: ChatClient,
  query: string,
  passages: readonly string[],
  words: number,
  facts: RankerFacts,
) {
  facts.windows++;
  const prompt = rankingPrompt(query, passages, words);
  const reminded: Message[] = [...prompt, { role: 'user', content: REMINDER }];
  for (const messages of [prompt, reminded]) {
    const ranking = readRanking((await client.complete(messages)).text, passages.length);
    if (!ranking) continue;
    const { missing, repeated, outOfRange } = ranking.repairs;
    if (missing + repeated + outOfRange > 0) facts.repaired++;
    return ranking.order;
  }
  facts.unusable++;
  return passages.map((_, i) => i);
}

/** Makes a language model a listwise teacher: scores are places counted from the end, so that the best passage has the highest. */
export function llmRanker(client: ChatClient, options: RankerOptions, facts: RankerFacts): ListScorer {
  const { name, size, stride, words, concurrency } = options;
  const rank = async (input: IdentifiedList) => {
    const places = await slide([...input.passages.keys()], size, stride, (shown) =>
      rankWindow(
        client,
        input.query,
        shown.map((place) => input.passages[place]!),
        words,
        facts,
      ),
    );
    const scores = new Float64Array(places.length);
    places.forEach((place, rank) => {
      scores[place] = places.length - rank;
    });
    const truncated = input.passages.map((passage) => isCut(passage, words));
    return { input, scores, truncated, queryCut: isCut(input.query, words) ? 1 : 0 };
  };
  return { name, score: (lists) => mapAhead(lists, { limit: concurrency }, rank) };
}
