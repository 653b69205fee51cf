import { describe, WinnowError } from '../errors.ts';
import type { PlaygroundRequest } from './types.ts';

const MAX_PASSAGES = 1000;

function refuse(expected: string, got: unknown, field: string): never {
  throw new WinnowError('invalid_field', { expected, got: describe(got), field });
}

/** Reads the body of a playground request. @throws WinnowError `invalid_field`, `empty_passages`, `too_many_passages`. */
export function readPlayground(body: unknown): PlaygroundRequest {
  if (typeof body !== 'object' || body === null) return refuse('an object', body, 'body');
  const { query, passages, model } = body as Record<string, unknown>;
  if (typeof query !== 'string' || query.trim() === '') return refuse('a query', query, 'query');
  if (!Array.isArray(passages)) return refuse('an array of passages', passages, 'passages');
  if (passages.length === 0) throw new WinnowError('empty_passages', { field: 'passages' });
  if (passages.length > MAX_PASSAGES)
    throw new WinnowError('too_many_passages', { limit: MAX_PASSAGES, got: passages.length, field: 'passages' });
  const odd = passages.findIndex((passage) => typeof passage !== 'string');
  if (odd >= 0) return refuse('a string', passages[odd], `passages[${odd}]`);
  if (model !== undefined && typeof model !== 'string') return refuse('a model', model, 'model');
  return { query, passages: passages as string[], ...(model ? { model } : {}) };
}
