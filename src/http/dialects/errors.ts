import type { WinnowError } from '../../errors.ts';
import type { ErrorBody } from './dialect.ts';

/**
 * The body every error has, whatever the dialect: `error` and `error_type` for clients of Text Embeddings Inference, Weaviate and KServe,
 * `message` for Cohere's, `detail` for Jina's, Voyage's and NIM's; `code` is the stable name in docs/errors.md.
 */
export function errorBody(error: WinnowError, requestId: string): ErrorBody {
  return {
    error: error.message,
    error_type: error.type,
    message: error.message,
    detail: error.message,
    code: error.code,
    request_id: requestId,
  };
}

/** As vLLM and OpenAI write it: `error` is an object. */
export function objectErrorBody(error: WinnowError, requestId: string): ErrorBody {
  return {
    ...errorBody(error, requestId),
    object: 'error',
    type: error.type,
    error: { message: error.message, type: error.type, code: error.code },
  };
}
