import { describe, WinnowError } from '../../errors.ts';
import type { Run, ScoredDocs } from '../measures/evaluation.ts';
import type { FirstStage } from './first-stage.ts';

/** A live Elasticsearch or OpenSearch index that answers `match` queries. */
interface SearchEndpoint {
  /** Root of the cluster, `https://search.example.org:9200`. */
  readonly url: string;
  readonly index: string;
  /** One field is searched by `match`, several by `multi_match`. */
  readonly fields: readonly string[];
  /** Field of `_source` that holds the passage's id; default the document's `_id`. */
  readonly idField?: string | undefined;
  /** Sent as `Authorization`, such as `ApiKey …` or `Basic …`. */
  readonly authorization?: string | undefined;
  /** Queries per request; default 32. */
  readonly batch?: number | undefined;
}

/** Shortens a server's answer to 200 characters for an error message. */
const excerpt = (text: string): string => text.replace(/\s+/g, ' ').slice(0, 200);

const RETRIES = 4;
const BUSY_STATUS: ReadonlySet<number> = new Set([429, 502, 503, 504]);

interface Hit {
  readonly _id: string;
  readonly _score: number | null;
  readonly _source?: Readonly<Record<string, unknown>>;
}

interface Answer {
  readonly hits?: { readonly hits?: readonly Hit[] };
  readonly error?: { readonly type?: string; readonly reason?: string };
  readonly timed_out?: boolean;
  readonly _shards?: { readonly failed?: number };
}

function body({ fields, idField }: SearchEndpoint, query: string, size: number): string {
  const match =
    fields.length === 1 ? { match: { [fields[0]!]: { query } } } : { multi_match: { query, fields: [...fields] } };
  return JSON.stringify({
    query: match,
    size,
    _source: idField === undefined ? false : [idField],
    track_total_hits: false,
  });
}

function idOf(hit: Hit, { idField, index }: SearchEndpoint): string {
  if (idField === undefined) return hit._id;
  const id = hit._source?.[idField];
  if (typeof id === 'string' || typeof id === 'number') return String(id);
  throw new WinnowError('invalid_input', {
    where: `${index}, document ${hit._id}`,
    expected: `an id in the field ${idField}`,
    got: describe(id),
  });
}

function listOf(answer: Answer, endpoint: SearchEndpoint, qid: string): ScoredDocs {
  const where = `${endpoint.url}/${endpoint.index}, query ${qid}`;
  const fail = (got: string): never => {
    throw new WinnowError('invalid_input', { where, expected: 'a complete answer', got });
  };
  if (answer.error) fail(excerpt(`${answer.error.type}: ${answer.error.reason}`));
  if (answer.timed_out) fail('one cut short by a timeout');
  if ((answer._shards?.failed ?? 0) > 0) fail(`${answer._shards!.failed} failed shards`);
  const hits = answer.hits?.hits ?? fail('none');
  return { docids: hits.map((hit) => idOf(hit, endpoint)), scores: hits.map(({ _score }) => _score ?? 0) };
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Returns milliseconds until the next attempt: the server's `Retry-After` (at most 30 s), else 200 ms doubled each time. */
function delayOf(response: Response, attempt: number): number {
  const seconds = Number(response.headers.get('retry-after'));
  return seconds > 0 ? Math.min(30, seconds) * 1000 : 200 * 2 ** attempt;
}

async function post(endpoint: SearchEndpoint, lines: string): Promise<Answer[]> {
  const where = `${endpoint.url}/_msearch`;
  for (let attempt = 0; ; attempt++) {
    const response = await fetch(`${endpoint.url.replace(/\/$/, '')}/_msearch`, {
      method: 'POST',
      headers: {
        'content-type': 'application/x-ndjson',
        ...(endpoint.authorization === undefined ? {} : { authorization: endpoint.authorization }),
      },
      body: lines,
    }).catch((error: Error) => {
      const cause = error.cause instanceof Error ? error.cause.message : error.message;
      throw new WinnowError('invalid_input', { where, expected: 'a reachable server', got: excerpt(cause) });
    });
    if (BUSY_STATUS.has(response.status) && attempt < RETRIES) {
      await response.body?.cancel();
      await pause(delayOf(response, attempt));
      continue;
    }
    const text = await response.text();
    if (!response.ok)
      throw new WinnowError('invalid_input', {
        where,
        expected: 'status 200',
        got: `${response.status} ${excerpt(text)}`,
      });
    const { responses } = JSON.parse(text) as { responses?: Answer[] };
    return responses ?? [];
  }
}

/**
 * Retrieves candidate lists from a live search endpoint by its `_msearch` API, several queries per request, in order. Busy answers (429,
 * 502–504) are retried four times.
 *
 * @throws WinnowError `invalid_input` with URL and query if the endpoint refuses, times out or answers in part.
 */
export function searchStage(endpoint: SearchEndpoint): FirstStage {
  const header = JSON.stringify({ index: endpoint.index });
  return {
    name: `${endpoint.index} (${endpoint.fields.join(', ')})`,
    async retrieve(queries, depth, onDone) {
      const all = [...queries];
      const run = new Map<string, ScoredDocs>();
      const step = endpoint.batch ?? 32;
      for (let at = 0; at < all.length; at += step) {
        const part = all.slice(at, at + step);
        const lines = part.map(([, text]) => `${header}\n${body(endpoint, text, depth)}\n`).join('');
        const answers = await post(endpoint, lines);
        if (answers.length !== part.length)
          throw new WinnowError('invalid_input', {
            where: `${endpoint.url}/_msearch`,
            expected: `${part.length} answers`,
            got: answers.length,
          });
        for (const [i, [qid]] of part.entries()) run.set(qid, listOf(answers[i]!, endpoint, qid));
        onDone?.(run.size);
      }
      return run satisfies Run;
    },
  };
}
