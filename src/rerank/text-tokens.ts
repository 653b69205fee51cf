import type { ModelRegistry } from '../registry/registry-types.ts';
import type { TextTokenizer, TokenizedTexts, TokenOptions } from '../tokenization/tokenization-types.ts';
import { type Clock, monotonicClock } from '../util/clock.ts';
import { openScope } from './request-scope.ts';
import { withModel } from './scoring.ts';
import { TokenizerShelf, type TokenizerSource } from './tokenizer-shelf.ts';

export interface TokensRequest extends TokenOptions {
  /** As in a RerankRequest. */
  readonly model?: string;
  readonly texts: readonly string[];
  readonly deadlineMs: number;
  readonly signal?: AbortSignal;
}

export interface TokensAnswer extends TokenizedTexts {
  readonly model: string;
  readonly version: string;
}

/** The use case of clients that count tokens or look at them: texts as the served model reads them. */
export interface TokenReader {
  /** @throws WinnowError `invalid_field` (`texts`), `deadline_exceeded`, `client_closed`, and those of registry and tokenizers. */
  tokens(request: TokensRequest): Promise<TokensAnswer>;
}

export interface TokenReaderOptions {
  readonly registry: Pick<ModelRegistry, 'acquire'>;
  readonly tokenizers: TokenizerSource<TextTokenizer>;
  readonly clock?: Clock;
}

/** Creates the use case. A model is leased only while its tokenizer is used. */
export function createTokenReader({ registry, tokenizers, clock = monotonicClock }: TokenReaderOptions): TokenReader {
  const shelf = new TokenizerShelf(tokenizers);
  return {
    async tokens({ model, texts, deadlineMs, signal, ...options }) {
      const scope = openScope(clock, deadlineMs, signal);
      try {
        return await withModel({ registry }, model, scope, async (version) => {
          const work = shelf.use(version, (tokenizer) => tokenizer.tokens(texts, options, scope.signal));
          const found = await scope.guard(work);
          return { ...found, model: version.name, version: version.version };
        });
      } catch (error) {
        throw scope.signal.aborted ? scope.signal.reason : error;
      } finally {
        scope.close();
      }
    },
  };
}
