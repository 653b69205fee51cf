import type { RequestHandler } from 'express';
import { ipKeyGenerator, rateLimit } from 'express-rate-limit';
import { WinnowError } from '../../errors.ts';
import { exchangeOf } from '../exchange.ts';
import { ANONYMOUS } from '../keys.ts';

const WINDOW_MS = 60_000;

/** Refuses more than `limit` requests per minute from one key, or from one address where there are no keys; 0 means no limit. */
export function limitRate(limit: number): RequestHandler {
  if (limit === 0) return (_req, _res, next) => next();
  return rateLimit({
    windowMs: WINDOW_MS,
    limit,
    standardHeaders: 'draft-8',
    legacyHeaders: false,
    identifier: 'requests-per-minute',
    // Forwarding headers from untrusted proxies are ignored on purpose, so the library's warnings are off.
    validate: { xForwardedForHeader: false, forwardedHeader: false },
    keyGenerator(req, res) {
      const name = exchangeOf(res).caller?.name ?? ANONYMOUS.name;
      return name === ANONYMOUS.name ? `address ${ipKeyGenerator(req.ip ?? '')}` : `key ${name}`;
    },
    handler(_req, res, next) {
      const seconds = Number(res.getHeader('retry-after')) || WINDOW_MS / 1000;
      next(new WinnowError('rate_limited', { limit, seconds }));
    },
  });
}
