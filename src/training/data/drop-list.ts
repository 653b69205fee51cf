import { scanJsonLines, textField } from '../../util/json-files.ts';
import { placeOf } from '../../util/text.ts';
import { type IdentifiedList, pick, type RawSource } from './list-types.ts';
import { pairKey } from './pair-set.ts';

/** Pairs of query and passage that are no negatives. */
type DropList = ReadonlySet<number>;

/** Reads JSON lines with `query` and `passage`. @throws WinnowError `invalid_input` with file and line. */
async function readDropList(path: string): Promise<DropList> {
  const keys = new Set<number>();
  await scanJsonLines(path, (row, line) => {
    const where = placeOf(path, line);
    keys.add(pairKey(textField(row, 'query', where), textField(row, 'passage', where)));
  });
  return keys;
}

/** Returns a list without the passages that are not relevant and stand in the drop list. */
function without(list: IdentifiedList, dropped: DropList): IdentifiedList {
  const { query, passages, relevance } = list;
  const kept = [...passages.keys()].filter((p) => relevance[p]! > 0 || !dropped.has(pairKey(query, passages[p]!)));
  return kept.length === passages.length ? list : pick(list, kept);
}

/**
 * Leaves the negatives of a drop list out of the lists of a source.
 * @throws WinnowError `invalid_input` with file and line for a drop list that does not parse.
 */
export async function withoutDropped(source: RawSource, path: string): Promise<RawSource> {
  const dropped = await readDropList(path);
  return {
    ...source,
    files: [...source.files, path],
    dropped,
    async *lists(counts, seed) {
      for await (const list of source.lists(counts, seed)) {
        const kept = without(list, dropped);
        counts.drop('negative of the drop list', list.passages.length - kept.passages.length);
        yield kept;
      }
    },
  };
}
