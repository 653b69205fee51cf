import { WinnowError } from '../errors.ts';
import type { PairTemplate } from './pair-template.ts';
import type { EncodedRequest, EncodedRow, PairOptions } from './tokenization-types.ts';
import { fitPair, keptSpan, type Span, windows } from './truncation.ts';

/** A row before its tokens are copied. */
interface RowPlan {
  readonly passage: number;
  readonly query: Span;
  readonly span: Span;
}

export function specialTokenCount(template: PairTemplate): number {
  return template.prefix.length + template.middle.length + template.suffix.length;
}

/**
 * Checks options against a template: there must be room for a token of the query and one of the passage.
 * @throws WinnowError `invalid_field`.
 */
export function checkPairOptions(options: PairOptions, template: PairTemplate): void {
  const least = specialTokenCount(template) + 2;
  const limits: readonly (readonly [string, number, number])[] = [
    ['maxLength', options.maxLength, least],
    ['maxQueryTokens', options.maxQueryTokens, 1],
    ['maxPassageTokens', options.maxPassageTokens ?? 1, 1],
    ['windowOverlap', options.windowOverlap, 0],
  ];
  for (const [field, value, minimum] of limits)
    if (!Number.isInteger(value) || value < minimum)
      throw new WinnowError('invalid_field', { field, expected: `a whole number of at least ${minimum}`, got: value });
}

function planPassage(query: number, passage: number, room: number, index: number, options: PairOptions): RowPlan[] {
  const cappedQuery = Math.min(query, options.maxQueryTokens);
  const usable = Math.min(passage, options.maxPassageTokens ?? passage);
  const offset = keptSpan(passage, usable, options.side).start;
  const row = (kept: number, span: Span): RowPlan => ({
    passage: index,
    query: keptSpan(query, kept, options.side),
    span: { start: offset + span.start, length: span.length },
  });
  if (options.longPassages === 'truncate' || cappedQuery + usable <= room) {
    const kept = fitPair(cappedQuery, usable, room, options.truncation);
    return [row(kept.query, keptSpan(usable, kept.passage, options.side))];
  }
  // Half of the room at least is the passage's, or a long query would make windows of one token.
  const kept = Math.min(cappedQuery, Math.floor(room / 2));
  return windows(usable, room - kept, options.windowOverlap).map((span) => row(kept, span));
}

/**
 * Assembles the rows of one query and its passages from their token ids. Special tokens are always whole, the last separator included.
 * All rows share one buffer.
 */
export function assemblePairs(
  queryIds: Int32Array,
  passages: readonly Int32Array[],
  template: PairTemplate,
  options: PairOptions,
): EncodedRequest {
  const special = specialTokenCount(template);
  const room = options.maxLength - special;
  const plans = passages.flatMap((ids, i) => planPassage(queryIds.length, ids.length, room, i, options));
  const tokens = plans.reduce((sum, plan) => sum + special + plan.query.length + plan.span.length, 0);
  const buffer = new Int32Array(tokens);
  let end = 0;
  const rows = plans.map((plan): EncodedRow => {
    const start = end;
    const ids = passages[plan.passage]!;
    end = writeRow(buffer, start, queryIds, ids, plan, template);
    const passageStart = template.prefix.length + plan.query.length + template.middle.length;
    return {
      ids: buffer.subarray(start, end),
      secondSegment: template.secondType === 1 ? passageStart : end - start,
      truncated: plan.query.length < queryIds.length || plan.span.length < ids.length,
    };
  });
  return {
    rows,
    passageOf: Int32Array.from(plans, (plan) => plan.passage),
    truncated: cutPassages(plans, passages),
    fullLengths: Int32Array.from(passages, (ids) => special + queryIds.length + ids.length),
    tokens,
  };
}

/** Whether tokens of a passage are in none of its rows. Windows leave no gaps, so the outermost ends tell. */
function cutPassages(plans: readonly RowPlan[], passages: readonly Int32Array[]): boolean[] {
  const from = passages.map((ids) => ids.length);
  const to = passages.map(() => 0);
  for (const { passage, span } of plans) {
    from[passage] = Math.min(from[passage]!, span.start);
    to[passage] = Math.max(to[passage]!, span.start + span.length);
  }
  return passages.map((ids, i) => from[i]! > 0 || to[i]! < ids.length);
}

/** Copies one row to `buffer` from `at` on; returns where it ends. */
function writeRow(
  buffer: Int32Array,
  at: number,
  queryIds: Int32Array,
  passageIds: Int32Array,
  { query, span }: RowPlan,
  { prefix, middle, suffix }: PairTemplate,
): number {
  let end = at;
  const write = (ids: ArrayLike<number>) => {
    buffer.set(ids, end);
    end += ids.length;
  };
  write(prefix);
  write(queryIds.subarray(query.start, query.start + query.length));
  write(middle);
  write(passageIds.subarray(span.start, span.start + span.length));
  write(suffix);
  return end;
}

/** Joins the parts of one request that was assembled piece by piece. */
export function joinRequests(parts: readonly EncodedRequest[], passages: number): EncodedRequest {
  if (parts.length === 1) return parts[0]!;
  const passageOf = new Int32Array(parts.reduce((sum, part) => sum + part.rows.length, 0));
  const fullLengths = new Int32Array(passages);
  let [row, passage] = [0, 0];
  for (const part of parts) {
    passageOf.set(
      part.passageOf.map((p) => p + passage),
      row,
    );
    fullLengths.set(part.fullLengths, passage);
    row += part.rows.length;
    passage += part.truncated.length;
  }
  return {
    rows: parts.flatMap((part) => part.rows),
    passageOf,
    truncated: parts.flatMap((part) => part.truncated),
    fullLengths,
    tokens: parts.reduce((sum, part) => sum + part.tokens, 0),
  };
}
