import { defineDocumentsDialect } from './documents.ts';
import { listErrors } from './errors.ts';

/** Infinity's own path, to which its client posts whatever the address. */
const OWN_PATH = '/rerank';

/**
 * Infinity's `POST /rerank`. Its client sends `raw_scores` by default. Agno makes it leave the field out, and asks for no documents. LiteLLM
 * sends no `raw_scores` either and has a prefix of its own.
 */
export const infinity = defineDocumentsDialect({
  name: 'infinity',
  title: 'Infinity',
  clients: 'LangChain and Agno with its client',
  paths: [{ path: '/infinity/rerank', note: 'LiteLLM' }, { path: '/infinity/v1/rerank' }],
  marks: {
    paths: ['/rerank', '/v1/rerank', '/v2/rerank', '/reranking', '/v1/reranking', '/', '/invocations'],
    text: '`documents` and `raw_scores`; at `/rerank` also `documents` and `return_documents: false` sent by httpx (Agno)',
    matches(body, { sdk }, path) {
      if (!('documents' in body)) return false;
      if (body.raw_scores !== undefined && body.raw_scores !== null) return true;
      return path === OWN_PATH && body.return_documents === false && /^python-httpx\/\S+$/.test(sdk);
    },
  },
  id: 'Infinity',
  errors: listErrors,
  defaultModel: 'default/not-specified',
  form: {
    id: 'InfinityAnswer',
    object: 'rerank',
    document: 'text',
  },
});
