import { describe, WinnowError } from '../../errors.ts';
import { readLines } from '../../util/lines.ts';

/** The lines of one query in a run file, best first. */
export interface RunGroup {
  readonly qid: string;
  readonly docids: readonly string[];
  /** The teacher's values: scores, or negated ranks. Higher is better. */
  readonly values: readonly number[];
}

/** Column of a run file that holds the teacher's values. */
export type RunValue = 'score' | 'rank';

interface Hit {
  readonly docid: string;
  readonly rank: number;
  readonly score: number;
}

const bad = (where: string, expected: string, got: string): WinnowError =>
  new WinnowError('invalid_input', { where, expected, got });

/** White space of C, which separates the fields of a run; ids may hold other spaces of Unicode. */
const SPACE = /[ \t-\r]+/;

/** Parses `qid Q0 docid rank score tag`, or MS MARCO's `qid docid rank`, separated by white space. */
function readHit(text: string, where: string): Hit & { readonly qid: string } {
  const fields = text.split(SPACE).filter((field) => field !== '');
  if (fields.length !== 3 && fields.length < 5)
    throw bad(where, 'a line of a run (qid Q0 docid rank score tag, or qid docid rank)', describe(text));
  const [rank, score] = fields.length === 3 ? [fields[2]!, undefined] : [fields[3]!, fields[4]!];
  const hit = { rank: Number(rank), score: score === undefined ? -Number(rank) : Number(score) };
  if (!Number.isFinite(hit.rank)) throw bad(where, 'a number as rank', describe(rank));
  if (!Number.isFinite(hit.score)) throw bad(where, 'a number as score', describe(score));
  return { qid: fields[0]!, docid: fields.length === 3 ? fields[1]! : fields[2]!, ...hit };
}

/** Whether scores rise with every worse rank: they are ranks then, and would teach the reverse order. */
function isReversed(hits: readonly Hit[]): boolean {
  if (hits.length < 3) return false;
  const byRank = [...hits].sort((a, b) => a.rank - b.rank);
  return byRank.every((hit, i) => i === 0 || (hit.rank > byRank[i - 1]!.rank && hit.score > byRank[i - 1]!.score));
}

function groupOf(qid: string, hits: readonly Hit[], value: RunValue, where: string): RunGroup {
  if (new Set(hits.map((hit) => hit.docid)).size < hits.length)
    throw bad(where, `each passage once for query ${qid}`, 'a passage twice');
  if (value === 'score' && isReversed(hits))
    throw bad(where, 'scores that fall as ranks rise (or `teacherValue: rank`)', `rising ones for query ${qid}`);
  const values = hits.map((hit) => (value === 'rank' ? -hit.rank : hit.score));
  const order = [...hits.keys()].sort((a, b) => values[b]! - values[a]! || a - b);
  return { qid, docids: order.map((i) => hits[i]!.docid), values: order.map((i) => values[i]!) };
}

/**
 * Reads a run file query by query, in the memory of one query and the ids of the earlier ones.
 * @throws WinnowError `invalid_input` with file and line: a line that does not parse, a query in two places, scores that are ranks.
 */
export async function* readRunGroups(path: string, value: RunValue): AsyncGenerator<RunGroup> {
  const finished = new Set<string>();
  let qid: string | undefined;
  let hits: Hit[] = [];
  let last = 0;
  for await (const { line, text } of readLines(path)) {
    if (/^[ \t-\r]*(?:#|$)/.test(text)) continue;
    const where = `${path}:${line}`;
    const hit = readHit(text, where);
    if (hit.qid !== qid) {
      if (qid !== undefined) {
        yield groupOf(qid, hits, value, `${path}:${last}`);
        finished.add(qid);
      }
      if (finished.has(hit.qid)) throw bad(where, 'all lines of a query together (sort the file)', `${hit.qid} again`);
      qid = hit.qid;
      hits = [];
    }
    hits.push(hit);
    last = line;
  }
  if (qid !== undefined) yield groupOf(qid, hits, value, `${path}:${last}`);
}
