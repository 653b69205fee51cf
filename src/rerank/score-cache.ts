import { hash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { ServedVersion } from '../registry/registry-types.ts';
import type { PairOptions } from '../tokenization/tokenization-types.ts';

/** What one model said of one pair. */
export interface CachedScore {
  readonly score: number;
  /** Text was left out. */
  readonly truncated: boolean;
}

export interface ScoreCacheStats {
  readonly hits: number;
  readonly misses: number;
  readonly entries: number;
  readonly bytes: number;
}

/** The pairs of one query under one model and one way of cutting. */
export interface CachedQuery {
  get(passage: string): CachedScore | undefined;
  set(passage: string, score: CachedScore): void;
}

export interface ScoreCache {
  query(version: ServedVersion, options: PairOptions, query: string): CachedQuery;
  stats(): ScoreCacheStats;
}

/** Memory of an entry: its key (44 characters), its value, its place in map and list. An estimate on the high side. */
const ENTRY_BYTES = 320;

const digest = (text: string) => hash('sha256', text, 'base64');

/**
 * Scores of pairs seen before, bounded in bytes, least recently used first out. A pair's score depends on nothing but model, options and
 * its two texts, which is what the key is made of (SHA-256); the model enters by the hash of its file, so a version that was replaced on
 * disk never answers with old scores.
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
