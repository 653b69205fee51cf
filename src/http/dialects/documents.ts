import { z } from 'zod';
import { describe, WinnowError } from '../../errors.ts';
import type { Ranked, RerankAnswer } from '../../rerank/rerank-types.ts';
import { aroundField, field, type JsonText, moreFields } from '../json/text.ts';
import { formatScore } from '../scores.ts';
import { type AnswerContext, type DialectPath, defineDialect, type Limits, type QueryRequest } from './dialect.ts';
import { stringErrors } from './errors.ts';
import {
  checkCount,
  commonFields,
  commonOptions,
  countFields,
  query,
  returnDocuments,
  textAt,
  topNOption,
} from './fields.ts';
import { flag } from './scalars.ts';
import { metaOf } from './warnings.ts';

/*
 * What Cohere's two versions and Jina have in common. Their answers differ only in fields that the other clients ignore, so all three get
 * the union: `id`, `results` and `meta` (Cohere), `model`, `object` and `usage` (Jina, vLLM, llama.cpp).
 */

type JsonObject = Readonly<Record<string, unknown>>;

export const documentsBody = z.object({
  query,
  documents: z.array(z.unknown()).meta({
    description: 'Passages: strings, or objects with a string field `text` (or those named by `rank_fields`).',
    items: { anyOf: [{ type: 'string' }, { type: 'object' }] },
    minItems: 1,
  }),
  ...countFields,
  return_documents: returnDocuments,
  rank_fields: z
    .array(z.string().min(1))
    .max(64)
    .nullish()
    .meta({ description: 'Fields of object documents that are ranked, in this order; `text` if absent.' }),
  use_activation: flag('vLLM: false asks for raw scores.'),
  ...commonFields,
});

type DocumentsBody = z.infer<typeof documentsBody>;

const count = z.number().int().min(0);

export const resultItem = z.object({
  index: count.meta({ description: 'Place of the passage in the request.' }),
  relevance_score: z.number().meta({ description: 'In 0–1 for models with a sigmoid; a logit with `raw_scores`.' }),
  document: z.looseObject({ text: z.string() }).optional(),
  team: z.string().optional().meta({ description: 'Arm that contributed the item (interleaving experiments).' }),
});

export const truncatedField = z
  .array(count)
  .optional()
  .meta({ description: 'Winnow: indices of truncated passages; absent if there is none.' });

const documentsAnswer = z
  .object({
    id: z.string(),
    model: z.string().meta({ description: '`model@version` that scored.' }),
    object: z.literal('list'),
    results: z.array(resultItem).meta({ description: 'Best first.' }),
    meta: z.object({
      api_version: z.object({ version: z.string() }),
      billed_units: z.object({ search_units: count }),
      tokens: z.object({ input_tokens: count }),
      warnings: z.array(z.string()).optional(),
    }),
    usage: z.object({ prompt_tokens: count, total_tokens: count }),
    truncated: truncatedField,
  })
  .meta({ id: 'DocumentsAnswer' });

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function rankedFields(document: JsonObject, fields: readonly string[], path: string): string {
  const parts = fields
    .filter((field) => Object.hasOwn(document, field) && document[field] !== null)
    .map((field) => textAt(document[field], `${path}.${field}`));
  if (parts.length === 0)
    throw new WinnowError('invalid_field', {
      expected: `an object with one of ${fields.map((field) => `\`${field}\``).join(', ')}`,
      got: 'none of them',
      field: path,
    });
  return parts.join('\n');
}

function documentText(document: unknown, fields: readonly string[], path: string): string {
  if (typeof document === 'string') return textAt(document, path);
  if (isObject(document)) return rankedFields(document, fields, path);
  throw new WinnowError('invalid_field', {
    expected: 'a string or an object with `text`',
    got: describe(document),
    field: path,
  });
}

const fieldsOf = (body: DocumentsBody) => (body.rank_fields?.length ? body.rank_fields : ['text']);

function toRequests(body: DocumentsBody, limits: Limits): readonly QueryRequest[] {
  checkCount(body.documents.length, 'documents', limits);
  const fields = fieldsOf(body);
  return [
    {
      ...commonOptions(body),
      ...topNOption(body),
      query: textAt(body.query, 'query'),
      passages: body.documents.map((document, i) => documentText(document, fields, `documents[${i}]`)),
    },
  ];
}

/** Returns the indices of truncated passages; undefined if there is none, so that the field is absent. */
export function cutPassages(answer: RerankAnswer): number[] | undefined {
  const cut = answer.truncated.flatMap((flag, i) => (flag ? [i] : []));
  return cut.length > 0 ? cut : undefined;
}

/** A document as results return it: objects keep their fields, and always have a `text`: by default what was scored. */
function returnedDocument(document: unknown, passage: string, fields: readonly string[]): JsonObject {
  if (!isObject(document)) return { text: passage };
  const keepsText = typeof document.text === 'string' && fields.join() !== 'text';
  return { ...document, text: keepsText ? document.text : passage };
}

/** Whether a body asks for scores before the activation. */
export const wantsRaw = (body: Pick<DocumentsBody, 'raw_scores' | 'use_activation'>) =>
  body.raw_scores ?? body.use_activation === false;

/** Writes one result: `{"index":…,"relevance_score":…}`, then document and team where they are given. */
export function resultText(ranked: Ranked, raw: boolean, document?: unknown): string | Iterable<string> {
  const score = formatScore(raw ? ranked.score : ranked.relevanceScore, ranked.index);
  const start = `{"index":${ranked.index},"relevance_score":${score}`;
  return aroundField(start, 'document', document, `${field('team', ranked.team)}}`);
}

/** A search unit is a query with up to a hundred passages. */
const searchUnits = (passages: number) => Math.ceil(passages / 100);

/** The writer of answers for one API version. */
function answerWriter(apiVersion: string) {
  return (body: DocumentsBody, answers: readonly RerankAnswer[], context: AnswerContext): JsonText => {
    const answer = answers[0]!;
    const raw = wantsRaw(body);
    const fields = fieldsOf(body);
    const { passages } = context.requests[0]!;
    const head = { id: context.requestId, model: `${answer.model}@${answer.version}`, object: 'list' };
    const meta = {
      api_version: { version: apiVersion },
      billed_units: { search_units: searchUnits(body.documents.length) },
      tokens: { input_tokens: answer.tokens },
      ...metaOf(context),
    };
    const usage = { prompt_tokens: answer.tokens, total_tokens: answer.tokens };
    return {
      head: `${JSON.stringify(head).slice(0, -1)},"results":[`,
      count: answer.ranking.length,
      item(i) {
        const ranked = answer.ranking[i]!;
        const document = body.return_documents
          ? returnedDocument(body.documents[ranked.index], passages[ranked.index]!, fields)
          : undefined;
        return resultText(ranked, raw, document);
      },
      tail: `]${moreFields({ meta, usage, truncated: cutPassages(answer) })}}`,
    };
  };
}

interface DocumentsDialect {
  readonly name: string;
  readonly title: string;
  readonly clients?: string;
  /** `meta.api_version` of the answer. */
  readonly apiVersion: string;
  readonly paths: readonly DialectPath[];
  readonly schema: z.ZodType<DocumentsBody>;
}

/** Defines a dialect that ranks `documents` and answers with `results`. */
export function defineDocumentsDialect({ title, clients, apiVersion, ...declared }: DocumentsDialect) {
  return defineDialect({
    ...declared,
    docs: {
      title,
      summary: 'Rank passages',
      answer: '`{id, model, object, results: [{index, relevance_score, document?}], meta, usage}`, best first',
      ...(clients ? { clients } : {}),
    },
    listField: 'documents',
    errors: stringErrors,
    answer: documentsAnswer,
    toRequests,
    toAnswer: answerWriter(apiVersion),
  });
}
