import { WinnowError } from '../errors.ts';
import type { PairTemplate } from './pair-template.ts';
import type { Enough } from './piecewise-encoder.ts';
import type { EncodedRequest, EncodedRow, PairOptions } from './tokenization-types.ts';
import { fitPair, keptSpan, type Span, windows } from './truncation.ts';

/** A query as rows hold it: its tokens, and those that stand around it and the passage. */
export interface QueryTokens {
  readonly ids: Int32Array;
  readonly template: PairTemplate;
}

/** Which tokens of query and passage a row holds. */
interface RowLayout {
  readonly source: QueryTokens;
  readonly passage: number;
  readonly query: Span;
  readonly span: Span;
  /** Whether `maxLength` cut the pair, rather than a limit on query, passage or windows. */
  readonly overLength: boolean;
}

/** Returns the number of special tokens in a row. */
function specialTokenCount(template: PairTemplate): number {
  return template.prefix.length + template.middle.length + template.suffix.length;
}

/**
 * Checks options against a template: a row must have room for one token of the query and one of the passage.
 * @throws WinnowError `invalid_field`.
 */
export function checkPairOptions(options: PairOptions, template: PairTemplate): void {
  const least = specialTokenCount(template) + 2;
  const limits: readonly (readonly [string, number, number])[] = [
    ['maxLength', options.maxLength, least],
    ['maxQueryTokens', options.maxQueryTokens ?? 1, 1],
    ['maxPassageTokens', options.maxPassageTokens ?? 1, 1],
    ['windowOverlap', options.windowOverlap, 0],
    ['maxWindows', options.maxWindows ?? 1, 1],
  ];
  for (const [field, value, minimum] of limits)
    if (!Number.isInteger(value) || value < minimum)
      throw new WinnowError('invalid_field', { field, expected: `a whole number of at least ${minimum}`, got: value });
}

/**
 * Returns how many tokens of each passage decide the rows; undefined if all do. One more than any row can hold shows that a text was cut, and
 * that it is the longer side of its pair.
 */
export function enoughFor(options: PairOptions): Enough | undefined {
  const { maxLength, maxPassageTokens, longPassages, side, exactLengths = true } = options;
  if (exactLengths || (longPassages !== 'truncate' && maxPassageTokens === undefined)) return undefined;
  const most = Math.max(maxLength, longPassages === 'truncate' ? 0 : maxPassageTokens!);
  return { tokens: most + 1, from: side === 'left' ? 'end' : 'start' };
}

/** Returns the rows of one passage, from the numbers of tokens of query and passage. */
function layOutPassage(source: QueryTokens, passage: number, index: number, options: PairOptions): RowLayout[] {
  const query = source.ids.length;
  const room = options.maxLength - specialTokenCount(source.template);
  const cappedQuery = Math.min(query, options.maxQueryTokens ?? query);
  const usable = Math.min(passage, options.maxPassageTokens ?? passage);
  const offset = keptSpan(passage, usable, options.side).start;
  const row = (kept: number, span: Span, overLength: boolean): RowLayout => ({
    source,
    passage: index,
    query: keptSpan(query, kept, options.side),
    span: { start: offset + span.start, length: span.length },
    overLength,
  });
  if (options.longPassages === 'truncate' || cappedQuery + usable <= room) {
    const kept = fitPair(cappedQuery, usable, room, options.truncation);
    return [row(kept.query, keptSpan(usable, kept.passage, options.side), cappedQuery + usable > room)];
  }
  // The passage gets half of the room, or what it needs of that; otherwise a long query would leave windows of one token.
  const kept = Math.min(cappedQuery, Math.max(Math.floor(room / 2), room - usable));
  const spans = windows(usable, Math.max(1, room - kept), options.windowOverlap);
  return keptWindows(spans, usable, options).map((span) => row(kept, span, kept < cappedQuery));
}

/** Returns the first windows that may be used; on side `left` as many from the passage's end. */
function keptWindows(spans: readonly Span[], usable: number, { maxWindows, side }: PairOptions): readonly Span[] {
  if (maxWindows === undefined || spans.length <= maxWindows) return spans;
  if (side === 'right') return spans.slice(0, maxWindows);
  return spans
    .slice(0, maxWindows)
    .map(({ start, length }) => ({ start: usable - start - length, length }))
    .reverse();
}

/** Returns the tokens of a row outside query and passage. */
const around = ({ source }: RowLayout): number => specialTokenCount(source.template);

/** Lays out the rows of a passage with the whole query where that leaves it uncut, else with its parts. */
function layOutEither(
  query: QueryTokens,
  whole: QueryTokens | undefined,
  passage: number,
  index: number,
  options: PairOptions,
): RowLayout[] {
  const { maxQueryTokens: most = Number.POSITIVE_INFINITY } = options;
  if (whole && query.ids.length <= most) {
    const rows = layOutPassage(whole, passage, index, { ...options, maxQueryTokens: undefined });
    if (rows.every((row) => row.query.length === whole.ids.length && row.span.length >= Math.min(1, passage)))
      return rows;
  }
  return layOutPassage(query, passage, index, options);
}

/**
 * Assembles the rows of one query and its passages from their token ids. Special tokens are never cut. All rows share one buffer.
 * @param whole The query with the text around it as one sequence, for rows that do not cut it: tokens may span its ends.
 */
export function assemblePairs(
  queryIds: Int32Array,
  passages: readonly Int32Array[],
  template: PairTemplate,
  options: PairOptions,
  whole?: QueryTokens,
): EncodedRequest {
  const query = { ids: queryIds, template };
  const layouts = passages.flatMap((ids, i) => layOutEither(query, whole, ids.length, i, options));
  const tokens = layouts.reduce((sum, layout) => sum + around(layout) + layout.query.length + layout.span.length, 0);
  const uncut = specialTokenCount((whole ?? query).template) + (whole ?? query).ids.length;
  const buffer = new Int32Array(tokens);
  let end = 0;
  const rows = layouts.map((layout): EncodedRow => {
    const start = end;
    const ids = passages[layout.passage]!;
    end = writeRow(buffer, start, ids, layout);
    const { template: tokensAround, ids: asked } = layout.source;
    const { prefix, middle, secondType, lead = 0 } = tokensAround;
    const passageStart = prefix.length + layout.query.length + middle.length;
    return {
      ids: buffer.subarray(start, end),
      secondSegment: secondType === 1 ? passageStart - lead : end - start,
      truncated: layout.query.length < asked.length || layout.span.length < ids.length,
    };
  });
  return {
    rows,
    passageOf: Int32Array.from(layouts, (layout) => layout.passage),
    truncated: cutPassages(layouts, passages),
    queryCut: cutQuery(layouts, passages.length),
    overLength: overLength(layouts, passages.length),
    fullLengths: Int32Array.from(passages, (ids) => uncut + ids.length),
    tokens,
  };
}

/** Returns for each passage whether some of its tokens are in no row. Windows leave no gaps, so only the outer ends matter. */
function cutPassages(layouts: readonly RowLayout[], passages: readonly Int32Array[]): boolean[] {
  const from = passages.map((ids) => ids.length);
  const to = passages.map(() => 0);
  for (const { passage, span } of layouts) {
    from[passage] = Math.min(from[passage]!, span.start);
    to[passage] = Math.max(to[passage]!, span.start + span.length);
  }
  return passages.map((ids, i) => from[i]! > 0 || to[i]! < ids.length);
}

/** Returns for each passage the tokens of the query that are left out. All rows of a passage have the same ones. */
function cutQuery(layouts: readonly RowLayout[], passages: number): Int32Array {
  const cut = new Int32Array(passages);
  for (const { passage, query, source } of layouts) cut[passage] = source.ids.length - query.length;
  return cut;
}

function overLength(layouts: readonly RowLayout[], passages: number): boolean[] {
  const over: boolean[] = new Array(passages).fill(false);
  for (const layout of layouts) if (layout.overLength) over[layout.passage] = true;
  return over;
}

/** Copies one row to `buffer` from index `at` on; returns the index after it. */
function writeRow(buffer: Int32Array, at: number, passageIds: Int32Array, { query, span, source }: RowLayout): number {
  const { prefix, middle, suffix } = source.template;
  let end = at;
  const write = (ids: ArrayLike<number>) => {
    buffer.set(ids, end);
    end += ids.length;
  };
  write(prefix);
  write(source.ids.subarray(query.start, query.start + query.length));
  write(middle);
  write(passageIds.subarray(span.start, span.start + span.length));
  write(suffix);
  return end;
}

/** Joins the parts of a request that was assembled in pieces. */
export function joinRequests(parts: readonly EncodedRequest[], passages: number): EncodedRequest {
  if (parts.length === 1) return parts[0]!;
  const passageOf = new Int32Array(parts.reduce((sum, part) => sum + part.rows.length, 0));
  const fullLengths = new Int32Array(passages);
  const queryCut = new Int32Array(passages);
  let [row, passage] = [0, 0];
  for (const part of parts) {
    passageOf.set(
      part.passageOf.map((p) => p + passage),
      row,
    );
    fullLengths.set(part.fullLengths, passage);
    queryCut.set(part.queryCut, passage);
    row += part.rows.length;
    passage += part.truncated.length;
  }
  return {
    rows: parts.flatMap((part) => part.rows),
    passageOf,
    truncated: parts.flatMap((part) => part.truncated),
    queryCut,
    overLength: parts.flatMap((part) => part.overLength),
    fullLengths,
    tokens: parts.reduce((sum, part) => sum + part.tokens, 0),
  };
}
