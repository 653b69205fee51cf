import { describe, WinnowError } from '../../errors.ts';
import { cohereV1 } from './cohere-v1.ts';
import { cohereV2 } from './cohere-v2.ts';
import type { AnyDialect, ClientHeaders, DialectPath } from './dialect.ts';
import { jina } from './jina.ts';
import { kserve } from './kserve.ts';
import { nim } from './nim.ts';
import { score } from './score.ts';
import { tei } from './tei.ts';
import { voyage } from './voyage.ts';
import { weaviate } from './weaviate.ts';

/** Every wire format. Marks are tried in this order: a body that has those of several dialects is read in the first. */
export const DIALECTS: readonly AnyDialect[] = [jina, cohereV1, cohereV2, tei, weaviate, nim, voyage, score, kserve];

/** Joins names as `a, b or c`. */
export const alternatives = (names: readonly string[]): string => names.join(', ').replace(/, ([^,]*)$/, ' or $1');

/** A path that scores. */
export interface ScoringPath extends DialectPath {
  /** Reads bodies without marks, and writes the errors that occur before the body is read. */
  readonly dialect: AnyDialect;
  /** Dialects whose marks are looked for, in order; where there are none the path alone decides. */
  readonly marked: readonly AnyDialect[];
}

/** Every path that scores, as the dialects declare them. */
export const SCORING_PATHS: readonly ScoringPath[] = DIALECTS.flatMap((dialect) =>
  dialect.paths.map((at) => ({
    ...at,
    dialect,
    marked: DIALECTS.filter(({ marks }) => marks?.paths.includes(at.path)),
  })),
);

/** Fields that hold passages at shared paths; those of marked dialects first. */
const LIST_FIELDS = [
  ...new Set([...DIALECTS.filter(({ marks }) => marks), ...DIALECTS].flatMap(({ listField }) => listField ?? [])),
];

function unknownDialect(body: object): WinnowError {
  const sent = Object.keys(body).slice(0, 5);
  return new WinnowError('unknown_dialect', {
    fields: alternatives(LIST_FIELDS.map((name) => `\`${name}\``)),
    got: sent.length > 0 ? `one with ${sent.map((name) => `\`${name.slice(0, 40)}\``).join(', ')}` : 'an empty one',
  });
}

/**
 * Returns the dialect a body is written in.
 * @throws WinnowError `unknown_dialect` for a body without any list of passages, `invalid_field` for one that is no object.
 */
export function dialectOf({ dialect, marked }: ScoringPath, body: unknown, client: ClientHeaders): AnyDialect {
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw new WinnowError('invalid_field', { expected: 'an object', got: describe(body), field: 'body' });
  if (marked.length === 0) return dialect;
  if (!LIST_FIELDS.some((name) => name in body)) throw unknownDialect(body);
  const fields = body as Readonly<Record<string, unknown>>;
  return marked.find(({ marks }) => marks?.matches(fields, client)) ?? dialect;
}
