import { describe, WinnowError } from '../../errors.ts';
import { checkId, hasJsonLines, isObject, readId, readUniqueJson, scanJsonLines } from '../../util/json-files.ts';
import { readLines } from '../../util/lines.ts';
import { badLine, placeOf } from '../../util/text.ts';
import { fillHits, type Run, type ScoredDocs } from '../measures/evaluation.ts';
import { HitList } from '../measures/hits.ts';
import { kindOfFile } from './file-kind.ts';
import { DOCUMENT_IDS, documentIdName, queryIdName } from './json-rows.ts';
import { readRankLlm } from './read-rank-llm.ts';
import { type RunVisitor, type ScanOptions, scanRunLines } from './run-scanner.ts';
import { fieldOf, writeLines } from './write-lines.ts';

/** Reads `{qid: {docid: score}}`, the format of pytrec_eval and ranx. */
function fromNestedJson(path: string, value: Readonly<Record<string, unknown>>): Run {
  const run = new Map<string, ScoredDocs>();
  for (const [qid, docs] of Object.entries(value)) {
    const entries = isObject(docs) ? Object.entries(docs) : [];
    const wrong = entries.find(([, score]) => typeof score !== 'number');
    if (!isObject(docs) || wrong !== undefined)
      throw new WinnowError('invalid_input', {
        where: `${path}, query ${qid}`,
        expected: '{docid: score}',
        got: String(wrong ?? typeof docs),
      });
    run.set(checkId(qid, 'a query id', path), {
      docids: entries.map(([id]) => checkId(id, 'an id', `${path}, query ${qid}`)),
      scores: Float64Array.from(entries, ([, score]) => score as number),
    });
  }
  return run;
}

/** Reads one document a line: `{"qid": …, "docid": …, "score": …}`. */
async function readFlatLines(path: string): Promise<Run> {
  const lists = new Map<string, Map<string, number>>();
  await scanJsonLines(path, (value, line) => {
    const where = placeOf(path, line);
    const [qid, docid] = [readId(value, queryIdName(value), where), readId(value, documentIdName(value), where)];
    const { score } = value;
    if (typeof score !== 'number') throw badLine(path, line, '"score" to be a number', describe(score));
    const list = lists.get(qid) ?? new Map<string, number>();
    lists.set(qid, list);
    if (list.has(docid)) throw badLine(path, line, `each document once for query ${qid}`, `${docid} again`);
    list.set(docid, score);
  });
  return new Map(Array.from(lists, ([qid, docs]) => [qid, { docids: [...docs.keys()], scores: [...docs.values()] }]));
}

/** Returns whether the first line is one document rather than a query with its candidates. */
async function isFlat(path: string): Promise<boolean> {
  for await (const { text } of readLines(path))
    if (text.trim() !== '')
      return DOCUMENT_IDS.some((name) => text.includes(`"${name}"`)) && !/"(hits|candidates)"/.test(text);
  return false;
}

async function readJsonRun(path: string): Promise<Run> {
  if (await hasJsonLines(path)) return (await isFlat(path)) ? readFlatLines(path) : (await readRankLlm(path)).run;
  const value = await readUniqueJson(path);
  return isObject(value) ? fromNestedJson(path, value) : (await readRankLlm(path)).run;
}

/**
 * Reads a run query by query, whatever its format: TREC, MS MARCO (`qid pid rank`), rank_llm JSON or JSON lines, JSON lines of
 * `{qid, docid, score}` (or ir_datasets' names), `{qid: {docid: score}}`; packed or not; `-` is standard input (lines only).
 */
export async function scanRun(path: string, visit: RunVisitor, options: ScanOptions = {}): Promise<void> {
  if ((await kindOfFile(path)).kind !== 'json') return scanRunLines(path, visit, options);
  const hits = new HitList();
  const round = options.precision === 'single' ? Math.fround : (score: number): number => score;
  for (const [qid, { docids, scores }] of await readJsonRun(path)) {
    fillHits(hits, qid, { docids, scores: Array.from(scores, round) });
    visit(qid, hits);
  }
}

/** Reads a whole run into memory, each list in trec_eval's order and cut to `top` documents. */
export async function readRun(path: string, options: ScanOptions & { readonly top?: number } = {}): Promise<Run> {
  const run = new Map<string, ScoredDocs>();
  const visit: RunVisitor = (qid, hits) => {
    const order = hits.order().subarray(0, options.top);
    run.set(qid, {
      docids: Array.from(order, (index) => hits.docid(index)),
      scores: Float64Array.from(order, (index) => hits.score(index)),
    });
  };
  await scanRun(path, visit, options);
  return run;
}

function* runLines(path: string, run: Run, tag: string): Generator<string> {
  const hits = new HitList();
  for (const [id, docs] of run) {
    const qid = fieldOf(id, 'first', path);
    fillHits(hits, qid, docs);
    let rank = 0;
    for (const index of hits.order())
      yield `${qid} Q0 ${fieldOf(hits.docid(index), 'later', path)} ${++rank} ${hits.score(index)} ${tag}`;
  }
}

/** Writes a TREC run, best first; scores keep all their digits, so that reading gives the same order. `.gz` is packed. */
export async function writeRun(path: string, run: Run, tag: string): Promise<void> {
  await writeLines(path, runLines(path, run, tag.replace(/\s+/g, '-')));
}
