import { randomUUID } from 'node:crypto';
import type { RequestListener } from 'node:http';
import { WinnowError } from '../errors.ts';
import { errorBody } from './dialects/errors.ts';
import { partsOf } from './middleware/path.ts';
import { PROBES } from './probes.ts';

/**
 * Answers for a server that listens and has not started yet: it is live and not ready, and every route but the probes answers 503.
 * @param waitsFor returns what the start waits for.
 */
export function answerWhileStarting(basePath: string, waitsFor: () => string): RequestListener {
  return function answerEarly(req, res) {
    const isRead = req.method === 'GET' || req.method === 'HEAD';
    const probe = isRead ? PROBES.get(partsOf(req.url ?? '/', basePath).path) : undefined;
    const requestId = randomUUID();
    const reason = waitsFor();
    const refusal = new WinnowError('not_started', { reason });
    const { status, body } = probe?.({ live: true, ready: false, notReadyReason: reason }) ?? {
      status: refusal.status,
      body: errorBody(refusal, requestId),
    };
    res.statusCode = status;
    res.setHeader('x-request-id', requestId);
    // The next request should reach a server that has started, and a body that was not read ends here.
    res.setHeader('connection', 'close');
    if (status === 503) res.setHeader('retry-after', '1');
    if (body) res.setHeader('content-type', 'application/json; charset=utf-8');
    res.end(body && JSON.stringify(body));
  };
}
