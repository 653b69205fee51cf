import { describe, WinnowError } from '../errors.ts';
import { deriveSeed } from './random.ts';

/** One of several processes that share a job. */
export interface Shard {
  /** Counted from 0, as Kubernetes counts the pods of an Indexed Job. */
  readonly index: number;
  readonly of: number;
}

export const WHOLE: Shard = { index: 0, of: 1 };

/** Reads `i/n`. @throws WinnowError `invalid_input`. */
export function parseShard(text: string): Shard {
  const [, index, of] = /^(\d+)\/(\d+)$/.exec(text) ?? [];
  const shard = { index: Number(index), of: Number(of) };
  if (shard.of > 0 && shard.index < shard.of) return shard;
  throw new WinnowError('invalid_input', {
    where: '--shard',
    expected: 'i/n with i from 0 to n − 1, such as 0/4',
    got: describe(text),
  });
}

/** Whether a query is this shard's: all its lists go to one shard, whatever order they come in. */
export const isMine = (shard: Shard, qid: string): boolean => deriveSeed(0, 'shard', qid) % shard.of === shard.index;

/** The file a shard writes beside those of the others: `teacher.run` → `teacher.0-of-4.run`. */
export function shardFile(path: string, { index, of }: Shard): string {
  if (of === 1) return path;
  const [, stem, end] = /^(.*?)((?:\.[a-z]+)?(?:\.gz)?)$/i.exec(path)!;
  return `${stem}.${index}-of-${of}${end}`;
}
