import { createHmac, hash } from 'node:crypto';
import type { HookRequest, Subject } from '../ports.ts';

type UnitKind = 'user' | 'session' | 'query';

export interface Unit {
  /** The field it is taken from: a request without user or session falls back to its query. */
  readonly kind: UnitKind;
  /** The text that is hashed for the assignment. Never stored. */
  readonly id: string;
}

type NamedKind = Exclude<UnitKind, 'query'>;

/** Fields of a subject that name the unit; the first one present is used. */
const SOURCES: Readonly<Record<NamedKind, readonly (readonly [keyof Subject & string, NamedKind])[]>> = {
  user: [
    ['unit', 'user'],
    ['user', 'user'],
    ['session', 'session'],
  ],
  session: [
    ['unit', 'session'],
    ['session', 'session'],
    ['user', 'user'],
  ],
};

/** Returns the unit of a query, without regard to case and white space. */
function queryUnit(query: string): string {
  return `query:${hash('sha256', query.trim().replace(/\s+/g, ' ').toLowerCase(), 'hex').slice(0, 32)}`;
}

/** Returns the unit of a request for an experiment that assigns by `kind`. */
export function unitOf({ subject = {}, query }: Pick<HookRequest, 'subject' | 'query'>, kind: UnitKind): Unit {
  if (kind !== 'query')
    for (const [field, from] of SOURCES[kind]) {
      const id = subject[field];
      if (typeof id === 'string' && id !== '') return { kind: from, id };
    }
  return { kind: 'query', id: queryUnit(query) };
}

/** Returns what is stored of a unit: 128 bits of an HMAC-SHA-256 of its id, so that ids cannot be guessed without the key. */
export function unitHash(secret: string, id: string): string {
  return createHmac('sha256', secret).update(id, 'utf8').digest('hex').slice(0, 32);
}

/**
 * Returns what is stored of a passage: 64 bits of an HMAC-SHA-256 of its plain digest, so that a guessed text cannot be confirmed without
 * the key. Plain digests, which older rows have, become the same value by this function.
 */
export function keyedDigest(secret: string, digest: string): string {
  return createHmac('sha256', secret).update(digest, 'utf8').digest('hex').slice(0, 16);
}
