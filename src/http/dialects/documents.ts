import { z } from 'zod';
import { isObject } from '../../util/json-files.ts';
import { documentsOf, documentText, queryText } from './content.ts';
import { type DialectPath, defineDialect, type Limits, type Marks, type QueryRequest } from './dialect.ts';
import { type AnswerForm, answerSchema, answerText, PLAIN_FORM, writeAnswer } from './documents-answer.ts';
import { type ErrorForm, stringErrors } from './errors.ts';
import {
  checkCount,
  commonFields,
  commonOptions,
  countFields,
  overruledFields,
  returnDocuments,
  topNOption,
} from './fields.ts';
import { flag } from './scalars.ts';
import { listNames } from './sent-names.ts';

/*
 * Bodies with `documents`, as Cohere's two versions, Jina, Voyage, Pinecone and Infinity have them: one reader takes what any of their clients
 * sends, and one writer answers with what any of their parsers reads.
 */

const TEXT = {
  type: 'object' as const,
  description: 'With `text`, or with `content`: a string or parts `{ "type": "text", "text": … }`.',
};

type Documents = readonly unknown[] | { readonly content: readonly unknown[] };

const isDocuments = (value: unknown): value is Documents =>
  Array.isArray(value) || (isObject(value) && Array.isArray(value.content));

/** The passages of a body. */
export const documentList = (description: string) =>
  z.custom<Documents>(isDocuments, { error: 'an array of strings or objects' }).meta({
    description,
    type: ['array', 'object'],
    anyOf: [
      { type: 'array', items: { anyOf: [{ type: 'string' }, TEXT, { type: 'array', items: TEXT }] }, minItems: 1 },
      { type: 'object', properties: { content: { type: 'array', items: TEXT } }, required: ['content'] },
    ],
  });

const queryContent = z
  .custom<unknown>((value) => typeof value === 'string' || (typeof value === 'object' && value !== null), {
    error: 'a string',
  })
  .meta({
    description: 'What the passages are ranked for: a string, or content parts of type text.',
    type: ['string', 'object', 'array'],
    anyOf: [{ type: 'string' }, TEXT, { type: 'array', items: TEXT }],
  });

/** Fields of every body with a list of documents; the list itself has two names. */
export const documentFields = {
  query: queryContent,
  ...countFields,
  rank_fields: z
    .array(z.string().min(1))
    .max(64)
    .nullish()
    .meta({ description: 'Fields of object documents that are ranked, in this order; `text` if absent.' }),
  use_activation: flag('vLLM: false asks for raw scores.'),
  ...commonFields,
};

const documentsBody = z.object({
  ...documentFields,
  documents: documentList(
    'Passages: strings, or objects with a string field `text` (or those named by `rank_fields`).',
  ),
  return_documents: returnDocuments,
});

type DocumentsBody = z.infer<typeof documentsBody>;

/** Whether a body asks for scores before the activation. */
export const wantsRaw = (body: Pick<DocumentsBody, 'raw_scores' | 'use_activation'>) =>
  body.raw_scores ?? body.use_activation === false;

/** Fields of object documents that are ranked; undefined where the body names none. */
export const fieldsOf = ({ rank_fields: fields }: Pick<DocumentsBody, 'rank_fields'>) =>
  fields?.length ? fields : undefined;

/**
 * Reads the request out of a body with a list of documents.
 * @param field name of the list.
 * @throws WinnowError `empty_passages`, `too_many_passages`, `invalid_field` naming the document.
 */
export function documentsRequest(
  body: Omit<DocumentsBody, 'documents' | 'return_documents'>,
  list: readonly unknown[],
  field: string,
  limits: Limits,
): readonly QueryRequest[] {
  checkCount(list.length, field, limits);
  const fields = fieldsOf(body);
  return [
    {
      ...commonOptions(body),
      ...topNOption(body),
      query: queryText(body.query),
      passages: list.map((document, i) => documentText(document, fields, `${field}[${i}]`)),
      names: listNames(field),
    },
  ];
}

interface DocumentsDialect {
  readonly marks?: Marks;
  readonly name: string;
  readonly title: string;
  readonly clients?: string;
  readonly paths: readonly DialectPath[];
  /** Name of the schema of its bodies in the API's description; answers are `…Answer`. */
  readonly id: string;
  readonly form?: Partial<AnswerForm>;
  /** Absent: errors whose `error` is a string. */
  readonly errors?: ErrorForm;
  /** Name that clients send for the default model. */
  readonly defaultModel?: string;
}

/** Defines a dialect that ranks `documents` and answers with `results`, and with `data` in the same order. */
export function defineDocumentsDialect(dialect: DocumentsDialect) {
  const { title, clients, id, form: own, defaultModel, errors, ...declared } = dialect;
  const form: AnswerForm = { ...PLAIN_FORM, ...own };
  return defineDialect({
    ...declared,
    docs: {
      title,
      summary: 'Rank passages',
      answer: answerText(form),
      ...(clients ? { clients } : {}),
    },
    listField: 'documents',
    errors: errors ?? stringErrors,
    schema: documentsBody.meta({ id: `${id}Request` }),
    answer: answerSchema(form),
    toRequests(body, limits) {
      const { list, field } = documentsOf(body.documents);
      const model = body.model === defaultModel ? undefined : body.model;
      return documentsRequest({ ...body, model }, list, field, limits);
    },
    idleFields: (body) => overruledFields(body),
    toAnswer: (body, answers, context) =>
      writeAnswer(form, answers[0]!, context, {
        raw: wantsRaw(body),
        documents: body.return_documents ? documentsOf(body.documents).list : undefined,
        fields: fieldsOf(body),
      }),
  });
}
