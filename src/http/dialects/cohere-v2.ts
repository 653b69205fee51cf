import { defineDocumentsDialect } from './documents.ts';

/** Cohere's `POST /v2/rerank` (docs.cohere.com/reference/rerank), with `return_documents` as an extra. */
export const cohereV2 = defineDocumentsDialect({
  name: 'cohere-v2',
  title: 'Cohere v2',
  paths: [{ path: '/v2/rerank' }],
  id: 'CohereV2',
  form: { apiVersion: '2' },
});
