import { randomUUID } from 'node:crypto';
import type { IncomingMessage, RequestListener, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { WinnowError } from '../errors.ts';
import { errorBody } from './dialects/errors.ts';

// An import of `node:http` reads all its exports; `WebSocket` is one of them and loads undici, which takes 50 ms of a start.
const { createServer: createHttpServer, STATUS_CODES } = process.getBuiltinModule('node:http');

interface ServerOptions {
  /** How long a client may take for its headers, and then for its body, in milliseconds. */
  readonly headerTimeoutMs: number;
  readonly bodyLimitBytes: number;
  /** How long a connection rests between two requests, in milliseconds. Default 65 000: longer than the usual 60 s of load balancers. */
  readonly keepAliveMs?: number;
  /** Connections open at once; further ones are closed. No limit if absent. */
  readonly maxConnections?: number;
  /** Called for each connection that is closed because of the limit. */
  readonly onDrop?: () => void;
}

/** Faults of Node's HTTP parser with an error code of their own. */
const FAULTS: Readonly<Record<string, (headerTimeoutMs: number) => WinnowError>> = {
  HPE_HEADER_OVERFLOW: () => new WinnowError('headers_too_large', { limit: 16_384 }),
  ERR_HTTP_REQUEST_TIMEOUT: (ms) => new WinnowError('request_timeout', { seconds: ms / 1000 }),
};

/** Returns a complete HTTP response for a connection without a valid request. */
function rawErrorResponse(error: WinnowError, requestId: string): string {
  const body = JSON.stringify(errorBody(error, requestId));
  return [
    `HTTP/1.1 ${error.status} ${STATUS_CODES[error.status] ?? 'Error'}`,
    'connection: close',
    'content-type: application/json; charset=utf-8',
    `content-length: ${Buffer.byteLength(body)}`,
    `x-request-id: ${requestId}`,
    '',
    body,
  ].join('\r\n');
}

function answerClientError(headerTimeoutMs: number) {
  return (fault: NodeJS.ErrnoException, socket: Duplex): void => {
    if (fault.code === 'ECONNRESET' || !socket.writable) {
      socket.destroy();
      return;
    }
    const known = FAULTS[fault.code ?? ''];
    const error = known?.(headerTimeoutMs) ?? new WinnowError('malformed_http', { reason: fault.message });
    socket.end(rawErrorResponse(error, randomUUID()));
  };
}

const announcedBytes = (req: IncomingMessage) => Number(req.headers['content-length'] ?? 0);

/**
 * Creates an HTTP server around the app, with time limits for slow clients; call `listen` on it. Requests that Node's parser refuses get a
 * JSON error too.
 */
export function createServer(app: RequestListener, options: ServerOptions): Server {
  const { headerTimeoutMs, bodyLimitBytes, keepAliveMs = 65_000, maxConnections, onDrop } = options;
  const server = createHttpServer(
    {
      headersTimeout: headerTimeoutMs,
      // The app answers a slow body itself; this limit is the fallback.
      requestTimeout: 3 * headerTimeoutMs,
      connectionsCheckingInterval: Math.min(5000, headerTimeoutMs),
      // Rest between requests is no slow header: Node counts the time for headers from their first byte.
      keepAliveTimeout: keepAliveMs,
    },
    app,
  );
  if (maxConnections !== undefined) server.maxConnections = maxConnections;
  if (onDrop) server.on('drop', onDrop);
  server.on('clientError', answerClientError(headerTimeoutMs));
  server.on('checkContinue', (req, res) => {
    // A client that asks first does not send a body that would be refused.
    if (announcedBytes(req) <= bodyLimitBytes) res.writeContinue();
    app(req, res);
  });
  return server;
}
