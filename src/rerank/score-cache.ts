import { hash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { ServedVersion } from '../registry/registry-types.ts';
import type { PairOptions } from '../tokenization/tokenization-types.ts';

/** The score of one pair by one model. */
interface CachedScore {
  readonly score: number;
  /** Text was left out. */
  readonly truncated: boolean;
}

interface ScoreCacheStats {
  readonly hits: number;
  readonly misses: number;
  readonly entries: number;
  readonly bytes: number;
}

/** The cached pairs of one query, for one model and one set of pair options. */
export interface CachedQuery {
  get(passage: string): CachedScore | undefined;
  set(passage: string, score: CachedScore): void;
}

export interface ScoreCache {
  query(version: ServedVersion, options: PairOptions, query: string): CachedQuery;
  stats(): ScoreCacheStats;
}

/** Memory of an entry: key (44 characters), value, map and list. A high estimate. */
const ENTRY_BYTES = 320;

const digest = (text: string) => hash('sha256', text, 'base64');

/**
 * Creates a cache of scores, bounded in bytes; the least recently used entries are dropped first. A pair's score depends on model, options
 * and its two texts only, so the key is a SHA-256 of these. The model counts by the hash of its file: a version that was replaced on disk
 * never answers with old scores.
 */
export function createScoreCache({ bytes }: { readonly bytes: number }): ScoreCache {
  const entries = new LRUCache<string, CachedScore>({ max: Math.max(1, Math.floor(bytes / ENTRY_BYTES)) });
  let hits = 0;
  let misses = 0;
  return {
    query(version, options, query) {
      const { name, version: number, sha256, variant, provider } = version;
      const prefix = digest(JSON.stringify([name, number, sha256, variant, provider, options, query]));
      return {
        get(passage) {
          const found = entries.get(digest(prefix + passage));
          found ? hits++ : misses++;
          return found;
        },
        set(passage, score) {
          entries.set(digest(prefix + passage), score);
        },
      };
    },
    stats: () => ({ hits, misses, entries: entries.size, bytes: entries.size * ENTRY_BYTES }),
  };
}
