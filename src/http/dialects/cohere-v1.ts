import { defineDocumentsDialect, documentsBody } from './documents.ts';
import { decimal } from './scalars.ts';

/** Cohere's `POST /v1/rerank` (docs.cohere.com/v1/reference/rerank). `max_chunks_per_doc` is accepted and has no effect. */
export const cohereV1 = defineDocumentsDialect({
  name: 'cohere-v1',
  title: 'Cohere v1',
  clients: 'OpenSearch',
  apiVersion: '1',
  paths: [{ path: '/v1/rerank' }],
  schema: documentsBody
    .extend({
      max_chunks_per_doc: decimal(
        -1e15,
        1e15,
        'Accepted without effect: `long_passages` says what happens to long passages.',
      ),
    })
    .meta({ id: 'CohereV1Request' }),
});
