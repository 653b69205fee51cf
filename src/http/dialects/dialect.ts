import type { z } from 'zod';
import type { WinnowError } from '../../errors.ts';
import type { RerankAnswer, RerankRequest } from '../../rerank/types.ts';
import { parseOrRefuse } from '../faults.ts';
import type { JsonText } from '../json-text.ts';

export const DIALECT_NAMES = [
  'tei',
  'cohere-v1',
  'cohere-v2',
  'jina',
  'voyage',
  'weaviate',
  'nim',
  'score',
  'kserve',
] as const;
export type DialectName = (typeof DIALECT_NAMES)[number];

/** What a body asks for. Who asks, in which lane and until when, comes from headers and is added by the route. */
export interface Asked
  extends Omit<RerankRequest, 'requestId' | 'lane' | 'deadlineMs' | 'signal' | 'subject' | 'truncate'> {
  readonly truncate?: boolean;
  readonly timeoutMs?: number;
  /** Whom the answer is for (body field `user`); experiments hash it. */
  readonly user?: string;
}

export interface Limits {
  readonly maxPassages: number;
}

/** What an answer needs besides scores. */
export interface About {
  readonly requestId: string;
  /** Seconds since the epoch. */
  readonly created: number;
}

export interface ErrorBody {
  readonly error: unknown;
  readonly error_type: string;
  readonly message: string;
  readonly [field: string]: unknown;
}

/** One wire format: how its body reads, what its answer and its errors look like. */
export interface Dialect<Body> {
  readonly name: DialectName;
  readonly schema: z.ZodType<Body>;
  /** Shape of the answer, for the API's description. */
  readonly answer: z.ZodType;
  /**
   * One entry for each query of the body; only `/score` has more than one.
   * @throws WinnowError `empty_passages`, `too_many_passages`, `invalid_field`.
   */
  toRequests(body: Body, limits: Limits): readonly Asked[];
  /** `answers` in the order of the requests. The scores in it are written by `formatScore`. */
  toAnswer(body: Body, answers: readonly RerankAnswer[], about: About): JsonText;
  toError(error: WinnowError, requestId: string): ErrorBody;
}

/** A dialect that has read its body. */
export interface Conversation {
  readonly asked: readonly Asked[];
  answer(answers: readonly RerankAnswer[], about: About): JsonText;
}

/** A dialect whose body type is its own business. */
export interface AnyDialect extends Pick<Dialect<unknown>, 'name' | 'schema' | 'answer' | 'toError'> {
  /** @throws WinnowError `invalid_field` and what `toRequests` throws. */
  read(body: unknown, limits: Limits): Conversation;
}

export function defineDialect<Body>(dialect: Dialect<Body>): AnyDialect {
  return {
    name: dialect.name,
    schema: dialect.schema,
    answer: dialect.answer,
    toError: dialect.toError,
    read(raw, limits) {
      const body = parseOrRefuse(dialect.schema, raw);
      return {
        asked: dialect.toRequests(body, limits),
        answer: (answers, about) => dialect.toAnswer(body, answers, about),
      };
    },
  };
}
