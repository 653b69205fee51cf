import { describe, WinnowError } from '../../errors.ts';
import {
  hasJsonLines,
  isObject,
  type JsonObject,
  readId,
  readJsonFile,
  scanJsonLines,
  textField,
} from '../../util/json-files.ts';
import { placeOf } from '../../util/text.ts';
import type { Run } from '../measures/evaluation.ts';

interface RankLlmContent {
  /** Query id → text. */
  readonly queries: Map<string, string>;
  readonly run: Run;
  /** Docid → text. */
  readonly texts: Map<string, string>;
}

interface Hit {
  readonly docid: string;
  readonly score: number;
  readonly text: string;
}

const fail = (where: string, expected: string, got: unknown): never => {
  throw new WinnowError('invalid_input', { where, expected, got: describe(got) });
};

/** Returns the text of a candidate: `content`, or a `doc` that is text or an object with one of the usual fields. */
function textOf(hit: JsonObject, where: string): string {
  const doc = hit.content ?? hit.doc ?? hit.text;
  if (typeof doc === 'string') return doc;
  if (!isObject(doc)) return fail(where, '"content" or "doc"', doc);
  const title = typeof doc.title === 'string' && doc.title !== '' ? `${doc.title} ` : '';
  for (const field of ['contents', 'content', 'text', 'passage', 'body', 'segment'])
    if (typeof doc[field] === 'string') return field === 'contents' ? doc[field] : title + doc[field];
  return fail(where, 'a "doc" with contents, text, passage or body', doc);
}

function readHit(value: unknown, where: string): Hit {
  if (!isObject(value)) return fail(where, 'a candidate object', value);
  const score = value.score;
  if (typeof score !== 'number') return fail(where, '"score" to be a number', score);
  return { docid: readId(value, 'docid', where), score, text: textOf(value, where) };
}

/**
 * Parses both shapes in use: `{query: text, hits: [{qid, docid, score, content}]}` and `{query: {text, qid}, candidates: [{docid, score,
 * doc}]}`.
 */
function readRequest(value: unknown, where: string): { qid: string; text: string; hits: Hit[] } {
  if (!isObject(value)) return fail(where, 'an object with "query" and "hits" or "candidates"', value);
  const list = value.hits ?? value.candidates;
  if (!Array.isArray(list)) return fail(where, '"hits" or "candidates" to be a list', list);
  const hits = list.map((hit, i) => readHit(hit, `${where}, candidate ${i + 1}`));
  if (isObject(value.query))
    return { qid: readId(value.query, 'qid', where), text: textField(value.query, 'text', where), hits };
  const first: unknown = list[0];
  if (!isObject(first)) return fail(where, 'at least 1 hit, which carries the qid', `${list.length} hits`);
  return { qid: readId(first, 'qid', where), text: textField(value, 'query', where), hits };
}

/**
 * Reads rank_llm's retrieval results, a JSON list or JSON lines: queries, candidate lists and the passages' texts in one file.
 *
 * @throws WinnowError `invalid_input` that names file and entry: a query twice, a document twice in a list or with two texts, a
 * missing field.
 */
export async function readRankLlm(path: string): Promise<RankLlmContent> {
  const queries = new Map<string, string>();
  const texts = new Map<string, string>();
  const run = new Map<string, { docids: string[]; scores: Float64Array }>();
  const add = (value: unknown, where: string): void => {
    const { qid, text, hits } = readRequest(value, where);
    if (run.has(qid)) fail(where, 'each query once', `${qid} again`);
    const docids = hits.map((hit) => hit.docid);
    if (new Set(docids).size < docids.length) fail(where, `each document once for query ${qid}`, 'one of them twice');
    queries.set(qid, text);
    run.set(qid, { docids, scores: Float64Array.from(hits, (hit) => hit.score) });
    for (const { docid, text: passage } of hits) {
      if ((texts.get(docid) ?? passage) !== passage) fail(where, `document ${docid} with its earlier text`, passage);
      texts.set(docid, passage);
    }
  };
  if (await hasJsonLines(path)) await scanJsonLines(path, (value, line) => add(value, placeOf(path, line)));
  else {
    const list = await readJsonFile(path);
    if (!Array.isArray(list)) return fail(path, 'a list of {query, hits}', list);
    list.forEach((value, i) => {
      add(value, `${path}, entry ${i + 1}`);
    });
  }
  return { queries, run, texts };
}
