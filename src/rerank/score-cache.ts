import { LRUCache } from 'lru-cache';
import type { ServedVersion } from '../registry/registry-types.ts';
import type { PairOptions } from '../tokenization/tokenization-types.ts';
import { digestsInTurns } from '../util/digests.ts';

/** The score of one pair by one model. */
interface CachedScore {
  readonly score: number;
  /** Text was left out. */
  readonly truncated: boolean;
  /** Tokens of the query that the pair left out. */
  readonly queryCut: number;
}

interface ScoreCacheStats {
  readonly hits: number;
  readonly misses: number;
  readonly entries: number;
  readonly bytes: number;
}

/** The pairs of one request, for one model and one set of pair options. */
interface PairsToScore {
  readonly version: ServedVersion;
  readonly options: PairOptions;
  readonly query: string;
  readonly passages: readonly string[];
}

/** The cached pairs of one request, by place of the passage. */
export interface CachedPairs {
  get(index: number): CachedScore | undefined;
  set(index: number, score: CachedScore): void;
}

export interface ScoreCache {
  /** Hashes the texts of a request, with turns of the event loop for other work in between. */
  pairs(request: PairsToScore): Promise<CachedPairs>;
  stats(): ScoreCacheStats;
}

/** Memory of an entry: key (44 characters), value, map and list. A high estimate. */
const ENTRY_BYTES = 320;

/** Returns the key of each pair. */
async function keysOf({ version, options, query, passages }: PairsToScore): Promise<string[]> {
  const { name, version: number, sha256, graphId = sha256, variant, provider, template, encoder } = version;
  const how = JSON.stringify([name, number, graphId, variant, provider, options, template, encoder]);
  const [prefix] = await digestsInTurns([query], { encoding: 'base64', prefix: how });
  return digestsInTurns(passages, { encoding: 'base64', prefix: prefix! });
}

/**
 * Creates a cache of scores, bounded in bytes; the least recently used entries are dropped first. A pair's score depends on model, options
 * and its two texts only, so the key is a SHA-256 of these. The model counts by the hash of its files: a version that was replaced on
 * disk never answers with old scores.
 */
export function createScoreCache({ bytes }: { readonly bytes: number }): ScoreCache {
  const entries = new LRUCache<string, CachedScore>({ max: Math.max(1, Math.floor(bytes / ENTRY_BYTES)) });
  let hits = 0;
  let misses = 0;
  return {
    async pairs(request) {
      const keys = await keysOf(request);
      return {
        get(index) {
          const found = entries.get(keys[index]!);
          found ? hits++ : misses++;
          return found;
        },
        set(index, score) {
          entries.set(keys[index]!, score);
        },
      };
    },
    stats: () => ({ hits, misses, entries: entries.size, bytes: entries.size * ENTRY_BYTES }),
  };
}
