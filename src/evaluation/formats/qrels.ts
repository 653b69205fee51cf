import { describe, WinnowError } from '../../errors.ts';
import {
  checkId,
  isJson,
  isJsonLines,
  isObject,
  readId,
  readUniqueJson,
  scanJsonLines,
} from '../../util/json-files.ts';
import { scanLines } from '../../util/lines.ts';
import { badLine, placeOf } from '../../util/text.ts';
import type { Qrels } from '../measures/ranked.ts';
import { parseNumber, splitFields } from './fields.ts';
import { fieldOf, writeLines } from './write-lines.ts';

export type MutableQrels = Map<string, Map<string, number>>;

/** Adds a judgement. Returns `false`, without a change, if the pair is judged already. */
export function addJudgement(qrels: MutableQrels, qid: string, docid: string, grade: number): boolean {
  let judgements = qrels.get(qid);
  if (judgements === undefined) {
    judgements = new Map();
    qrels.set(qid, judgements);
  }
  if (judgements.has(docid)) return false;
  judgements.set(docid, grade);
  return true;
}

/** Number of columns, and which hold docid and grade; the query is the first. */
interface Layout {
  readonly fields: string;
  readonly count: number;
  readonly docid: number;
  readonly grade: number;
}

const TREC: Layout = { fields: '4 fields (qid iter docno rel)', count: 4, docid: 2, grade: 3 };
const BEIR: Layout = { fields: '3 fields (query-id corpus-id score)', count: 3, docid: 1, grade: 2 };

const isBeirHeader = (fields: readonly string[]): boolean =>
  fields.length === 3 && /^(query[-_]id|qid)$/i.test(fields[0]!) && !/^-?\d+$/.test(fields[2]!);

/** Parses lines into `qrels`. */
class QrelsReader {
  readonly qrels: MutableQrels = new Map();
  readonly #spans = new Int32Array(8);
  readonly #path: string;
  #layout: Layout = TREC;
  #first = true;

  constructor(path: string) {
    this.#path = path;
  }

  line(buffer: Buffer, start: number, end: number, line: number): void {
    const spans = this.#spans;
    const count = splitFields(buffer, start, end, spans);
    if (count === 0 || buffer[spans[0]!] === 35) return;
    const field = (i: number): string => buffer.toString('utf8', spans[2 * i]!, spans[2 * i + 1]!);
    if (this.#first) {
      this.#first = false;
      if (isBeirHeader(Array.from({ length: Math.min(count, 4) }, (_, i) => field(i)))) {
        this.#layout = BEIR;
        return;
      }
    }
    const layout = this.#layout;
    if (count !== layout.count) throw badLine(this.#path, line, layout.fields, count > 4 ? 'more' : `${count}`);
    const grade = parseNumber(buffer, spans[2 * layout.grade]!, spans[2 * layout.grade + 1]!);
    if (!Number.isSafeInteger(grade))
      throw badLine(this.#path, line, 'a whole number as grade', `"${field(layout.grade)}"`);
    if (!addJudgement(this.qrels, field(0), field(layout.docid), grade))
      throw badLine(this.#path, line, `each document once for query ${field(0)}`, `${field(layout.docid)} again`);
  }
}

/** Reads `{qid: {docid: grade}}`. A query whose map is empty stays: consumers report that it has no judgement. */
function fromJson(path: string, value: unknown): MutableQrels {
  const fail = (where: string, expected: string, got: string): never => {
    throw new WinnowError('invalid_input', { where, expected, got });
  };
  if (!isObject(value)) return fail(path, '{qid: {docid: grade}}', describe(value));
  const qrels: MutableQrels = new Map();
  for (const [qid, docs] of Object.entries(value)) {
    const where = `${path}, query ${qid}`;
    if (!isObject(docs)) return fail(where, '{docid: grade}', describe(docs));
    const judgements = new Map<string, number>();
    qrels.set(checkId(qid, 'a query id', path), judgements);
    for (const [docid, grade] of Object.entries(docs)) {
      if (typeof grade !== 'number' || !Number.isSafeInteger(grade))
        return fail(where, 'a whole number as grade', describe(grade));
      judgements.set(checkId(docid, 'an id', where), grade);
    }
  }
  return qrels;
}

/** Reads one judgement a line: `{"qid": …, "docid": …, "rel": …}` (or `score`, as BEIR names it). */
async function readJsonLines(path: string): Promise<MutableQrels> {
  const qrels: MutableQrels = new Map();
  await scanJsonLines(path, (value, line) => {
    const [qid, docid] = [readId(value, 'qid', placeOf(path, line)), readId(value, 'docid', placeOf(path, line))];
    const grade = value.rel ?? value.score;
    if (!Number.isSafeInteger(grade)) throw badLine(path, line, 'a whole number as "rel"', describe(grade));
    if (!addJudgement(qrels, qid, docid, grade as number))
      throw badLine(path, line, `each document once for query ${qid}`, `${docid} again`);
  });
  return qrels;
}

/**
 * Reads judgements: TREC or MS MARCO (`qid iter docno rel`, any white space, `#` comments), BEIR (`query-id corpus-id score` under that
 * header), JSON lines `{qid, docid, rel}`, or JSON `{qid: {docid: grade}}`; packed or not.
 *
 * @throws WinnowError `invalid_input` with file and line: a wrong number of fields, a grade that is no whole number, a pair twice.
 */
export async function readQrels(path: string): Promise<Qrels> {
  if (isJsonLines(path)) return readJsonLines(path);
  if (isJson(path)) return fromJson(path, await readUniqueJson(path));
  const reader = new QrelsReader(path);
  await scanLines(path, (buffer, start, end, line) => reader.line(buffer, start, end, line));
  return reader.qrels;
}

/** Splits off the queries that JSON qrels name with an empty map. TREC qrels cannot, so no mean counts them. */
export function splitEmpty(qrels: Qrels): { readonly qrels: Qrels; readonly empty: readonly string[] } {
  const judged = [...qrels].filter(([, judgements]) => judgements.size > 0);
  const empty = [...qrels].flatMap(([qid, judgements]) => (judgements.size > 0 ? [] : [qid]));
  return { qrels: new Map(judged), empty };
}

type QrelsFormat = 'trec' | 'beir';

function* qrelsLines(path: string, qrels: Qrels, format: QrelsFormat): Generator<string> {
  if (format === 'beir') yield 'query-id\tcorpus-id\tscore';
  for (const [query, judgements] of qrels)
    for (const [doc, grade] of judgements) {
      const [qid, docid] = [fieldOf(query, 'first', path), fieldOf(doc, 'later', path)];
      yield format === 'beir' ? `${qid}\t${docid}\t${grade}` : `${qid} 0 ${docid} ${grade}`;
    }
}

/** Writes qrels, the whole file or none of it; `.gz` is packed. */
export async function writeQrels(path: string, qrels: Qrels, format: QrelsFormat = 'trec'): Promise<void> {
  await writeLines(path, qrelsLines(path, qrels, format));
}
