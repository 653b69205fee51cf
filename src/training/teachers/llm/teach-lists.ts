import { describe, WinnowError } from '../../../errors.ts';
import type { ScoreJob } from '../score-job.ts';
import { scoreToFile, type TeacherOutput } from '../score-to-file.ts';
import type { CutTexts } from '../teacher-file.ts';
import { cached } from './cache.ts';
import { type ClientOptions, chatClient } from './client.ts';
import { llmRanker, type RankerFacts, type RankerOptions } from './ranker.ts';

interface TeachOptions {
  readonly client: Omit<ClientOptions, 'temperature'>;
  readonly ranker: Omit<RankerOptions, 'name'>;
  /** Folder of the answers. */
  readonly cache: string;
}

/** Answers that came from the endpoint, and their tokens. */
interface Usage {
  answers: number;
  prompt: number;
  completion: number;
}

interface TaughtLists extends RankerFacts, Usage {
  readonly queries: number;
  /** Queries and rows that are left out, by reason. */
  readonly leftOut: Readonly<Record<string, number>>;
  readonly cut: CutTexts;
}

/**
 * Ranks the lists of a job with a language model and writes the ranking.
 * @param onUsage called after each new answer with the tokens so far.
 * @throws WinnowError `invalid_input` for a stride that skips passages, `inference_failed` where the endpoint does not answer.
 */
export async function teachLists(
  job: ScoreJob,
  { client, ranker, cache }: TeachOptions,
  output: TeacherOutput,
  onUsage: (tokens: number) => void,
): Promise<TaughtLists> {
  const { size, stride, words } = ranker;
  if (stride >= size)
    throw new WinnowError('invalid_input', {
      where: '--stride',
      expected: `a number below the window (${size})`,
      got: describe(stride),
    });
  const usage: Usage = { answers: 0, prompt: 0, completion: 0 };
  const facts: RankerFacts = { windows: 0, repaired: 0, unusable: 0 };
  const kept = cached(chatClient({ ...client, temperature: 0 }), cache, client.model, (answer) => {
    usage.answers++;
    usage.prompt += answer.usage.prompt;
    usage.completion += answer.usage.completion;
    onUsage(usage.prompt + usage.completion);
  });
  const name = `llm ${client.model} window ${size}/${stride}, ${words} words`;
  const teacher = llmRanker(kept, { ...ranker, name }, facts);
  async function* teachers() {
    yield teacher;
  }
  const { queries, leftOut, cut } = await scoreToFile(job, teachers(), output);
  return { ...facts, ...usage, queries, leftOut, cut };
}
