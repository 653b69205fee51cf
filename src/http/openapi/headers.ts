/** A header as OpenAPI describes it. */
interface HeaderDoc {
  readonly description: string;
  readonly schema: {
    readonly type: 'string' | 'integer';
    readonly enum?: string[];
    readonly minimum?: number;
    readonly maximum?: number;
  };
}

const text = (description: string): HeaderDoc => ({ description, schema: { type: 'string' } });
const whole = (description: string): HeaderDoc => ({ description, schema: { type: 'integer', minimum: 0 } });

/** Headers that any scoring request may have. */
export const REQUEST_HEADERS: Readonly<Record<string, HeaderDoc>> = {
  'x-winnow-deadline-ms': {
    description: 'Deadline of the answer, in milliseconds from now.',
    schema: { type: 'integer', minimum: 1, maximum: 3_600_000 },
  },
  'x-winnow-lane': {
    description: 'Lane; `interactive` if absent.',
    schema: { type: 'string', enum: ['interactive', 'batch'] },
  },
  'x-winnow-unit': text('Unit that experiments assign by, as UTF-8 bytes.'),
  'x-user-id': text('User; experiments may assign by it. UTF-8 bytes.'),
  'x-session-id': text('Session; experiments may assign by it. UTF-8 bytes.'),
  'x-winnow-arm': text('Forces an arm; needs scope `admin`. The request leaves the experiment.'),
  'x-request-id': text(
    'Id of the request, up to 128 of `A-Z a-z 0-9 _ . : / + = @ -`; generated if absent or different.',
  ),
  traceparent: text('W3C trace context.'),
};

/** Headers of requests and answers with bytes of tensors. */
export const TENSOR_HEADERS: Readonly<Record<string, HeaderDoc>> = {
  'inference-header-content-length': whole('Length of the JSON in bytes, where bytes of tensors follow it.'),
};

/** Headers of scoring answers; the two of experiments only for requests in one. */
export const ANSWER_HEADERS: Readonly<Record<string, HeaderDoc>> = {
  'x-request-id': text('Id of the request.'),
  traceparent: text('W3C trace context of the answer.'),
  'x-winnow-model': text('`model@version` that scored.'),
  'x-winnow-truncated': whole('Passages that were truncated.'),
  'x-winnow-query-truncated': whole('Tokens of the query that were left out; absent if there are none.'),
  'x-winnow-ignored': text('Fields of the body without effect, separated by commas; absent if there are none.'),
  'x-winnow-repaired': whole('Texts in which NUL was dropped or halves of characters were replaced, if there are any.'),
  'x-winnow-priority': text('The priority that counted, if a negative one was sent without scope `admin`: 0.'),
  'x-winnow-experiment': text('Experiment of the request.'),
  'x-winnow-below-min-score': whole('Passages left out because of `min_score`; absent without it.'),
  'x-winnow-pruned': whole('Passages left out by `prune` before they were scored; absent without it.'),
  'x-winnow-kept-passages': whole(
    'Passages whose vector or states were in the passage cache; absent for models that read query and passage together.',
  ),
  'x-winnow-teams': text('Interleaved answers: the arms that contributed the first 20 results, in their order.'),
  'x-winnow-arm': text('Arm that answered.'),
  'x-compute-type': text('Execution provider.'),
  'x-compute-time': whole('Milliseconds in the service.'),
  'x-compute-characters': whole('Characters of queries and passages.'),
  'x-compute-tokens': whole('Tokens scored.'),
  'x-total-time': whole('Milliseconds in the service.'),
  'x-tokenization-time': whole('Milliseconds of tokenization.'),
  'x-queue-time': whole('Milliseconds in the queue.'),
  'x-inference-time': whole('Milliseconds of inference.'),
};
