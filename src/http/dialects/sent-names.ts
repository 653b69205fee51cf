import { WinnowError } from '../../errors.ts';
import { renumberRow } from '../../util/row-errors.ts';

/*
 * Behind the dialects a request has one set of names: `query`, `passages[i]` and the options of RerankRequest. A refusal has to say what the
 * client can find in its own body, so every dialect states with each request what the client calls them.
 */

/** What the body of a client calls the parts of one request. */
export interface SentNames {
  readonly query: string;
  passage(index: number): string;
  /** Place of a passage among all of the body; default its index. */
  place?(index: number): number;
  /** What stands before the names of options, such as `parameters.`. */
  readonly options?: string;
}

/** Returns the place of a passage among all of the body. */
export const placeOf = (names: SentNames, index: number): number => names.place?.(index) ?? index;

/** Names of a body whose passages are the members of a list. */
export const listNames = (list: string, query = 'query'): SentNames => ({ query, passage: (i) => `${list}[${i}]` });

/** Options by the name that errors from behind the dialects give them. */
const OPTIONS: Readonly<Record<string, string>> = {
  maxLength: 'truncate_prompt_tokens',
  maxQueryTokens: 'max_tokens_per_query',
  maxPassageTokens: 'max_tokens_per_doc',
  maxWindows: 'max_chunks_per_doc',
  topN: 'top_n',
  minScore: 'min_score',
  deadlineMs: 'timeout_ms',
};

function sentField(field: string, { query, passage, options = '' }: SentNames): string {
  if (field === 'query') return query;
  const index = /^passages\[(\d+)\]$/.exec(field)?.[1];
  if (index !== undefined) return passage(Number(index));
  return Object.hasOwn(OPTIONS, field) ? `${options}${OPTIONS[field]}` : field;
}

/** Returns an error about a request with the names and places that its client knows. Returns other errors unchanged. */
export function inSentNames(error: unknown, names: SentNames): unknown {
  const placed = renumberRow(error, (row) => placeOf(names, row));
  if (!(placed instanceof WinnowError) || typeof placed.params.field !== 'string') return placed;
  const field = sentField(placed.params.field, names);
  if (field === placed.params.field) return placed;
  return new WinnowError(placed.code, { ...placed.params, field }, { cause: error });
}
