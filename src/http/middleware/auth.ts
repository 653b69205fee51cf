import type { Request, RequestHandler, Response } from 'express';
import { WinnowError } from '../../errors.ts';
import { exchangeOf, textHeader } from '../exchange.ts';
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
import type { MinuteBudget } from '../minute-budget.ts';
import { isLocal } from '../peer.ts';
import { checkFailures, countFailure } from './rate-limit.ts';

/** The key in the request: `Authorization: Bearer KEY` or `Authorization: KEY`, else `X-API-Key` or `API-Key`. */
function keyOf(req: Request): string | undefined {
  const authorization = textHeader(req, 'authorization')?.trim();
  if (authorization) return authorization.replace(/^bearer\s+/i, '');
  return textHeader(req, 'x-api-key')?.trim() || textHeader(req, 'api-key')?.trim() || undefined;
}

/** Who may call, and what requests without a valid key have used up of their minute. */
export interface Access {
  /** Returns the keys in effect now. */
  readonly keys: () => readonly ApiKey[];
  readonly failures: MinuteBudget;
}

function callerOf(req: Request, res: Response, { keys: inEffect, failures }: Access): Caller {
  const keys = inEffect();
  if (keys.length === 0) return isLocal(req) ? ANONYMOUS : REMOTE;
  checkFailures(failures, res);
  const key = keyOf(req);
  const found = key === undefined ? undefined : findKey(keys, key);
  if (found) return { name: found.name, scopes: found.scopes };
  countFailure(failures, res, key === undefined ? 'none' : 'wrong');
  throw new WinnowError('unauthorized', { got: key === undefined ? 'none' : 'an unknown one' });
}

/**
 * Refuses callers without a scope. Without keys, scope `admin` is for clients on this machine only.
 * @throws WinnowError `rate_limited`, `unauthorized`, `forbidden`, `not_local`.
 */
export function requireScope(access: Access, wanted: Scope): RequestHandler {
  return function checkCaller(req, res, next) {
    const scope = wanted === 'outcomes' && !separatesOutcomes(access.keys()) ? 'rerank' : wanted;
    const caller = callerOf(req, res, access);
    exchangeOf(res).caller = caller;
    if (!mayUse(caller, scope)) throw scopeRefusal(caller, scope);
    next();
  };
}
