import { WinnowError } from '../errors.ts';
import type { HostPool, InferenceRow } from '../inference/inference-types.ts';
import { dot } from '../util/vectors.ts';
import { passageKey } from './interaction.ts';
import type { SelfTest } from './manifest.ts';
import { type PairLimits, pairsWithin } from './pair-limits.ts';
import type { SelfTestTokenizer, SideEncoder } from './registry-types.ts';

/** Two queries, each with its own passage and the other's. A re-ranker that scores both equally has no trained head or weights. */
export const PROBE_PAIRS: readonly { readonly query: string; readonly passage: string }[] = (() => {
  const egg = 'Place the egg in boiling water for seven to ten minutes, then cool it under cold water before peeling.';
  const ferry = 'The ferry leaves the harbour every morning at eight and returns before sunset.';
  return ['how to boil an egg', 'when does the ferry leave'].flatMap((query) =>
    [egg, ferry].map((passage) => ({ query, passage })),
  );
})();

/** Scores that differ by less count as equal. */
const EQUAL_WITHIN = 1e-6;

/** Tokens of the row run at load: enough to use every position of common models, few enough to run in less than a second. */
const WARM_UP_TOKENS = 512;

/** Tolerance of a self-test that `winnow models import` writes: how much scores differ between processors and providers. */
export const TOLERANCE: Readonly<Record<string, number>> = { fp32: 1e-3, fp16: 2e-2, int8: 1e-1 };

/** Share of the logits' tolerance that is a cosine's: within a list, cosines spread by about a twentieth as much. */
const COSINE_SHARE = 0.05;

/** Returns the tolerance for scores of a model, from that of logits. @param encoder Of a bi-encoder. @param scores Some of them. */
export function toleranceFor(logits: number, encoder: SideEncoder | undefined, scores: Iterable<number> = []): number {
  if (!encoder) return logits;
  return logits * COSINE_SHARE * [...scores].reduce((most, x) => Math.max(most, Math.abs(x)), encoder.scale);
}

export interface SelfTestDeps {
  readonly pool: Pick<HostPool, 'run'>;
  readonly key: string;
  readonly tokenizer: SelfTestTokenizer;
  readonly limits: PairLimits;
  /** Of a model that reads texts apart. */
  readonly encoder?: SideEncoder | undefined;
  /** Whether the query is scored against kept states of the passage. */
  readonly isInteraction?: boolean;
}

interface Pair {
  readonly query: string;
  readonly passage: string;
}

const fail = (reason: string) =>
  new WinnowError('invalid_graph', { where: 'self-test', expected: reason, got: 'another outcome' });

/** Scores pairs in one batch. Returns one score for each. @throws WinnowError `not_a_number`, `invalid_graph`. */
export async function scorePairs(deps: SelfTestDeps, pairs: readonly Pair[]): Promise<Float32Array> {
  const scores = await scoreBy(deps, pairs);
  const bad = scores.findIndex((s) => !Number.isFinite(s));
  if (bad >= 0) throw new WinnowError('not_a_number', { row: bad });
  return scores;
}

function scoreBy(deps: SelfTestDeps, pairs: readonly Pair[]): Promise<Float32Array> {
  const { encoder, isInteraction } = deps;
  if (!encoder) return scoreTogether(deps, pairs);
  return isInteraction ? scoreByStates(deps, encoder, pairs) : scoreApart(deps, encoder, pairs);
}

/** Tokenizes the texts of pairs by themselves: query and passage of each pair, one after the other. */
async function encodeApart(
  { tokenizer, limits }: Pick<SelfTestDeps, 'tokenizer' | 'limits'>,
  { queryPrefix, passagePrefix }: SideEncoder,
  pairs: readonly Pair[],
): Promise<readonly InferenceRow[]> {
  const options = pairsWithin(limits);
  const asked = { ...options, prefix: queryPrefix, maxPassageTokens: limits.maxQueryTokens };
  const queries = pairs.map(({ query }) => query);
  const passages = pairs.map(({ passage }) => passage);
  const [first, second] = await Promise.all([
    tokenizer.encodeTexts(queries, asked),
    tokenizer.encodeTexts(passages, { ...options, prefix: passagePrefix }),
  ]);
  return pairs.flatMap((_, i) => [first.rows[i]!, second.rows[i]!]);
}

/** Scores pairs by what the graph of passages keeps. */
async function scoreByStates(deps: SelfTestDeps, encoder: SideEncoder, pairs: readonly Pair[]): Promise<Float32Array> {
  const { pool, key } = deps;
  const rows = await encodeApart(deps, encoder, pairs);
  const passages = pairs.map((_, i) => rows[2 * i + 1]!);
  const { pieces } = await pool.run(passageKey(key), passages);
  if (pieces?.length !== pairs.length) throw fail('kept states of each passage');
  const kept = passages.map((row, i) => ({ ...row, kept: { query: rows[2 * i]!.ids, bytes: pieces[i]! } }));
  return (await pool.run(key, kept)).scores;
}

/** Runs a graph of passages on the built-in passages and one of the model's length. @throws WinnowError as `scorePairs`. */
export async function keepProbes(deps: SelfTestDeps): Promise<void> {
  const { encoder, pool, key } = deps;
  const probes = [...PROBE_PAIRS, LONG_PAIR, { query: '', passage: 'word '.repeat(WARM_UP_TOKENS) }];
  const rows = await encodeApart(deps, encoder!, probes);
  await pool.run(passageKey(key), rows);
}

/** Scores pairs by the vectors of their texts. */
async function scoreApart(deps: SelfTestDeps, encoder: SideEncoder, pairs: readonly Pair[]): Promise<Float32Array> {
  const { pool, key } = deps;
  const { scale } = encoder;
  const rows = await encodeApart(deps, encoder, pairs);
  const { scores: values } = await pool.run(key, rows);
  const width = values.length / rows.length;
  const vector = (row: number) => values.subarray(row * width, (row + 1) * width);
  return Float32Array.from(pairs, (_, i) => scale * dot(vector(2 * i), vector(2 * i + 1)));
}

async function scoreTogether(deps: SelfTestDeps, pairs: readonly Pair[]): Promise<Float32Array> {
  const rows = await rowsOf(deps, pairs);
  if (rows.length !== pairs.length) throw fail('one row a pair');
  return (await deps.pool.run(deps.key, rows)).scores;
}

/** Returns the rows of pairs as the model reads them: one a pair; of a bi-encoder query and passage of each. */
export async function rowsOf(
  deps: Pick<SelfTestDeps, 'tokenizer' | 'limits' | 'encoder'>,
  pairs: readonly Pair[],
): Promise<readonly InferenceRow[]> {
  const { tokenizer, limits, encoder } = deps;
  if (encoder) return encodeApart(deps, encoder, pairs);
  const encode = ({ query, passage }: Pair) => tokenizer.encode(query, [passage], pairsWithin(limits));
  return (await Promise.all(pairs.map(encode))).flatMap(({ rows }) => rows);
}

/** Returns the largest token id of the probe pairs. */
export async function largestId(tokenizer: SelfTestTokenizer, limits: PairLimits): Promise<number> {
  const encoded = await Promise.all(
    PROBE_PAIRS.map(({ query, passage }) => tokenizer.encode(query, [passage], pairsWithin(limits))),
  );
  return encoded
    .flatMap(({ rows }) => rows)
    .flatMap(({ ids }) => [...ids])
    .reduce((a, b) => Math.max(a, b), 0);
}

/** Checks that the passages of some query have different scores. @throws WinnowError `invalid_graph`. */
function checkDifferent(pairs: readonly Pair[], scores: Float32Array): void {
  const differ = pairs.some(({ query }, i) =>
    pairs.some((other, j) => j > i && other.query === query && Math.abs(scores[i]! - scores[j]!) > EQUAL_WITHIN),
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

/** A pair that is padded next to the others. */
const SHORT_PAIR = { query: 'egg', passage: 'Boil it.' };

/** A passage that is longer than those of the probes. */
const LONG_PAIR = { query: 'egg', passage: '7 words and more, '.repeat(20) };

/** Pairs of several lengths, by which two graphs of one model are compared. */
export const CHECK_PAIRS: readonly Pair[] = [SHORT_PAIR, ...PROBE_PAIRS, LONG_PAIR];

/** Scores a pair alone and in a batch with others. Returns the difference: 0 where a score depends on its pair alone. */
async function measureMovement(deps: SelfTestDeps): Promise<number> {
  const [alone] = await scorePairs(deps, [SHORT_PAIR]);
  const [beside] = await scorePairs(deps, [SHORT_PAIR, ...PROBE_PAIRS, LONG_PAIR]);
  return Math.abs(alone! - beside!);
}

/** Runs one row of the model's length, to allocate memory and to check that the positions suffice. */
async function warmUp(deps: SelfTestDeps): Promise<void> {
  const maxLength = Math.min(deps.limits.maxLength, WARM_UP_TOKENS);
  await scorePairs({ ...deps, limits: { ...deps.limits, maxLength } }, [
    { query: 'a long passage', passage: 'word '.repeat(maxLength) },
  ]);
}

/**
 * Tests a loaded model on pairs: scores must be finite, differ between passages, and equal the recorded ones of the manifest.
 * @returns How much the score of a pair differed between batches, as a logit.
 * @throws WinnowError `invalid_graph`, `not_a_number`, or those of the hosts.
 */
export async function runSelfTest(
  deps: SelfTestDeps,
  variant: string,
  selfTest: SelfTest | undefined,
): Promise<number> {
  // The first batch runs alone, so that a graph that crashes its host crashes only one.
  checkDifferent(PROBE_PAIRS, await scorePairs(deps, PROBE_PAIRS));
  // The others run at the same time, on several hosts.
  const warming = warmUp(deps);
  const repeating = selfTest ? scorePairs(deps, selfTest.pairs) : undefined;
  const moving = measureMovement(deps);
  await Promise.allSettled([warming, repeating, moving]);
  if (selfTest && repeating) checkRecorded(selfTest, variant, await repeating);
  await warming;
  return moving;
}
