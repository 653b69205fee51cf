import { WinnowError } from '../../errors.ts';
import type { PassageStore } from '../../evaluation/formats/passage-store.ts';

const textsOf = async (passages: PassageStore, ids: readonly string[]): Promise<string[] | undefined> => {
  try {
    return await passages.texts(ids);
  } catch (error) {
    if (error instanceof WinnowError && error.code === 'invalid_input') return undefined;
    throw error;
  }
};

/** Returns the texts by id. Ids that the collection lacks are missing; it is asked for single ids only where it lacks one. */
export async function knownTexts(passages: PassageStore, ids: readonly string[]): Promise<ReadonlyMap<string, string>> {
  const all = await textsOf(passages, ids);
  if (all) return new Map(ids.map((id, i) => [id, all[i]!]));
  const known = new Map<string, string>();
  for (const id of new Set(ids)) {
    const one = await textsOf(passages, [id]);
    if (one) known.set(id, one[0]!);
  }
  return known;
}
