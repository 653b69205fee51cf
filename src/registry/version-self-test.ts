import { WinnowError } from '../errors.ts';
import type { HostPool } from '../inference/inference-types.ts';
import type { SelfTest } from './manifest.ts';
import type { SelfTestTokenizer } from './registry-types.ts';

/** Two queries, each with its passage and the other's. A re-ranker that tells nothing apart here has no head, or no weights. */
export const PROBE_PAIRS: readonly { readonly query: string; readonly passage: string }[] = (() => {
  const egg = 'Place the egg in boiling water for seven to ten minutes, then cool it under cold water before peeling.';
  const ferry = 'The ferry leaves the harbour every morning at eight and returns before sunset.';
  return ['how to boil an egg', 'when does the ferry leave'].flatMap((query) =>
    [egg, ferry].map((passage) => ({ query, passage })),
  );
})();

/** Scores nearer than this are the same score. */
const SAME = 1e-6;

/** Tokens of the longest row run at load: long enough to touch every position of common models, short enough not to take seconds. */
const LONGEST_WARM_UP = 512;

/** Largest difference allowed where a self-test is written by `winnow models import`: what other processors and providers may differ. */
export const TOLERANCE: Readonly<Record<string, number>> = { fp32: 1e-3, fp16: 2e-2, int8: 1e-1 };

export interface SelfTestDeps {
  readonly pool: HostPool;
  readonly key: string;
  readonly tokenizer: SelfTestTokenizer;
  readonly maxLength: number;
}

interface Pair {
  readonly query: string;
  readonly passage: string;
}

const fail = (reason: string) =>
  new WinnowError('invalid_graph', { where: 'self-test', expected: reason, got: 'another outcome' });

function pairOptions(maxLength: number) {
  return {
    maxLength,
    maxQueryTokens: Math.min(64, maxLength),
    truncation: 'longest_first',
    side: 'right',
    longPassages: 'truncate',
    windowOverlap: 0,
  } as const;
}

/** One score a pair, each run as part of one batch. */
export async function scorePairs(deps: SelfTestDeps, pairs: readonly Pair[]): Promise<Float32Array> {
  const encoded = await Promise.all(
    pairs.map(({ query, passage }) => deps.tokenizer.encode(query, [passage], pairOptions(deps.maxLength))),
  );
  const rows = encoded.flatMap((e) => e.rows);
  if (rows.length !== pairs.length) throw fail('one row a pair');
  const { scores } = await deps.pool.run(deps.key, rows);
  const bad = scores.findIndex((s) => !Number.isFinite(s));
  if (bad >= 0) throw new WinnowError('not_a_number', { row: bad });
  return scores;
}

/** Whether some query's passages got different scores. @throws WinnowError `invalid_graph`. */
function checkDifferent(pairs: readonly Pair[], scores: Float32Array): void {
  const differ = pairs.some(({ query }, i) =>
    pairs.some((other, j) => j > i && other.query === query && Math.abs(scores[i]! - scores[j]!) > SAME),
  );
  if (differ) return;
  throw new WinnowError('invalid_graph', {
    where: 'self-test',
    expected: 'different scores for different passages',
    got: `${scores[0]} for all: an export without its trained head?`,
  });
}

function checkRecorded(selfTest: SelfTest, variant: string, scores: Float32Array): void {
  selfTest.pairs.forEach(({ query, scores: recorded }, i) => {
    const expected = recorded[variant];
    if (expected === undefined || Math.abs(scores[i]! - expected) <= selfTest.tolerance) return;
    throw new WinnowError('invalid_graph', {
      where: `self-test pair ${i + 1} ("${query.slice(0, 40)}")`,
      expected: `score ${expected} ± ${selfTest.tolerance}`,
      got: String(scores[i]),
    });
  });
}

/** Runs one row as long as the model takes, so that the first request finds everything warm and positions are known to suffice. */
async function warmUp(deps: SelfTestDeps): Promise<void> {
  const maxLength = Math.min(deps.maxLength, LONGEST_WARM_UP);
  await scorePairs({ ...deps, maxLength }, [{ query: 'a long passage', passage: 'word '.repeat(maxLength) }]);
}

/**
 * Proves a loaded model on pairs: finite scores, different ones for different passages, the recorded ones where the manifest has them.
 * @throws WinnowError `invalid_graph`, `not_a_number`, or what the engine threw.
 */
export async function runSelfTest(deps: SelfTestDeps, variant: string, selfTest: SelfTest | undefined): Promise<void> {
  // The first batch alone: a graph that takes its host down takes no more than it must.
  checkDifferent(PROBE_PAIRS, await scorePairs(deps, PROBE_PAIRS));
  // The others side by side, so that every host has something to do.
  const warming = warmUp(deps);
  const repeating = selfTest ? scorePairs(deps, selfTest.pairs) : undefined;
  await Promise.allSettled([warming, repeating]);
  if (selfTest && repeating) checkRecorded(selfTest, variant, await repeating);
  await warming;
}
