import { describe, WinnowError } from '../../errors.ts';
import { cohereV1 } from './cohere-v1.ts';
import { cohereV2 } from './cohere-v2.ts';
import type { AnyDialect, ClientHeaders, DialectPath } from './dialect.ts';
import { infinity } from './infinity.ts';
import { jina } from './jina.ts';
import { kserve } from './kserve.ts';
import { mixedbread } from './mixedbread.ts';
import { nim } from './nim.ts';
import { pinecone } from './pinecone.ts';
import { predict } from './predict.ts';
import { score } from './score.ts';
import { tei } from './tei.ts';
import { voyage } from './voyage.ts';
import { weaviate } from './weaviate.ts';

/** Every wire format. Marks are tried in this order: a body that has those of several dialects is read in the first. */
export const DIALECTS: readonly AnyDialect[] = [
  mixedbread,
  predict,
  jina,
  cohereV1,
  cohereV2,
  tei,
  weaviate,
  nim,
  pinecone,
  voyage,
  infinity,
  score,
  kserve,
];

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

/** Names that clients of other services give their passages, and what they are called here. */
const OTHER_NAMES: Readonly<Record<string, string>> = {
  docs: 'documents',
  document: 'documents',
  candidates: 'documents',
  items: 'documents',
  sentences: 'texts',
  text: 'texts',
  passage: 'passages',
};

const named = (field: string) => `\`${field}\``;

/** Returns the fields of a body for a message, with the known name beside another one. */
function sentFields(body: object): string {
  const sent = Object.keys(body).slice(0, 5);
  if (sent.length === 0) return 'an empty one';
  const hints = Object.entries(OTHER_NAMES).filter(([other]) => Object.hasOwn(body, other));
  const hint = hints.map(([other, name]) => `; did you mean ${named(name)} by ${named(other)}?`)[0] ?? '';
  return `one with ${sent.map((name) => named(name.slice(0, 40))).join(', ')}${hint}`;
}

function unknownDialect({ dialect, marked }: ScoringPath, body: object): WinnowError {
  const fields = [...new Set([...marked, dialect].flatMap(({ listField }) => listField ?? []))];
  return new WinnowError('unknown_dialect', { fields: alternatives(fields.map(named)), got: sentFields(body) });
}

/**
 * Returns the dialect a body is written in.
 * @throws WinnowError `unknown_dialect` for a body without any list of passages, `invalid_field` for one that is no object.
 */
export function dialectOf(at: ScoringPath, body: unknown, client: ClientHeaders): AnyDialect {
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw new WinnowError('invalid_field', { expected: 'an object', got: describe(body), field: 'body' });
  const { dialect, marked } = at;
  if (marked.length === 0) return dialect;
  const fields = body as Readonly<Record<string, unknown>>;
  const found = marked.find(({ marks }) => marks?.matches(fields, client, at.path)) ?? dialect;
  if (found.listField !== undefined && !(found.listField in body)) throw unknownDialect(at, body);
  return found;
}
