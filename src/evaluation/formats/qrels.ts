import { describe, WinnowError } from '../../errors.ts';
import { checkId, hasJsonLines, isObject, readId, readUniqueJson } from '../../util/json-files.ts';
import { scanLines } from '../../util/lines.ts';
import { badLine } from '../../util/text.ts';
import type { Qrels } from '../measures/ranked.ts';
import { parseNumber, splitFields } from './fields.ts';
import { kindOfFile } from './file-kind.ts';
import { documentIdName, gradeName, queryIdName } from './json-rows.ts';
import { scanRows } from './scan-rows.ts';
import { smartId } from './smart.ts';
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
/** NanoBEIR's: all pairs are relevant. */
const PAIRS: Layout = { fields: '2 fields (query-id corpus-id)', count: 2, docid: 1, grade: -1 };
const CRANFIELD: Layout = { fields: '3 fields (query, document, code)', count: 3, docid: 1, grade: 2 };

/** Returns the layout that a header names. */
function layoutUnder(fields: readonly string[]): Layout | undefined {
  if (!/^(query[-_]id|qid)$/i.test(fields[0]!) || /^-?\d+$/.test(fields.at(-1)!)) return undefined;
  return fields.length === 3 ? BEIR : fields.length === 2 ? PAIRS : undefined;
}

const CRANFIELD_NAME = /(?:^|[/\\])cranqrel[^/\\]*$/i;

/** Cleverdon's codes run from 1 (complete answer) to 4 (minimum interest), so grade = 5 − code; −1 is judged and not relevant. */
const CODES = new Map([-1, 1, 2, 3, 4, 5].map((code) => [code, code === -1 ? 0 : 5 - code]));

/** Judgements of SMART collections: `query document 0 0`, every pair relevant. Ids are numbers, some with zeros in front. */
class SmartPairs {
  readonly qrels: MutableQrels = new Map();
  /** Whether the lines up to here may have this form. */
  possible = true;
  #named = false;

  add(qid: string, docid: string, zeros: readonly string[]): void {
    this.possible &&= zeros.every((text) => /^0(\.0+)?$/.test(text));
    if (!this.possible) return;
    this.#named ||= docid !== '0';
    addJudgement(this.qrels, smartId(qid), smartId(docid), 1);
  }

  /** Whether all lines have this form; in TREC's they would judge the document `0` alone. */
  get found(): boolean {
    return this.possible && this.#named;
  }
}

/** Parses lines into `qrels`. */
class QrelsReader {
  readonly qrels: MutableQrels = new Map();
  readonly #spans = new Int32Array(8);
  readonly #path: string;
  readonly #pairs = new SmartPairs();
  /** A fault of TREC's form, which the form of SMART may not have: a document twice. */
  #twice: Error | undefined;
  #layout: Layout = TREC;
  #first = true;

  constructor(path: string, isCranfield: boolean) {
    this.#path = path;
    if (isCranfield) this.#layout = CRANFIELD;
  }

  finish(): MutableQrels {
    if (this.#layout === TREC && this.#pairs.found) return this.#pairs.qrels;
    if (this.#twice) throw this.#twice;
    return this.qrels;
  }

  line(buffer: Buffer, start: number, end: number, line: number): void {
    const spans = this.#spans;
    const count = splitFields(buffer, start, end, spans);
    if (count === 0 || buffer[spans[0]!] === 35) return;
    const field = (i: number): string => buffer.toString('utf8', spans[2 * i]!, spans[2 * i + 1]!);
    if (this.#first) {
      this.#first = false;
      const under = layoutUnder(Array.from({ length: Math.min(count, 4) }, (_, i) => field(i)));
      if (under) {
        this.#layout = under;
        return;
      }
    }
    const layout = this.#layout;
    if (count !== layout.count) throw badLine(this.#path, line, layout.fields, count > 4 ? 'more' : `${count}`);
    if (layout === TREC && this.#pairs.possible) this.#pairs.add(field(0), field(1), [field(2), field(3)]);
    const grade = this.#grade(buffer, line);
    if (addJudgement(this.qrels, field(0), field(layout.docid), grade)) return;
    const twice = badLine(this.#path, line, `each document once for query ${field(0)}`, `${field(layout.docid)} again`);
    if (layout !== TREC || !this.#pairs.found) throw this.#twice ?? twice;
    this.#twice ??= twice;
  }

  #grade(buffer: Buffer, line: number): number {
    const layout = this.#layout;
    if (layout === PAIRS) return 1;
    const [from, to] = [this.#spans[2 * layout.grade]!, this.#spans[2 * layout.grade + 1]!];
    const value = parseNumber(buffer, from, to);
    const got = `"${buffer.toString('utf8', from, to)}"`;
    if (layout !== CRANFIELD) {
      if (Number.isSafeInteger(value)) return value;
      throw badLine(this.#path, line, 'a whole number as grade', got);
    }
    return CODES.get(value) ?? this.#badCode(line, got);
  }

  #badCode(line: number, got: string): never {
    throw badLine(this.#path, line, 'query, document and a code of -1 or 1 … 5', got);
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

/**
 * Reads one judgement a row: `{"qid": …, "docid": …, "rel": …}`, or the names of MTEB and ir_datasets. Rows of query and document alone
 * (NanoBEIR) are relevant.
 */
async function readRows(path: string, kind: 'json' | 'parquet'): Promise<MutableQrels> {
  const qrels: MutableQrels = new Map();
  await scanRows(path, kind, (value, where) => {
    const fail = (expected: string, got: string): never => {
      throw new WinnowError('invalid_input', { where, expected, got });
    };
    const [qid, docid] = [readId(value, queryIdName(value), where), readId(value, documentIdName(value), where)];
    const name = gradeName(value);
    const grade = name in value ? value[name] : Object.keys(value).length === 2 ? 1 : undefined;
    if (typeof grade !== 'number' || !Number.isSafeInteger(grade))
      return fail(`a whole number as "${name}"`, describe(grade));
    if (!addJudgement(qrels, qid, docid, grade)) fail(`each document once for query ${qid}`, `${docid} again`);
  });
  return qrels;
}

/**
 * Reads judgements: TREC or MS MARCO (`qid iter docno rel`, any white space, `#` comments), BEIR (`query-id corpus-id score` under that
 * header), JSON lines or Parquet (`{qid, docid, rel}`, or the names of MTEB and ir_datasets), JSON `{qid: {docid: grade}}`, SMART (`query
 * document 0 0`; `cranqrel` by its name); packed or not.
 *
 * @param isCranfield reads Cranfield's codes, from 1 (best) to 5.
 * @throws WinnowError `invalid_input` with file and line: a wrong number of fields, a grade that is no whole number, a pair twice.
 */
export async function readQrels(path: string, isCranfield = CRANFIELD_NAME.test(path)): Promise<Qrels> {
  const { kind } = await kindOfFile(path);
  if (kind === 'parquet') return readRows(path, kind);
  if (kind === 'json')
    return (await hasJsonLines(path)) ? readRows(path, kind) : fromJson(path, await readUniqueJson(path));
  const reader = new QrelsReader(path, isCranfield);
  await scanLines(path, (buffer, start, end, line) => reader.line(buffer, start, end, line));
  return reader.finish();
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
