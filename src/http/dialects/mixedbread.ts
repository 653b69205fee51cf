import { z } from 'zod';
import { defineDialect } from './dialect.ts';
import { documentFields, documentsRequest, fieldsOf, wantsRaw } from './documents.ts';
import { type AnswerForm, answerSchema, answerText, PLAIN_FORM, writeAnswer } from './documents-answer.ts';
import { stringErrors } from './errors.ts';
import { differ, overruledFields, returnDocuments } from './fields.ts';
import { flag } from './scalars.ts';

const FORM: AnswerForm = {
  ...PLAIN_FORM,
  id: 'MixedbreadAnswer',
  data: { scores: ['score'], field: 'input', document: 'sent' },
};

const schema = z
  .object({
    ...documentFields,
    input: z.array(z.unknown()).meta({
      description: 'Passages: strings, or objects with a string field `text` (or those named by `rank_fields`).',
      items: { anyOf: [{ type: 'string' }, { type: 'object' }] },
      minItems: 1,
    }),
    return_input: flag('Put each passage into its result.'),
    return_documents: returnDocuments,
  })
  .meta({ id: 'MixedbreadRequest' });

/** mixedbread's `POST /v1/reranking`: passages under `input`, results under `data`. */
export const mixedbread = defineDialect({
  name: 'mixedbread',
  docs: {
    title: 'mixedbread',
    clients: 'rerankers',
    summary: 'Rank passages',
    answer: answerText(FORM),
  },
  paths: [],
  marks: {
    paths: ['/rerank', '/v1/rerank', '/v2/rerank', '/reranking', '/v1/reranking', '/', '/invocations'],
    text: '`input`, a list, without `documents`, `texts` or `passages`',
    matches: (body) => Array.isArray(body.input) && !['documents', 'texts', 'passages'].some((name) => name in body),
  },
  listField: 'input',
  errors: stringErrors,
  schema,
  answer: answerSchema(FORM),
  toRequests: (body, limits) => documentsRequest(body, body.input, 'input', limits),
  idleFields: (body) => [
    ...overruledFields(body),
    ...(differ(body.return_input, body.return_documents) ? ['return_documents'] : []),
  ],
  toAnswer: (body, answers, context) =>
    writeAnswer(FORM, answers[0]!, context, {
      raw: wantsRaw(body),
      documents: (body.return_input ?? body.return_documents) ? body.input : undefined,
      fields: fieldsOf(body),
    }),
});
