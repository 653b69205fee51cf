import { basename } from 'node:path';
import { sha256File } from '../../util/files.ts';
import { openJobLog } from '../../util/job-log.ts';
import { hasQuery, type Shard } from '../../util/shard.ts';
import { type IdentifiedList, pick, type RawSource, type SkipCount, skipCount } from '../data/list-types.ts';
import type { ScoredList } from './ensemble.ts';

/** Scores lists of passages: a registry model behind the server's scheduler, a bi-encoder, a language model. */
export interface ListScorer {
  /** Name in progress files; scorers with different scores need different names. */
  readonly name: string;
  /** How it cuts pairs, as JSON. A job is not continued with another one. */
  readonly pairs?: object;
  /** Scores lists in their order. */
  score(lists: AsyncIterable<IdentifiedList>): AsyncIterable<{
    readonly input: IdentifiedList;
    readonly scores: ArrayLike<number>;
    /** Whether the text of each passage was cut, and a number above 0 where that of the query was; absent where this is not known. */
    readonly truncated?: readonly boolean[];
    readonly queryCut?: number;
  }>;
}

export interface ScoreJob {
  readonly source: RawSource;
  readonly shard: Shard;
  /** Number of passages of a list to score, by rank. */
  readonly depth: number;
}

const cut = (list: IdentifiedList, depth: number): IdentifiedList =>
  list.passages.length <= depth ? list : pick(list, [...list.passages.keys()].slice(0, depth));

/** Yields the lists of a job: those of its shard, cut to its depth, in the order of the data. @param counts receives skips. */
export async function* jobLists(
  { source, shard, depth }: ScoreJob,
  counts: SkipCount = skipCount(),
): AsyncGenerator<IdentifiedList> {
  for await (const list of source.lists(counts)) if (hasQuery(shard, list.qid)) yield cut(list, depth);
}

async function* skipFirst<T>(items: AsyncIterable<T>, skip: number): AsyncGenerator<T> {
  let seen = 0;
  for await (const item of items) if (seen++ >= skip) yield item;
}

/** Returns everything that decides the scores of a job, for its log. */
async function jobName(
  { source, shard, depth }: ScoreJob,
  { name, pairs }: ListScorer,
): Promise<Record<string, unknown>> {
  const data = await Promise.all(
    [...new Set(source.files)].map(async (path) => `${basename(path)} ${(await sha256File(path)).slice(0, 16)}`),
  );
  return { scorer: name, ...(pairs && { pairs }), data, depth, shard: `${shard.index}/${shard.of}` };
}

/**
 * Scores all lists of a job into a log; continues where an earlier run stopped.
 * @param onList receives the number of finished lists.
 */
export async function runScoreJob(
  job: ScoreJob,
  scorer: ListScorer,
  logPath: string,
  onList: (done: number) => void = () => undefined,
): Promise<void> {
  const log = await openJobLog<ScoredList>(logPath, await jobName(job, scorer));
  try {
    let done = log.done;
    onList(done);
    for await (const { input, scores, ...facts } of scorer.score(skipFirst(jobLists(job), log.done))) {
      const cut = facts.truncated?.filter(Boolean).length ?? 0;
      await log.append({
        qid: input.qid,
        docids: input.docids,
        scores: Array.from(scores),
        ...(cut > 0 && { cut }),
        ...((facts.queryCut ?? 0) > 0 && { queryCut: true as const }),
      });
      onList(++done);
    }
  } finally {
    await log.close();
  }
}
