import { WinnowError } from '../errors.ts';
import type { SideEncoder } from '../registry/registry-types.ts';
import { queryOptions } from '../tokenization/query-options.ts';
import type { EncodedRequest } from '../tokenization/tokenization-types.ts';
import { checkLengths, tokenizing } from './run-rows.ts';
import type { MissingTask, ScoringDeps } from './scoring-types.ts';

/** Query and passages as token ids. */
export interface Sides {
  readonly query: EncodedRequest;
  readonly passages: EncodedRequest;
}

/** Tokenizes query and passages by themselves, each behind its prefix. @throws WinnowError as `tokenizing`. */
export function encodeSides(
  deps: ScoringDeps,
  task: MissingTask,
  encoder: SideEncoder,
): Promise<{ readonly encoded: Sides; readonly tokenizeMs: number }> {
  const { request, missing, scope } = task;
  const texts = missing.map((place) => request.passages[place]!);
  return tokenizing(deps, task, async (tokenizer, read) => {
    const [query, passages] = await scope.guard(
      Promise.all([
        tokenizer.encodeTexts([request.query], { ...queryOptions(read), prefix: encoder.queryPrefix }, scope.signal),
        tokenizer.encodeTexts(texts, { ...read, prefix: encoder.passagePrefix }, scope.signal),
      ]),
    );
    return { query, passages };
  });
}

/** @throws WinnowError `passage_too_long` for a query or passage that the model's length cut. */
export function checkSides({ query, passages }: Sides, task: MissingTask): void {
  const { options, version } = task;
  if (query.overLength[0] && options.maxLength >= version.maxLength)
    throw new WinnowError('passage_too_long', { limit: version.maxLength, got: query.fullLengths[0]!, field: 'query' });
  checkLengths(passages, task);
}
