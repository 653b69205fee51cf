import { defineDocumentsDialect } from './documents.ts';

/** Infinity's `POST /rerank`. Its client always sends `raw_scores`; LiteLLM does not, and has a prefix of its own. */
export const infinity = defineDocumentsDialect({
  name: 'infinity',
  title: 'Infinity',
  clients: 'LangChain and Agno with its client',
  paths: [{ path: '/infinity/rerank', note: 'LiteLLM' }, { path: '/infinity/v1/rerank' }],
  marks: {
    paths: ['/rerank', '/v1/rerank', '/v2/rerank', '/reranking', '/v1/reranking', '/', '/invocations'],
    text: '`documents` and `raw_scores`',
    matches: (body) => 'documents' in body && body.raw_scores !== undefined && body.raw_scores !== null,
  },
  id: 'Infinity',
  defaultModel: 'default/not-specified',
  form: {
    id: 'InfinityAnswer',
    object: 'rerank',
    document: 'text',
  },
});
