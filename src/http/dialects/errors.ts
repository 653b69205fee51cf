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

const listSchema = objectSchema
  .extend({
    detail: z.union([
      z.string(),
      z.array(z.object({ type: z.string(), loc: z.array(z.union([z.string(), z.number()])), msg: z.string() })),
    ]),
  })
  .meta({ id: 'ListError', description: 'As FastAPI writes it: the `detail` of 400 and 422 is a list.' });

type ErrorBody = z.infer<typeof stringSchema> | z.infer<typeof objectSchema> | z.infer<typeof listSchema>;

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

function objectBody(error: WinnowError, requestId: string): z.infer<typeof objectSchema> {
  return {
    ...errorBody(error, requestId),
    object: 'error',
    type: error.type,
    error: { message: error.message, type: error.type, code: error.code },
  };
}

/** As vLLM and OpenAI write it: `error` is an object. */
export const objectErrors: ErrorForm = { schema: objectSchema, body: objectBody };

/** Splits `passages[1].text` into the steps that lead there. */
const stepsOf = (field: string): (string | number)[] =>
  [...field.matchAll(/[^.[\]]+/g)].map(([step]) => (/^\d+$/.test(step) ? Number(step) : step));

/** As NIM's and Infinity's clients read it: `detail` of a refused body is a list, as FastAPI writes it. They decode no other form. */
export const listErrors: ErrorForm = {
  schema: listSchema,
  body(error, requestId) {
    const body = objectBody(error, requestId);
    if (error.status !== 400 && error.status !== 422) return body;
    const { field } = error.params;
    const loc = ['body', ...(field === undefined || field === 'body' ? [] : stepsOf(String(field)))];
    return { ...body, detail: [{ type: error.code, loc, msg: error.message }] };
  },
};
