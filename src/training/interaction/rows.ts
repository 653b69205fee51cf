import type { EncodedRequest, EncodedRow, PairOptions, PairTokenizer } from '../../tokenization/tokenization-types.ts';

/*
 * Rows of interaction models: [CLS] query [SEP] [CLS] passage [SEP], cut apart, so that the passage's part does not depend on the query. All that
 * counts, compares or sorts rows treats them as those of pairs.
 */

/** A row whose two texts are also at hand by themselves. */
interface ApartRow extends EncodedRow {
  /** One array for all passages of an encoded query. */
  readonly query: Int32Array;
  readonly passage: Int32Array;
}

/** Returns the two texts of a row, which a tokenizer of `readApart` has made. */
export function textsOf(row: EncodedRow): Pick<ApartRow, 'query' | 'passage'> {
  if ('query' in row && row.query instanceof Int32Array && 'passage' in row && row.passage instanceof Int32Array)
    return { query: row.query, passage: row.passage };
  return { query: row.ids.subarray(0, row.secondSegment), passage: row.ids.subarray(row.secondSegment) };
}

/** Texts before queries and passages. */
export interface Prefixes {
  readonly queryPrefix: string;
  readonly passagePrefix: string;
}

function joined(query: EncodedRow, passage: EncodedRow): ApartRow {
  const ids = new Int32Array(query.ids.length + passage.ids.length);
  ids.set(query.ids);
  ids.set(passage.ids, query.ids.length);
  return {
    ids,
    secondSegment: query.ids.length,
    truncated: query.truncated || passage.truncated,
    query: query.ids,
    passage: ids.subarray(query.ids.length),
  };
}

function request(query: EncodedRequest, passages: EncodedRequest): EncodedRequest {
  const own = query.rows[0]!;
  const full = query.fullLengths[0]!;
  const rows = passages.rows.map((row) => joined(own, row));
  return {
    ...passages,
    rows,
    truncated: passages.truncated.map((cut) => cut || own.truncated),
    queryCut: new Int32Array(passages.fullLengths.length).fill(full - own.ids.length),
    overLength: passages.overLength.map((over) => over || query.overLength[0] === true),
    fullLengths: passages.fullLengths.map((length) => length + full),
    tokens: rows.reduce((sum, { ids }) => sum + ids.length, 0),
  };
}

/** Makes a tokenizer encode pairs apart, each text behind its prefix. `maxLength` is that of each text, `maxQueryTokens` that of queries. */
export function readApart(tokenizer: PairTokenizer, { queryPrefix, passagePrefix }: Prefixes): PairTokenizer {
  return {
    folder: tokenizer.folder,
    padId: tokenizer.padId,
    async encode(query, passages, { maxQueryTokens, ...options }, signal) {
      const ofQuery: PairOptions = {
        ...options,
        ...(maxQueryTokens !== undefined && { maxPassageTokens: maxQueryTokens }),
        longPassages: 'truncate',
      };
      const [own, others] = await Promise.all([
        tokenizer.encodeTexts([queryPrefix + query], ofQuery, signal),
        tokenizer.encodeTexts(
          passages.map((text) => passagePrefix + text),
          options,
          signal,
        ),
      ]);
      return request(own, others);
    },
    encodeTexts: (texts, options, signal) => tokenizer.encodeTexts(texts, options, signal),
    close: () => tokenizer.close(),
  };
}
