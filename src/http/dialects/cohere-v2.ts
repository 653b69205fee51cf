import { defineDialect } from './dialect.ts';
import { documentsAnswer, documentsBody, documentsRequest, documentsWriter } from './documents.ts';
import { errorBody } from './errors.ts';

/** Cohere's `POST /v2/rerank` (docs.cohere.com/reference/rerank), with `return_documents` as an extra. */
export const cohereV2 = defineDialect({
  name: 'cohere-v2',
  schema: documentsBody.meta({ id: 'CohereV2Request' }),
  answer: documentsAnswer,
  toRequests: documentsRequest,
  toAnswer: documentsWriter('2'),
  toError: errorBody,
});
