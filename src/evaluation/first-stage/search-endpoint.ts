import { WinnowError } from '../../errors.ts';
import { parseExact } from '../../util/exact-json.ts';
import { readId } from '../../util/json-files.ts';
import { RetriableError, retry, retryAfterMs } from '../../util/retry.ts';
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

const ATTEMPTS = 5;
const FIRST_PAUSE_MS = 200;
/** The longest wait that a server may ask for. */
const LONGEST_PAUSE_MS = 30_000;
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
  return readId(hit._source ?? {}, idField, `${index}, document ${hit._id}`);
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

async function send(endpoint: SearchEndpoint, where: string, lines: string): Promise<Answer[]> {
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
  const text = await response.text();
  if (!response.ok) {
    const got = `${response.status} ${excerpt(text)}`;
    const afterMs = retryAfterMs(response.headers.get('retry-after'), Date.now());
    if (BUSY_STATUS.has(response.status))
      throw new RetriableError(got, { afterMs: afterMs ? Math.min(LONGEST_PAUSE_MS, afterMs) : undefined });
    throw new WinnowError('invalid_input', { where, expected: 'status 200', got });
  }
  const { responses } = parseExact(text) as { responses?: Answer[] };
  return responses ?? [];
}

async function post(endpoint: SearchEndpoint, lines: string): Promise<Answer[]> {
  const where = `${endpoint.url}/_msearch`;
  try {
    const pauses = { attempts: ATTEMPTS, firstPauseMs: FIRST_PAUSE_MS };
    return await retry(() => send(endpoint, where, lines), pauses);
  } catch (error) {
    if (!(error instanceof RetriableError)) throw error;
    throw new WinnowError('invalid_input', { where, expected: 'status 200', got: error.message }, { cause: error });
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
