/**
 * An entry of the error catalog: the HTTP status, the `error_type` that clients of Text Embeddings Inference know, and a message template.
 * `{name}` in a template stands for the parameter of that name. Code throws a WinnowError; only the HTTP error middleware and the command
 * line turn it into an answer.
 */
interface ErrorEntry {
  readonly status: number;
  /** In CamelCase, as Text Embeddings Inference spells it. */
  readonly type: string;
  readonly message: string;
}

/** Every failure by its code, which stays the same from release to release. */
export const CATALOG = {
  // Requests
  malformed_json: {
    status: 400,
    type: 'Validation',
    message: 'expected a JSON body, got text that does not parse: {reason}',
  },
  malformed_http: { status: 400, type: 'Validation', message: 'expected an HTTP/1.1 request, got {reason}' },
  headers_too_large: {
    status: 431,
    type: 'Validation',
    message: 'expected headers of at most {limit} bytes, got more',
  },
  unsupported_media_type: {
    status: 415,
    type: 'Validation',
    message: 'expected content-type application/json, got {got}',
  },
  body_too_large: { status: 413, type: 'Validation', message: 'expected a body of at most {limit} bytes, got {got}' },
  body_too_complex: {
    status: 413,
    type: 'Validation',
    message: 'expected a JSON body of at most {limit} {what}, got more',
  },
  invalid_field: { status: 422, type: 'Validation', message: 'expected {expected}, got {got} ({field})' },
  empty_passages: {
    status: 400,
    type: 'Empty',
    message: 'expected at least 1 passage, got 0 (`{field}` cannot be empty)',
  },
  too_many_passages: {
    status: 422,
    type: 'Validation',
    message: 'expected at most {limit} passages, got {got} ({field})',
  },
  passage_too_long: {
    status: 422,
    type: 'Validation',
    message: 'expected at most {limit} tokens, got {got} ({field}); allow truncation or shorten it',
  },
  unknown_dialect: {
    status: 422,
    type: 'Validation',
    message: 'expected a body with `query` and {fields}, got {got}',
  },
  unauthorized: {
    status: 401,
    type: 'Unauthorized',
    message: 'expected a valid API key in `Authorization: Bearer`, got {got}',
  },
  forbidden: { status: 403, type: 'Forbidden', message: 'expected a key with scope {scope}, got one with {got}' },
  not_local: {
    status: 403,
    type: 'Forbidden',
    message:
      'expected a client on the machine of the service for scope {scope}, because no keys are configured, got {got}; set auth.keysFile (WINNOW_AUTH_KEYS_FILE) to a file of keys',
  },
  cross_site: {
    status: 403,
    type: 'Forbidden',
    message: 'expected a request of this origin or of one in server.corsOrigins, got one of {got}',
  },
  unknown_host: {
    status: 403,
    type: 'Forbidden',
    message: 'expected an IP address, a name without a dot or a name in server.hosts as Host, got {got}',
  },
  rate_limited: {
    status: 429,
    type: 'Overloaded',
    message: 'expected at most {limit} {what} a minute for this {who}, got more; retry after {seconds} s',
  },
  not_found: { status: 404, type: 'NotFound', message: 'expected a known route, got {method} {path}; {known}' },
  method_not_allowed: { status: 405, type: 'Validation', message: 'expected {allowed}, got {method}' },
  client_closed: { status: 499, type: 'Cancelled', message: 'the client closed the connection' },
  request_timeout: {
    status: 408,
    type: 'Timeout',
    message: 'expected the whole request within {seconds} s, got a slower client',
  },
  // Models
  unknown_model: {
    status: 404,
    type: 'NotFound',
    message: 'expected one of {known}, got model {got}; registry.aliases gives a model further names',
  },
  unknown_version: {
    status: 404,
    type: 'NotFound',
    message: 'expected a version or label of {model} ({known}), got {got}; registry.aliases gives it further names',
  },
  model_refused: { status: 422, type: 'ModelRefused', message: '{model}@{version} was refused: {reason}' },
  model_not_ready: { status: 503, type: 'Unhealthy', message: '{model} is not ready: {reason}' },
  invalid_manifest: { status: 422, type: 'ModelRefused', message: '{file}: expected {expected}, got {got} ({field})' },
  unsafe_path: {
    status: 422,
    type: 'ModelRefused',
    message: '{file}: expected a path inside the model folder, got {got}',
  },
  hash_mismatch: { status: 422, type: 'ModelRefused', message: '{file}: expected sha256 {expected}, got {got}' },
  passage_cache_off: {
    status: 409,
    type: 'Conflict',
    message: 'expected a server that keeps passages, got cache.passageBytes 0; set it to the bytes of memory for them',
  },
  // Load and deadlines
  overloaded: {
    status: 429,
    type: 'Overloaded',
    message: 'Model is overloaded: expected wait {waitMs} ms; retry after {seconds} s',
  },
  too_many_bytes: {
    status: 429,
    type: 'Overloaded',
    message:
      'expected room for the body among requests in flight ({limit} bytes), got {held} bytes held already; retry after {seconds} s',
  },
  deadline_exceeded: { status: 504, type: 'Timeout', message: 'expected an answer within {deadlineMs} ms, got none' },
  shutting_down: { status: 503, type: 'Unhealthy', message: 'the server is shutting down' },
  // Inference
  inference_failed: { status: 500, type: 'Backend', message: 'Backend error: {reason}' },
  host_lost: { status: 503, type: 'Backend', message: 'the inference host was lost twice with this batch: {reason}' },
  no_host: {
    status: 503,
    type: 'Unhealthy',
    message: 'expected an inference host that can run a batch, got none for {outageSeconds} s: {reason}',
  },
  not_started: {
    status: 503,
    type: 'Unhealthy',
    message: 'expected a server that has started, got one that does not answer requests yet: {reason}',
  },
  tokenization_failed: { status: 500, type: 'Tokenizer', message: 'the tokenizer failed: {reason}' },
  not_a_number: { status: 424, type: 'Backend', message: 'score is NaN (row {row})' },
  provider_unavailable: {
    status: 500,
    type: 'Backend',
    message: 'expected provider {provider}, got {available}; {cure}',
  },
  // Experiments
  unknown_experiment: { status: 404, type: 'NotFound', message: 'expected one of {known}, got experiment {got}' },
  unknown_request: {
    status: 404,
    type: 'NotFound',
    message: 'expected a request id or unit seen in the last {days} days, got {got}',
  },
  outcome_conflict: {
    status: 409,
    type: 'Conflict',
    message:
      'expected the outcome of {metric} that key {key} was first sent with, got another value, request, unit or item',
  },
  experiment_in_file: {
    status: 409,
    type: 'Conflict',
    message: 'expected an experiment made through the API, got {name}, which {file} defines; change it there',
  },
  store_unavailable: { status: 503, type: 'Unhealthy', message: 'the experiment database does not answer: {reason}' },
  invalid_experiments: { status: 422, type: 'Validation', message: '{file}: expected {expected}, got {got} ({field})' },
  // Commands
  invalid_config: { status: 500, type: 'Config', message: 'the configuration has {count} fault(s):\n{faults}' },
  invalid_input: { status: 422, type: 'Validation', message: '{where}: expected {expected}, got {got}' },
  in_use: {
    status: 409,
    type: 'Conflict',
    message: '{where}: expected no other process at work there, got {got}; {cure}',
  },
  unsupported_op: {
    status: 422,
    type: 'Unsupported',
    message: 'expected an op with a gradient rule, got {op} (node {node}); freeze that part or use another backbone',
  },
  invalid_graph: { status: 422, type: 'ModelRefused', message: '{where}: expected {expected}, got {got}' },
  training_diverged: { status: 500, type: 'Training', message: 'training stopped at step {step}: {reason}' },
  optimizer_failed: {
    status: 500,
    type: 'Training',
    message: 'the optimizer failed: {reason}; resume from the last checkpoint',
  },
  internal: {
    status: 500,
    type: 'Internal',
    message: 'internal fault; the log has its cause under request id {requestId}',
  },
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof CATALOG;

export type ErrorParams = Readonly<Record<string, string | number | boolean>>;

function render(template: string, params: ErrorParams): string {
  return template.replace(/\{(\w+)\}/g, (whole, name: string) => (name in params ? String(params[name]) : whole));
}

/** A failure with a code of the catalog; `params` fill in the message template of the code. */
export class WinnowError extends Error {
  override readonly name = 'WinnowError';
  readonly code: ErrorCode;
  readonly params: ErrorParams;

  constructor(code: ErrorCode, params: ErrorParams = {}, options?: ErrorOptions) {
    super(render(CATALOG[code].message, params), options);
    this.code = code;
    this.params = params;
  }

  get status(): number {
    return CATALOG[this.code].status;
  }

  get type(): string {
    return CATALOG[this.code].type;
  }
}

/** Describes a value for a message *expected X, got Y*: type, and the value or its first 57 characters. */
export function describe(value: unknown): string {
  if (value === null) return 'null';
  if (value === undefined) return 'nothing';
  if (Array.isArray(value)) return `an array of ${value.length}`;
  if (typeof value === 'string') return value.length > 60 ? `"${value.slice(0, 57)}…" (string)` : `"${value}" (string)`;
  if (typeof value === 'number' || typeof value === 'boolean') return `${value} (${typeof value})`;
  return typeof value;
}
