import type { Request } from 'express';
import { describe, WinnowError } from '../errors.ts';
import type { RerankRequest } from '../rerank/rerank-types.ts';
import { header, textHeader, textHeaders } from './exchange.ts';
import { type Caller, mayUse, scopeRefusal } from './keys.ts';

const MAX_DEADLINE_MS = 3_600_000;

/** Lanes that a client may choose; `shadow` is for experiments. */
const CLIENT_LANES: Readonly<Record<string, RerankRequest['lane']>> = { interactive: 'interactive', batch: 'batch' };

/** Reads the deadline from `x-winnow-deadline-ms`, in milliseconds. @throws WinnowError `invalid_field`. */
export function deadlineOf(req: Request): number | undefined {
  const text = header(req, 'x-winnow-deadline-ms')?.trim();
  if (text === undefined) return undefined;
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= 1 && value <= MAX_DEADLINE_MS) return value;
  throw new WinnowError('invalid_field', {
    expected: `an integer from 1 to ${MAX_DEADLINE_MS}`,
    got: describe(text),
    field: 'header x-winnow-deadline-ms',
  });
}

/** Reads the lane from `x-winnow-lane`; interactive if absent. @throws WinnowError `invalid_field`. */
export function laneOf(req: Request): RerankRequest['lane'] {
  const text = header(req, 'x-winnow-lane')?.trim().toLowerCase() ?? 'interactive';
  const lane = Object.hasOwn(CLIENT_LANES, text) ? CLIENT_LANES[text] : undefined;
  if (lane) return lane;
  throw new WinnowError('invalid_field', {
    expected: '`interactive` or `batch`',
    got: describe(text),
    field: 'header x-winnow-lane',
  });
}

/**
 * Returns the priority that counts. A negative one needs scope `admin`, because its request is served before all others of its lane; without
 * the scope it is 0.
 */
export function priorityOf(priority: number, caller: Caller | undefined): number {
  return priority < 0 && !(caller && mayUse(caller, 'admin')) ? 0 : priority;
}

/** Headers with credentials; experiments never see them. */
const CREDENTIALS = new Set(['authorization', 'proxy-authorization', 'cookie', 'x-api-key', 'api-key']);

function plainHeaders(req: Request): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(textHeaders(req)).filter(([name]) => !CREDENTIALS.has(name)));
}

/** Reads the forced arm. Needs scope `admin`, because such a request leaves the experiment. @throws WinnowError `forbidden`, `not_local`. */
function forcedArm(req: Request, caller: Caller | undefined): string | undefined {
  const arm = header(req, 'x-winnow-arm')?.trim();
  if (!arm) return undefined;
  if (!caller || !mayUse(caller, 'admin')) throw scopeRefusal(caller, 'admin (to force an arm)');
  return arm;
}

/**
 * Returns what experiments may hash and target on. Ids are not trimmed: HTTP has removed spaces and tabs around a value, and an id in a body is
 * not trimmed either.
 * @throws WinnowError `forbidden` for an arm forced without the scope.
 */
export function subjectOf(
  req: Request,
  caller: Caller | undefined,
  user: string | undefined,
): RerankRequest['subject'] & {} {
  const subject = {
    unit: textHeader(req, 'x-winnow-unit'),
    user: textHeader(req, 'x-user-id') || user,
    session: textHeader(req, 'x-session-id'),
    key: caller?.name,
    forcedArm: forcedArm(req, caller),
  };
  const given = Object.fromEntries(Object.entries(subject).filter(([, value]) => value));
  return { ...given, headers: plainHeaders(req) };
}
