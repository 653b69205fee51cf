import { type DestinationStream, type Logger, pino } from 'pino';
import { WinnowError } from '../errors.ts';
import { censored, redacted, SECRET_FIELDS } from './redaction.ts';

export type { Logger } from 'pino';

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'silent';

/**
 * Returns an error as the log shows it. A client error has code and field only, because its message quotes the request. A server error
 * keeps message, stack and cause.
 */
function serializeError(error: unknown): unknown {
  if (!(error instanceof Error)) return { message: String(error) };
  if (error instanceof WinnowError && error.status < 500)
    return { code: error.code, status: error.status, ...(error.params.field ? { field: error.params.field } : {}) };
  return {
    ...(error instanceof WinnowError ? { code: error.code, status: error.status } : { type: error.name }),
    message: error.message,
    stack: error.stack,
    ...(error.cause === undefined ? {} : { cause: serializeError(error.cause) }),
  };
}

/** Most characters that wait where standard output cannot be written, such as on a full disk; newer lines are dropped. */
const MAX_WAITING = 2 ** 20;

/** Returns standard output as a destination whose failures cost log lines, not the process. */
function standardOutput(): DestinationStream {
  const stream = pino.destination({ fd: 1, sync: true, maxLength: MAX_WAITING });
  stream.on('error', () => {});
  return stream;
}

/**
 * Returns a logger that writes one JSON object per line to standard output (or `destination`): `time` in ISO 8601, `level` as a word, `msg`.
 * Document text, keys and cookies are redacted by field name; client errors appear without text of the request.
 */
export function createLogger(level: LogLevel, destination?: DestinationStream): Logger {
  const options = {
    level,
    base: {},
    messageKey: 'msg',
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }), log: redacted },
    // For the fields of child loggers, which no formatter sees.
    redact: { paths: SECRET_FIELDS.map((field) => `["${field}"]`), censor: censored },
    serializers: { err: serializeError, error: serializeError },
  };
  return pino(options, destination ?? standardOutput());
}
