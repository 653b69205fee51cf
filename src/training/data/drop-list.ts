import { scanJsonLines, textField } from '../../util/json-files.ts';
import { placeOf } from '../../util/text.ts';
import { type IdentifiedList, originOf, pick, type RawSource, withOrigin } from './list-types.ts';
import { pairKey } from './pair-set.ts';

/** Pairs of query and passage that are no negatives, each with its line. */
type DropList = ReadonlyMap<number, number>;

/** Reads JSON lines with `query` and `passage`. @throws WinnowError `invalid_input` with file and line. */
async function readDropList(path: string): Promise<DropList> {
  const keys = new Map<number, number>();
  await scanJsonLines(path, (row, line) => {
    const where = placeOf(path, line);
    const key = pairKey(textField(row, 'query', where), textField(row, 'passage', where));
    if (!keys.has(key)) keys.set(key, line);
  });
  return keys;
}

/** Returns a list without the passages that are not relevant and stand in the drop list. @param met receives their pairs. */
function without(list: IdentifiedList, dropped: DropList, met: (key: number) => void): IdentifiedList {
  const { query, passages, relevance } = list;
  const kept = [...passages.keys()].filter((p) => {
    const key = pairKey(query, passages[p]!);
    if (relevance[p]! > 0 || !dropped.has(key)) return true;
    met(key);
    return false;
  });
  if (kept.length === passages.length) return list;
  const origin = originOf(list);
  return origin ? withOrigin(pick(list, kept), origin) : pick(list, kept);
}

/**
 * Leaves the negatives of a drop list out of the lists of a source. A pass to the end reports the pairs that were none of its negatives.
 * @throws WinnowError `invalid_input` with file and line for a drop list that does not parse.
 */
export async function withoutDropped(source: RawSource, path: string): Promise<RawSource> {
  const dropped = await readDropList(path);
  return {
    ...source,
    files: [...source.files, path],
    dropped: new Set(dropped.keys()),
    async *lists(counts, seed) {
      const idle = new Map(dropped);
      for await (const list of source.lists(counts, seed)) {
        const kept = without(list, dropped, (key) => void idle.delete(key));
        counts.drop('negative of the drop list', list.passages.length - kept.passages.length, originOf(list)?.where);
        yield kept;
      }
      const [line] = idle.values();
      if (line !== undefined)
        counts.idle?.(
          `${idle.size} of ${dropped.size} pairs of the drop list are no negatives of these lists`,
          placeOf(path, line),
        );
    },
  };
}
