import { defineDialect } from './dialect.ts';
import { documentsAnswer, documentsBody, documentsRequest, documentsWriter } from './documents.ts';
import { errorBody } from './errors.ts';

/**
 * Jina's re-rank API, which vLLM, llama.cpp, LocalAI, Xinference and others share. Unlike Jina itself, text comes back only when
 * `return_documents` asks for it.
 */
export const jina = defineDialect({
  name: 'jina',
  schema: documentsBody.meta({ id: 'JinaRequest' }),
  answer: documentsAnswer,
  toRequests: documentsRequest,
  toAnswer: documentsWriter('1'),
  toError: errorBody,
});
