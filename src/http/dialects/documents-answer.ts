import { z } from 'zod';
import type { Ranked, RerankAnswer } from '../../rerank/rerank-types.ts';
import { moveSources } from '../../util/exact-json.ts';
import { isObject, type JsonObject } from '../../util/json-files.ts';
import { aroundField, type JsonText, moreFields } from '../json/text.ts';
import { formatScore } from '../scores.ts';
import type { AnswerContext } from './dialect.ts';
import { keptField, keptOf } from './kept.ts';
import { metaFields, metaOf } from './warnings.ts';

/**
 * How an answer to a body with documents differs from the others. All have `results` (Cohere, Jina, vLLM) and `data` (Voyage, mixedbread,
 * Pinecone) in the same order: clients send one service's body and read another's answer. Items of both lists hold no other fields, because
 * some parsers refuse what they do not know.
 */
export interface AnswerForm {
  /** Name of its schema in the API's description. */
  readonly id: string;
  /** `meta.api_version`. */
  readonly apiVersion: string;
  readonly object: 'list' | 'rerank';
  /** What `results[].document` is. */
  readonly document: 'object' | 'text';
  readonly data: {
    /** Names of the score. */
    readonly scores: readonly ('relevance_score' | 'score')[];
    /** Name of the document. */
    readonly field?: 'document' | 'input';
    /** What it is; `sent`: as in the request. Absent where no client reads it there: texts twice would double an answer. */
    readonly document?: 'object' | 'text' | 'sent';
  };
  /** `usage.rerank_units`: search units by another name. */
  readonly hasRerankUnits?: true;
}

/** The answer to a body without the marks of any service. */
export const PLAIN_FORM: AnswerForm = {
  id: 'DocumentsAnswer',
  apiVersion: '1',
  object: 'list',
  document: 'object',
  data: { scores: ['relevance_score', 'score'] },
};

const DOCUMENT_TEXTS = { object: '{text}', text: 'text', sent: 'as sent' };

/** Describes a form as Markdown. */
export function answerText({ object, document, data }: AnswerForm): string {
  const results = `results: [{index, relevance_score, document?: ${DOCUMENT_TEXTS[document]}}]`;
  const inData = data.document ? `, ${data.field}?: ${DOCUMENT_TEXTS[data.document]}` : '';
  const items = `data: [{index, ${data.scores.join(', ')}${inData}}]`;
  return `\`{id, model, object: "${object}", ${results}, ${items}, meta, usage}\`, best first`;
}

const count = z.number().int().min(0);
const score = z.number().meta({ description: 'In 0–1 for models with a sigmoid; a logit with `raw_scores`.' });
const index = count.meta({ description: 'Place of the passage in the request.' });

const DOCUMENT_SCHEMAS = {
  object: z.looseObject({ text: z.string() }).optional(),
  text: z.string().optional(),
  sent: z.unknown().optional().meta({ description: 'As in the request.' }),
};

export const teamsField = z
  .array(z.string())
  .optional()
  .meta({ description: 'Winnow: the arm that contributed each result (interleaving experiments).' });

function makeSchema(form: AnswerForm): z.ZodType {
  const { data } = form;
  const item = z.object({
    index,
    ...Object.fromEntries(data.scores.map((name) => [name, score])),
    ...(data.field && data.document ? { [data.field]: DOCUMENT_SCHEMAS[data.document] } : {}),
  });
  const answer = z.object({
    id: z.string(),
    model: z.string().meta({ description: '`model@version` that scored.' }),
    object: z.literal(form.object),
    ...(form.object === 'rerank' ? { created: count.meta({ description: 'Seconds since the epoch.' }) } : {}),
    results: z
      .array(z.object({ index, relevance_score: score, document: DOCUMENT_SCHEMAS[form.document] }))
      .meta({ description: 'Best first.' }),
    data: z.array(item).meta({ description: 'The same, as other clients read it.' }),
    meta: z.object({
      api_version: z.object({ version: z.string() }),
      billed_units: z.object({ search_units: count }),
      tokens: z.object({ input_tokens: count, output_tokens: z.literal(0) }),
      ...metaFields,
    }),
    usage: z.object({
      prompt_tokens: count,
      total_tokens: count,
      ...(form.hasRerankUnits ? { rerank_units: count } : {}),
      ...keptField,
    }),
    ...(data.field === 'input' ? { top_k: count, return_input: z.boolean() } : {}),
    truncated: z
      .array(count)
      .optional()
      .meta({ description: 'Winnow: indices of truncated passages; absent if there is none.' }),
    teams: teamsField,
  });
  return answer.meta({ id: form.id });
}

const SCHEMAS = new Map<string, z.ZodType>();

/** Returns the schema of answers in a form, for the API's description. Dialects with the same `id` share one. */
export function answerSchema(form: AnswerForm): z.ZodType {
  const schema = SCHEMAS.get(form.id) ?? makeSchema(form);
  SCHEMAS.set(form.id, schema);
  return schema;
}

/** What the writer needs of a body. */
interface Asked {
  /** Scores before the activation. */
  readonly raw: boolean;
  /** The documents as sent; undefined where results do not return them. */
  readonly documents: readonly unknown[] | undefined;
  /** Fields of object documents that were ranked, if the body names them. */
  readonly fields: readonly string[] | undefined;
}

/** A document as results return it: objects keep their fields, and always have a `text`: by default what was scored. */
function returnedObject(document: unknown, passage: string, fields: readonly string[] | undefined): JsonObject {
  if (!isObject(document)) return { text: passage };
  const text = fields && typeof document.text === 'string' ? document.text : passage;
  if (document.text === text) return document;
  const returned = { ...document, text };
  moveSources(document, returned);
  return returned;
}

/** A search unit is a query with up to a hundred passages. */
const searchUnits = (passages: number) => Math.ceil(passages / 100);

/** Returns the indices of truncated passages; undefined if there is none, so that the field is absent. */
function cutPassages(answer: RerankAnswer): number[] | undefined {
  const cut = answer.truncated.flatMap((flag, i) => (flag ? [i] : []));
  return cut.length > 0 ? cut : undefined;
}

/** Returns the arm of each result; undefined where the answer is of one arm. */
export function teamsOf({ ranking }: RerankAnswer): string[] | undefined {
  const teams = ranking.flatMap(({ team }) => team ?? []);
  return teams.length > 0 ? teams : undefined;
}

/** Writes an answer in a form. */
export function writeAnswer(form: AnswerForm, answer: RerankAnswer, context: AnswerContext, asked: Asked): JsonText {
  const { ranking, tokens } = answer;
  const { passages } = context.requests[0]!;
  const documentOf = (how: AnswerForm['data']['document'], at: number): unknown => {
    if (!asked.documents || !how) return undefined;
    const passage = passages[at]!;
    if (how === 'text') return passage;
    return how === 'sent' ? asked.documents[at] : returnedObject(asked.documents[at], passage, asked.fields);
  };
  const scoreText = (ranked: Ranked) => formatScore(asked.raw ? ranked.score : ranked.relevanceScore, ranked.index);
  const head = {
    id: context.requestId,
    model: `${answer.model}@${answer.version}`,
    object: form.object,
    ...(form.object === 'rerank' ? { created: context.created } : {}),
  };
  const units = searchUnits(passages.length);
  const rest = {
    meta: {
      api_version: { version: form.apiVersion },
      billed_units: { search_units: units },
      tokens: { input_tokens: tokens, output_tokens: 0 },
      ...metaOf(context, [answer]),
    },
    usage: {
      prompt_tokens: tokens,
      total_tokens: tokens,
      ...(form.hasRerankUnits && { rerank_units: units }),
      ...keptOf([answer]),
    },
    ...(form.data.field === 'input' && { top_k: ranking.length, return_input: asked.documents !== undefined }),
    truncated: cutPassages(answer),
    teams: teamsOf(answer),
  };
  const count = ranking.length;
  return {
    head: `${JSON.stringify(head).slice(0, -1)},"results":[`,
    count,
    item(i) {
      const ranked = ranking[i]!;
      const start = `{"index":${ranked.index},"relevance_score":${scoreText(ranked)}`;
      return aroundField(start, 'document', documentOf(form.document, ranked.index), '}');
    },
    tail: {
      head: '],"data":[',
      count,
      item(i) {
        const ranked = ranking[i]!;
        const text = scoreText(ranked);
        const scores = form.data.scores.map((name) => `"${name}":${text}`).join(',');
        const document = documentOf(form.data.document, ranked.index);
        return aroundField(`{"index":${ranked.index},${scores}`, form.data.field ?? 'document', document, '}');
      },
      tail: `]${moreFields(rest)}}`,
    },
  };
}
