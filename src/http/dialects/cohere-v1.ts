import { defineDocumentsDialect } from './documents.ts';

/** Cohere's `POST /v1/rerank` (docs.cohere.com/v1/reference/rerank). */
export const cohereV1 = defineDocumentsDialect({
  name: 'cohere-v1',
  title: 'Cohere v1',
  clients: 'OpenSearch',
  paths: [{ path: '/v1/rerank' }],
  id: 'CohereV1',
});
