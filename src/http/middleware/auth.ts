import type { Request, RequestHandler } from 'express';
import { WinnowError } from '../../errors.ts';
import { exchangeOf, header } from '../exchange.ts';
import { ANONYMOUS, type ApiKey, type Caller, findKey, mayUse, type Scope } from '../keys.ts';

/** The key in the request: `Authorization: Bearer KEY` or `Authorization: KEY`, else `X-API-Key` or `API-Key`. */
function keyOf(req: Request): string | undefined {
  const authorization = header(req, 'authorization')?.trim();
  if (authorization) return authorization.replace(/^bearer\s+/i, '');
  return header(req, 'x-api-key')?.trim() || header(req, 'api-key')?.trim() || undefined;
}

function callerOf(req: Request, keys: readonly ApiKey[]): Caller {
  if (keys.length === 0) return ANONYMOUS;
  const key = keyOf(req);
  if (!key) throw new WinnowError('unauthorized', { got: 'none' });
  const found = findKey(keys, key);
  if (!found) throw new WinnowError('unauthorized', { got: 'an unknown one' });
  return { name: found.name, scopes: found.scopes };
}

/** Refuses callers without a scope. @throws WinnowError `unauthorized`, `forbidden`. */
export function requireScope(keys: readonly ApiKey[], scope: Scope): RequestHandler {
  return function checkCaller(req, res, next) {
    const caller = callerOf(req, keys);
    exchangeOf(res).caller = caller;
    if (!mayUse(caller, scope)) throw new WinnowError('forbidden', { scope, got: caller.scopes.join(', ') });
    next();
  };
}
