import { mapAhead } from '../../../util/look-ahead.ts';
import type { IdentifiedList } from '../../data/types.ts';
import type { ListScorer } from '../score-job.ts';
import { readRanking } from './answer.ts';
import type { ChatClient } from './client.ts';
import { type Message, rankingPrompt } from './prompt.ts';
import { slide } from './windows.ts';

interface RankerOptions {
  /** Names model, prompt and windows in progress files. */
  readonly name: string;
  readonly size: number;
  readonly stride: number;
  /** Words of a passage that are shown. */
  readonly words: number;
  /** Queries under way at once. */
  readonly concurrency: number;
}

/** What a job did and what it had to mend. */
export interface RankerFacts {
  windows: number;
  /** Answers with passages missing, named twice, or unknown. */
  repaired: number;
  /** Windows left as they were: no answer named a passage. */
  unusable: number;
}

/** Asked once more, in other words, where an answer names no passage; then the window stays as it was. */
const REMINDER = 'Your last answer named no passage. Give only the line of bracketed numbers.';

async function rankWindow(
  client: ChatClient,
  query: string,
  passages: readonly string[],
  words: number,
  facts: RankerFacts,
) {
  facts.windows++;
  const asked = rankingPrompt(query, passages, words);
  const reminded: Message[] = [...asked, { role: 'user', content: REMINDER }];
  for (const messages of [asked, reminded]) {
    const ranking = readRanking((await client.complete(messages)).text, passages.length);
    if (!ranking) continue;
    const { missing, repeated, outOfRange } = ranking.repairs;
    if (missing + repeated + outOfRange > 0) facts.repaired++;
    return ranking.order;
  }
  facts.unusable++;
  return passages.map((_, i) => i);
}

/** A language model as a list-wise teacher: scores are places counted from the end, so that the best passage has the highest. */
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
    return { input, scores };
  };
  return { name, score: (lists) => mapAhead(lists, { limit: concurrency }, rank) };
}
