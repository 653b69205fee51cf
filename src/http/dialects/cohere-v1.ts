import { z } from 'zod';
import { defineDialect } from './dialect.ts';
import { documentsAnswer, documentsBody, documentsRequest, documentsWriter } from './documents.ts';
import { errorBody } from './errors.ts';

/** Cohere's `POST /v1/rerank` (docs.cohere.com/v1/reference/rerank). `max_chunks_per_doc` is taken and has no effect. */
export const cohereV1 = defineDialect({
  name: 'cohere-v1',
  schema: documentsBody
    .extend({
      max_chunks_per_doc: z
        .number()
        .nullish()
        .meta({ description: 'Taken, without effect: `long_passages` says what happens to long passages.' }),
    })
    .meta({ id: 'CohereV1Request' }),
  answer: documentsAnswer,
  toRequests: documentsRequest,
  toAnswer: documentsWriter('1'),
  toError: errorBody,
});
