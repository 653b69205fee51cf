import type { Request, RequestHandler } from 'express';
import { WinnowError } from '../../errors.ts';
import { exchangeOf, header } from '../exchange.ts';
import {
  ANONYMOUS,
  type ApiKey,
  type Caller,
  findKey,
  mayUse,
  REMOTE,
  type Scope,
  scopeRefusal,
  separatesOutcomes,
} from '../keys.ts';
import { isLocal } from '../peer.ts';

/** The key in the request: `Authorization: Bearer KEY` or `Authorization: KEY`, else `X-API-Key` or `API-Key`. */
function keyOf(req: Request): string | undefined {
  const authorization = header(req, 'authorization')?.trim();
  if (authorization) return authorization.replace(/^bearer\s+/i, '');
  return header(req, 'x-api-key')?.trim() || header(req, 'api-key')?.trim() || undefined;
}

function callerOf(req: Request, keys: readonly ApiKey[]): Caller {
  if (keys.length === 0) return isLocal(req) ? ANONYMOUS : REMOTE;
  const key = keyOf(req);
  if (!key) throw new WinnowError('unauthorized', { got: 'none' });
  const found = findKey(keys, key);
  if (!found) throw new WinnowError('unauthorized', { got: 'an unknown one' });
  return { name: found.name, scopes: found.scopes };
}

/**
 * Refuses callers without a scope. Without keys, scope `admin` is for clients on this machine only.
 * @throws WinnowError `unauthorized`, `forbidden`, `not_local`.
 */
export function requireScope(keys: readonly ApiKey[], wanted: Scope): RequestHandler {
  const scope = wanted === 'outcomes' && !separatesOutcomes(keys) ? 'rerank' : wanted;
  return function checkCaller(req, res, next) {
    const caller = callerOf(req, keys);
    exchangeOf(res).caller = caller;
    if (!mayUse(caller, scope)) throw scopeRefusal(caller, scope);
    next();
  };
}
