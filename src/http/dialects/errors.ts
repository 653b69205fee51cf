import { z } from 'zod';
import type { WinnowError } from '../../errors.ts';

/** How a dialect's clients expect an error. */
export interface ErrorForm {
  /** Schema of the body, for the API's description. */
  readonly schema: z.ZodType;
  body(error: WinnowError, requestId: string): ErrorBody;
}

const commonFields = {
  error_type: z.string().meta({ description: 'Kind, as Text Embeddings Inference spells it.' }),
  message: z.string(),
  detail: z.string(),
  code: z.string().meta({ description: 'Stable name; docs/errors.md has them all.' }),
  request_id: z.string(),
};

const stringSchema = z.object({ error: z.string(), ...commonFields }).meta({ id: 'Error' });

const objectSchema = z
  .object({
    ...commonFields,
    object: z.literal('error'),
    type: z.string(),
    error: z.object({ message: z.string(), type: z.string(), code: z.string() }),
  })
  .meta({ id: 'ObjectError', description: "As vLLM's and NIM's clients read it." });

type ErrorBody = z.infer<typeof stringSchema> | z.infer<typeof objectSchema>;

/**
 * Returns the body every error has, whatever the dialect: `error` and `error_type` for clients of Text Embeddings Inference, Weaviate and
 * KServe, `message` for Cohere's, `detail` for Jina's, Voyage's and NIM's; `code` is the stable name in docs/errors.md.
 */
export function errorBody(error: WinnowError, requestId: string): z.infer<typeof stringSchema> {
  return {
    error: error.message,
    error_type: error.type,
    message: error.message,
    detail: error.message,
    code: error.code,
    request_id: requestId,
  };
}

/** `error` is a string. */
export const stringErrors: ErrorForm = { schema: stringSchema, body: errorBody };

/** As vLLM and OpenAI write it: `error` is an object. */
export const objectErrors: ErrorForm = {
  schema: objectSchema,
  body: (error, requestId) => ({
    ...errorBody(error, requestId),
    object: 'error',
    type: error.type,
    error: { message: error.message, type: error.type, code: error.code },
  }),
};
