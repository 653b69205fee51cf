import type { z } from 'zod';
import type { RerankAnswer, RerankRequest } from '../../rerank/rerank-types.ts';
import { parseOrRefuse } from '../faults.ts';
import type { JsonText } from '../json/text.ts';
import type { ErrorForm } from './errors.ts';
import { ignoredFields } from './ignored.ts';
import type { SentNames } from './sent-names.ts';

/** One query of a body with its passages and options. The route adds request id, lane, deadline and subject from the headers. */
export interface QueryRequest
  extends Omit<RerankRequest, 'requestId' | 'lane' | 'deadlineMs' | 'signal' | 'subject' | 'truncate'> {
  readonly truncate?: boolean;
  readonly timeoutMs?: number;
  /** End user the answer is for (body field `user`); experiments hash it. */
  readonly user?: string;
  /** Field of the body that holds the instruction. */
  readonly instructionField?: string;
  /** What the client calls the parts of the request, for refusals. */
  readonly names: SentNames;
}

export interface Limits {
  readonly maxPassages: number;
}

/** What an answer needs in addition to scores. */
export interface AnswerContext {
  /** The requests of the body, with the texts that were scored. */
  readonly requests: readonly QueryRequest[];
  readonly requestId: string;
  /** Seconds since the epoch. */
  readonly created: number;
  /** What the client should know of the answer; see `warningsOf`. */
  readonly warnings: readonly string[];
}

/** What a client's headers say of its SDK. Bodies of Voyage's and Cohere's SDKs may be equal; their headers differ. */
export interface ClientHeaders {
  readonly sdk: string;
}

/** A path whose bodies a dialect reads, unless another dialect's marks match there. */
export interface DialectPath {
  readonly path: string;
  /** What sets this path apart from the dialect's others, such as the client that calls it. */
  readonly note?: string;
}

/** How a body is recognized at the paths of other dialects. */
export interface Marks {
  /** Paths of other dialects where the marks are looked for. */
  readonly paths: readonly string[];
  /** The marks as Markdown, for the API's description. */
  readonly text: string;
  matches(body: Readonly<Record<string, unknown>>, client: ClientHeaders, path: string): boolean;
}

/** How the API's description and docs/api.md present a dialect. */
interface DialectDocs {
  /** Whose wire format it is. */
  readonly title: string;
  /** Other clients that use it. */
  readonly clients?: string;
  /** What a request does, as the beginning of an operation's summary. */
  readonly summary: string;
  /** Form of the answer, as Markdown. */
  readonly answer: string;
}

/** An answer as JSON text, and the bytes of tensors that follow it, if any. */
export interface AnswerText extends JsonText {
  readonly binary?: Buffer;
}

/** A body whose texts are all in it, and the number of those in which bytes that are not UTF-8 were replaced. */
interface Unpacked<Body> {
  readonly body: Body;
  readonly repaired: number;
}

/** One wire format: where it is used, how its body is recognized and read, and what its answers and errors look like. */
interface Dialect<Body> {
  /** Value of the label `dialect` in metrics and logs. */
  readonly name: string;
  readonly docs: DialectDocs;
  readonly paths: readonly DialectPath[];
  readonly marks?: Marks;
  /** Field of the body that holds the passages. Needed at paths that dialects share: a body without any such field is in no known dialect. */
  readonly listField?: string;
  readonly errors: ErrorForm;
  readonly schema: z.ZodType<Body>;
  /** Schema of the answer, for the API's description. */
  readonly answer: z.ZodType;
  /**
   * Returns one entry for each query of the body; only bodies of pairs have more than one.
   * @throws WinnowError `empty_passages`, `too_many_passages`, `invalid_field`.
   */
  toRequests(body: Body, limits: Limits): readonly QueryRequest[];
  /**
   * Puts the texts that follow the JSON as bytes into the body. Absent for formats whose bodies are JSON only.
   * @throws WinnowError `invalid_field`, `too_many_passages`.
   */
  unpack?(body: Body, bytes: Buffer, limits: Limits): Promise<Unpacked<Body>>;
  /** Names of fields that the schema knows and that have no effect in this body; default none. */
  idleFields?(body: Body): readonly string[];
  /** Writes the answer; `answers` stand in the order of the requests. `formatScore` writes the scores in it. */
  toAnswer(body: Body, answers: readonly RerankAnswer[], context: AnswerContext): AnswerText;
}

/** A body that a dialect has read. */
interface ParsedBody {
  readonly requests: readonly QueryRequest[];
  /** Names of fields of the body without effect. */
  readonly ignored: readonly string[];
  /** Texts in which bytes that are not UTF-8 were replaced. */
  readonly repaired: number;
  answer(answers: readonly RerankAnswer[], context: AnswerContext): AnswerText;
}

/** A dialect without the type of its body. */
export interface AnyDialect extends Omit<Dialect<unknown>, 'toRequests' | 'toAnswer' | 'idleFields' | 'unpack'> {
  /** Whether bytes of tensors may follow the JSON of a body. */
  readonly takesBytes: boolean;
  /**
   * @param bytes what follows the JSON of the body.
   * @throws WinnowError `invalid_field` and what `toRequests` throws.
   */
  read(body: unknown, limits: Limits, bytes?: Buffer): Promise<ParsedBody>;
}

/** Hides the type of a dialect's body behind `read`. */
export function defineDialect<Body>(dialect: Dialect<Body>): AnyDialect {
  const { toRequests, toAnswer, idleFields, unpack, ...declared } = dialect;
  return {
    ...declared,
    takesBytes: unpack !== undefined,
    async read(raw, limits, bytes) {
      const parsed = parseOrRefuse(dialect.schema, raw);
      const { body, repaired } = unpack
        ? await unpack(parsed, bytes ?? Buffer.alloc(0), limits)
        : { body: parsed, repaired: 0 };
      return {
        requests: toRequests(body, limits),
        ignored: [...ignoredFields(dialect.schema, raw), ...(idleFields?.(body) ?? [])],
        repaired,
        answer: (answers, context) => toAnswer(body, answers, context),
      };
    },
  };
}
