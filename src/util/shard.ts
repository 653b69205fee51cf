import { describe, WinnowError } from '../errors.ts';
import { deriveSeed } from './random.ts';

/** One of `of` processes that share a job. */
export interface Shard {
  /** Counted from 0, as Kubernetes counts the pods of an Indexed Job. */
  readonly index: number;
  readonly of: number;
}

/** A job that one process does alone. */
export const WHOLE: Shard = { index: 0, of: 1 };

/** Parses `i/n`: `1/4` is the second of four. @throws WinnowError `invalid_input`. */
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

/** Whether the item at a place of a list belongs to the shard: every `of`th one. */
export const isPartOf = ({ index, of }: Shard, place: number): boolean => place % of === index;

/** Whether a query belongs to the shard: all its lists go to one shard, whatever their order. */
export const hasQuery = ({ index, of }: Shard, qid: string): boolean => deriveSeed(0, 'shard', qid) % of === index;

/** Returns the file that a shard writes its part to: `teacher.run` → `teacher.0-of-4.run`. */
export function shardFile(path: string, { index, of }: Shard): string {
  if (of === 1) return path;
  const [, stem, end] = /^(.*?)((?:\.[a-z]+)?(?:\.gz)?)$/i.exec(path)!;
  return `${stem}.${index}-of-${of}${end}`;
}
