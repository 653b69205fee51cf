import { STDIN } from '../../util/bytes.ts';
import { scanLines } from '../../util/lines.ts';
import { badLine } from '../../util/text.ts';
import { HitList } from '../measures/hits.ts';
import { parseNumber, sameBytes, splitFields } from './fields.ts';

/**
 * Receives the documents of one query. `hits` is only valid during the call. A file whose queries' lines are scattered is read twice: then
 * a query may come twice, and the last call has all its documents.
 */
export type RunVisitor = (qid: string, hits: HitList) => void;

export interface ScanOptions {
  /** `single` rounds scores to 32 bits before they are compared, as trec_eval up to version 9 did. Default `double`. */
  readonly precision?: 'double' | 'single' | undefined;
}

/** Layout of a run's lines: columns of docid and score, and how the score column becomes a score. */
interface Layout {
  readonly name: string;
  readonly fields: string;
  readonly least: number;
  readonly docid: number;
  readonly value: number;
  readonly score: (value: number) => number;
}

const TREC: Layout = {
  name: 'TREC run',
  fields: '6 fields (qid Q0 docno rank score tag)',
  least: 6,
  docid: 2,
  value: 4,
  score: (value) => value,
};

/** MS MARCO's `qid pid rank`: the given rank is the order. */
const MARCO: Layout = {
  name: 'MS MARCO run',
  fields: '3 fields (qid pid rank)',
  least: 3,
  docid: 1,
  value: 2,
  score: (rank) => -rank,
};

class NotGrouped extends Error {}

/** Parses lines into hit lists, which `enter` returns by query. */
class RunReader {
  readonly #path: string;
  readonly #round: (score: number) => number;
  readonly #enter: (qid: string) => HitList;
  readonly #spans = new Int32Array(12);
  #layout: Layout | undefined;
  #qid = new Uint8Array(0);
  #hits: HitList | undefined;

  constructor(path: string, options: ScanOptions, enter: (qid: string) => HitList) {
    this.#path = path;
    this.#round = options.precision === 'single' ? Math.fround : (score) => score;
    this.#enter = enter;
  }

  line(buffer: Buffer, start: number, end: number, line: number): void {
    const spans = this.#spans;
    const count = splitFields(buffer, start, end, spans);
    if (count === 0 || buffer[spans[0]!] === 35) return; // blank, or `#`
    this.#layout ??= count === 3 ? MARCO : TREC;
    const layout = this.#layout;
    if (count < layout.least) throw badLine(this.#path, line, layout.fields, `${count}`);
    const hits = this.#listOf(buffer, spans[0]!, spans[1]!);
    const from = spans[2 * layout.value]!;
    const to = spans[2 * layout.value + 1]!;
    const value = parseNumber(buffer, from, to);
    if (Number.isNaN(value))
      throw badLine(this.#path, line, 'a number as score', `"${buffer.toString('utf8', from, to)}"`);
    const id = spans[2 * layout.docid]!;
    const idEnd = spans[2 * layout.docid + 1]!;
    if (!hits.add(buffer, id, idEnd, this.#round(layout.score(value)))) this.#duplicate(buffer, id, idEnd, line);
  }

  #listOf(buffer: Buffer, start: number, end: number): HitList {
    if (this.#hits !== undefined && sameBytes(buffer, start, end, this.#qid, this.#qid.length)) return this.#hits;
    this.#qid = Uint8Array.prototype.slice.call(buffer, start, end);
    this.#hits = this.#enter(buffer.toString('utf8', start, end));
    return this.#hits;
  }

  #duplicate(buffer: Buffer, start: number, end: number, line: number): never {
    const [qid, docid] = [Buffer.from(this.#qid).toString(), buffer.toString('utf8', start, end)];
    throw badLine(this.#path, line, `each document once for query ${qid}`, `${docid} again`);
  }
}

/** Reuses one list for the current query, so memory does not grow with the run. @throws NotGrouped if a query's lines are scattered. */
async function scanGrouped(path: string, visit: RunVisitor, options: ScanOptions): Promise<void> {
  const hits = new HitList();
  const finished = new Set<string>();
  let current: string | undefined;
  const flush = (): void => {
    if (current === undefined) return;
    visit(current, hits);
    finished.add(current);
    hits.clear();
  };
  const reader = new RunReader(path, options, (qid) => {
    flush();
    if (finished.has(qid)) throw new NotGrouped();
    current = qid;
    return hits;
  });
  await scanLines(path, (buffer, start, end, line) => reader.line(buffer, start, end, line));
  flush();
}

/** Keeps one list a query, all in memory. */
async function scanScattered(path: string, visit: RunVisitor, options: ScanOptions): Promise<void> {
  const lists = new Map<string, HitList>();
  const reader = new RunReader(path, options, (qid) => {
    const list = lists.get(qid) ?? new HitList(64);
    lists.set(qid, list);
    return list;
  });
  await scanLines(path, (buffer, start, end, line) => reader.line(buffer, start, end, line));
  for (const [qid, hits] of lists) visit(qid, hits);
}

/**
 * Reads a TREC run (`qid Q0 docno rank score tag`, any white space, `#` comments; the rank column is ignored) or an MS MARCO run (`qid pid
 * rank`) query by query. Memory holds one query as long as each query's lines stand together; otherwise the whole run.
 *
 * @throws WinnowError `invalid_input` with file and line: too few fields, a score that is no number, a document twice for a query.
 */
export async function scanRunLines(path: string, visit: RunVisitor, options: ScanOptions = {}): Promise<void> {
  // Standard input cannot be read twice.
  if (path === STDIN) return scanScattered(path, visit, options);
  try {
    await scanGrouped(path, visit, options);
  } catch (error) {
    if (!(error instanceof NotGrouped)) throw error;
    await scanScattered(path, visit, options);
  }
}
