import { describe, WinnowError } from '../../errors.ts';
import { cohereV1 } from './cohere-v1.ts';
import { cohereV2 } from './cohere-v2.ts';
import type { AnyDialect, DialectName } from './dialect.ts';
import { jina } from './jina.ts';
import { kserve } from './kserve.ts';
import { nim } from './nim.ts';
import { score } from './score.ts';
import { tei } from './tei.ts';
import { voyage } from './voyage.ts';
import { weaviate } from './weaviate.ts';

export const DIALECTS: Readonly<Record<DialectName, AnyDialect>> = {
  tei,
  'cohere-v1': cohereV1,
  'cohere-v2': cohereV2,
  jina,
  voyage,
  weaviate,
  nim,
  score,
  kserve,
};

interface PathRule {
  /** Speaks for errors before the body is read, and for bodies whose shape says nothing. */
  readonly fallback: DialectName;
  /** Dialects a body's shape may choose here; `undefined`: the path alone decides. */
  readonly shapes?: readonly DialectName[];
}

/** Every scoring path and what may be spoken there. */
export const SCORING_PATHS = {
  '/rerank': { fallback: 'jina', shapes: ['tei', 'weaviate', 'voyage', 'nim'] },
  '/v1/rerank': { fallback: 'cohere-v1', shapes: ['tei', 'weaviate', 'voyage', 'nim'] },
  '/v2/rerank': { fallback: 'cohere-v2', shapes: ['tei', 'weaviate'] },
  '/reranking': { fallback: 'jina', shapes: ['tei'] },
  '/v1/reranking': { fallback: 'jina', shapes: ['tei'] },
  '/': { fallback: 'jina', shapes: ['tei', 'weaviate', 'voyage', 'nim'] },
  '/invocations': { fallback: 'jina', shapes: ['tei', 'weaviate', 'voyage', 'nim'] },
  '/v1/ranking': { fallback: 'nim' },
  '/score': { fallback: 'score' },
  '/v1/score': { fallback: 'score' },
  '/v2/models/:model/infer': { fallback: 'kserve' },
  '/v2/models/:model/versions/:version/infer': { fallback: 'kserve' },
} as const satisfies Readonly<Record<string, PathRule>>;

export type ScoringPath = keyof typeof SCORING_PATHS;

type Body = Readonly<Record<string, unknown>>;

/** What the client says of itself: headers that tell Voyage's SDKs from Cohere's, whose bodies may be the same. */
export interface ClientMarks {
  readonly sdk: string;
}

/** Tells a dialect by the fields only it has; tried in this order. */
const MARKS: readonly (readonly [DialectName, (body: Body, client: ClientMarks) => boolean])[] = [
  ['tei', (body) => 'texts' in body],
  ['weaviate', (body) => 'documents' in body && 'property' in body],
  ['nim', (body) => 'passages' in body],
  [
    'voyage',
    (body, client) =>
      'documents' in body && ('top_k' in body || typeof body.truncation === 'boolean' || /voyage/i.test(client.sdk)),
  ],
];

const LISTS = ['texts', 'documents', 'passages'];

/**
 * The dialect a body speaks at a path.
 * @throws WinnowError `unknown_dialect` for a body without any list of passages, `invalid_field` for one that is no object.
 */
export function dialectOf(path: ScoringPath, body: unknown, client: ClientMarks): AnyDialect {
  const rule: PathRule = SCORING_PATHS[path];
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw new WinnowError('invalid_field', { expected: 'an object', got: describe(body), field: 'body' });
  if (!rule.shapes) return DIALECTS[rule.fallback];
  if (!LISTS.some((name) => name in body)) {
    const fields = Object.keys(body).slice(0, 5);
    throw new WinnowError('unknown_dialect', {
      got:
        fields.length > 0 ? `one with ${fields.map((name) => `\`${name.slice(0, 40)}\``).join(', ')}` : 'an empty one',
    });
  }
  const marked = MARKS.find(([name, speaks]) => rule.shapes?.includes(name) && speaks(body as Body, client));
  return DIALECTS[marked?.[0] ?? rule.fallback];
}

/** The dialect errors at a path are told in until the body says more. */
export function dialectAt(path: ScoringPath): AnyDialect {
  return DIALECTS[SCORING_PATHS[path].fallback];
}
