import type { PassageDisk } from '../passages/passage-disk.ts';
import type { PassageFilter, PassageStats } from '../passages/passage-types.ts';
import type { PassageSharing } from './kept-passages.ts';
import type { Freed, KeptCounts, KeptReport, PassagesApi, VersionName } from './passages-api.ts';
import { scoringDeps } from './scoring.ts';
import type { ScoringOptions } from './scoring-types.ts';
import { warmPassages } from './warm-passages.ts';

interface PassagesApiOptions extends ScoringOptions {
  readonly passages: PassageSharing;
  /** Where entries are kept as well. */
  readonly disk?: PassageDisk | undefined;
}

type Counted = PassageStats['models'][number];

const NONE: KeptCounts = { entries: 0, bytes: 0, hits: 0, misses: 0, evictions: 0, unkept: 0 };

/** Adds up counts. */
const totalOf = (all: readonly KeptCounts[]): KeptCounts =>
  all.reduce(
    (sum, one) => ({
      entries: sum.entries + one.entries,
      bytes: sum.bytes + one.bytes,
      hits: sum.hits + one.hits,
      misses: sum.misses + one.misses,
      evictions: sum.evictions + one.evictions,
      unkept: sum.unkept + one.unkept,
    }),
    NONE,
  );

/** Adds up the entries of all callers, and of all files of a number format. */
function byVersion(counted: readonly Counted[]): KeptReport['models'] {
  const groups = Map.groupBy(counted, ({ model: { name, version, variant } }) =>
    JSON.stringify([name, version, variant]),
  );
  return [...groups.values()].map((all) => {
    const { name, version, variant } = all[0]!.model;
    return { model: name, version, variant, ...totalOf(all) };
  });
}

/** Creates the use case of kept passages: reading ahead, counts, and removal. */
export function createPassagesApi({ disk, ...options }: PassagesApiOptions): PassagesApi {
  const deps = scoringDeps(options);
  const { passages: sharing } = options;
  const { cache, shared } = sharing;
  const ownedBy = (owner: string | undefined) => (owner === undefined ? {} : { salt: owner });

  const clearOne = async (filter: PassageFilter): Promise<Freed> => {
    const freed = await cache.clear(filter);
    await disk?.clear(filter);
    return freed;
  };

  return {
    shared,
    warm: (request) => warmPassages(deps, sharing, request),
    report(owner) {
      const { limitBytes, models } = cache.stats();
      const seen = models.filter(({ model }) => owner === undefined || model.salt === owner);
      const file = disk?.stats();
      return { limitBytes, ...totalOf(seen), models: byVersion(seen), ...(file && { file }) };
    },
    async clear(versions: readonly VersionName[] | undefined, owner) {
      const filters: readonly PassageFilter[] = versions ?? [{}];
      let [entries, bytes] = [0, 0];
      for (const filter of filters) {
        const freed = await clearOne({ ...filter, ...ownedBy(owner) });
        entries += freed.entries;
        bytes += freed.bytes;
      }
      return { entries, bytes };
    },
  };
}
