import type { RequestHandler, Response } from 'express';
import { ipKeyGenerator, rateLimit } from 'express-rate-limit';
import { WinnowError } from '../../errors.ts';
import { exchangeOf } from '../exchange.ts';
import { ANONYMOUS } from '../keys.ts';
import type { MinuteBudget } from '../minute-budget.ts';

const WINDOW_MS = 60_000;

/** Requests that a refused one counts as, by what was wrong with its key. */
const FAILURE_COSTS = { none: 1, wrong: 10 } as const;

/** Returns the account of the client's address: IPv6 addresses count by network. */
const addressOf = (res: Response): string => `address ${ipKeyGenerator(exchangeOf(res).address)}`;

/** Returns the account that a request is counted on: its key, or its address where there are no keys. */
function accountOf(res: Response): string {
  const name = exchangeOf(res).caller?.name ?? ANONYMOUS.name;
  return name === ANONYMOUS.name ? addressOf(res) : `key ${name}`;
}

function rateLimited(limit: number, what: string, account: string, seconds: number): WinnowError {
  return new WinnowError('rate_limited', { limit, what, who: account.split(' ')[0]!, seconds });
}

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
    keyGenerator: (_req, res) => accountOf(res),
    handler(_req, res, next) {
      const seconds = Number(res.getHeader('retry-after')) || WINDOW_MS / 1000;
      next(rateLimited(limit, 'requests', accountOf(res), seconds));
    },
  });
}

/** Refuses an address whose requests without a valid key used up its minute. Runs before the key is looked at. @throws WinnowError `rate_limited`. */
export function checkFailures(failures: MinuteBudget, res: Response): void {
  const account = addressOf(res);
  const seconds = failures.waitFor(account, 1);
  if (seconds > 0) throw rateLimited(failures.limit, 'requests (a wrong key counts as 10)', account, seconds);
}

/** Counts a request without a valid key. */
export function countFailure(failures: MinuteBudget, res: Response, kind: keyof typeof FAILURE_COSTS): void {
  failures.spend(addressOf(res), FAILURE_COSTS[kind]);
}

/** Counts the passages of a request. @throws WinnowError `rate_limited` if its key, or address, may not send so many now. */
export function spendPassages(budget: MinuteBudget, res: Response, passages: number): void {
  const account = accountOf(res);
  const seconds = budget.waitFor(account, passages);
  if (seconds > 0) throw rateLimited(budget.limit, 'passages', account, seconds);
  budget.spend(account, passages);
}
