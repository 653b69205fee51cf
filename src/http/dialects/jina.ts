import { defineDocumentsDialect } from './documents.ts';

/**
 * Jina's re-rank API, which vLLM, llama.cpp, LocalAI, Xinference and others share. Unlike Jina's own service, it returns texts only when
 * `return_documents` asks for them.
 */
export const jina = defineDocumentsDialect({
  name: 'jina',
  title: 'Jina',
  clients: 'vLLM, llama.cpp, LocalAI, Xinference, LiteLLM, Dify, Open WebUI',
  paths: [
    { path: '/rerank' },
    { path: '/reranking', note: 'llama.cpp' },
    { path: '/v1/reranking', note: 'llama.cpp' },
    { path: '/', note: 'SageMaker form of TEI' },
    { path: '/invocations', note: 'SageMaker' },
    { path: '/reranks', note: 'DashScope, LiteLLM' },
    { path: '/v1/reranks', note: 'DashScope, LiteLLM' },
    { path: '/compatible-api/v1/reranks', note: 'DashScope, LiteLLM' },
  ],
  id: 'Jina',
});
