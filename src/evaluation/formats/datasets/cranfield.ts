import { WinnowError } from '../../../errors.ts';
import { scanLines } from '../../../util/lines.ts';
import { badLine, readText } from '../../../util/text.ts';
import { splitFields } from '../fields.ts';
import { memoryPassages } from '../passages.ts';
import { addJudgement, type MutableQrels } from '../qrels.ts';
import { addOnce } from '../topics.ts';
import { findFile, needFile } from './dataset-folder.ts';
import type { Loader } from './loader.ts';

interface Entry {
  readonly id: string;
  readonly fields: ReadonlyMap<string, string>;
}

/** Parses the SMART format: `.I id`, then fields `.T .A .B .W` whose text runs to the next line that starts with a dot and a capital. */
function* parseSmart(text: string): Generator<Entry> {
  for (const part of text.split(/^\.I\s+/m).slice(1)) {
    const [head = '', ...rest] = part.split(/\r?\n/);
    const fields = new Map<string, string>();
    let field = '';
    for (const line of rest) {
      const match = /^\.([A-Z])\s*$/.exec(line);
      if (match !== null) field = match[1]!;
      else fields.set(field, `${fields.get(field) ?? ''} ${line}`);
    }
    yield { id: String(Number(head.trim())), fields };
  }
}

const singleSpaced = (text: string | undefined): string => (text ?? '').replace(/\s+/g, ' ').trim();

function readDocuments(text: string, path: string): Map<string, string> {
  const documents = new Map<string, string>();
  // The body repeats the title as its first sentence.
  for (const { id, fields } of parseSmart(text))
    addOnce(
      documents,
      id,
      singleSpaced(fields.get('W')) || singleSpaced(fields.get('T')),
      (got) => new WinnowError('invalid_input', { where: path, expected: 'each document once', got }),
    );
  return documents;
}

/** Numbers queries 1, 2, 3 … by their place in the file, as the judgements do; the numbers after `.I` differ. */
const readQueriesInOrder = (text: string): Map<string, string> =>
  new Map(Array.from(parseSmart(text), ({ fields }, i) => [String(i + 1), singleSpaced(fields.get('W'))]));

/** Cleverdon's codes run from 1 (complete answer) to 4 (minimum interest), so grade = 5 − code; −1 is judged and not relevant. */
async function readJudgements(path: string): Promise<MutableQrels> {
  const qrels: MutableQrels = new Map();
  const spans = new Int32Array(8);
  await scanLines(path, (buffer, start, end, line) => {
    const count = splitFields(buffer, start, end, spans);
    if (count === 0) return;
    const field = (i: number): string => buffer.toString('latin1', spans[2 * i]!, spans[2 * i + 1]!);
    const code = count === 3 ? Number(field(2)) : Number.NaN;
    if (![-1, 1, 2, 3, 4, 5].includes(code))
      throw badLine(
        path,
        line,
        'query, document and a code of -1 or 1 … 5',
        `"${buffer.toString('latin1', start, end)}"`,
      );
    if (!addJudgement(qrels, field(0), field(1), code === -1 ? 0 : 5 - code))
      throw badLine(path, line, `each document once for query ${field(0)}`, `${field(1)} again`);
  });
  return qrels;
}

/** Loads Cranfield 1400 as SMART distributed it: `cran.all.1400`, `cran.qry`, `cranqrel`. */
export const cranfield: Loader = {
  shape: 'Cranfield folder: cran.all.1400, cran.qry, cranqrel',
  detect: (place) => !place.isFile && findFile(place, /^cran\.all/) !== undefined,
  async load(place, spec) {
    const corpus = needFile(place, spec.corpus, 'cran.all.1400', /^cran\.all/);
    const queriesFile = needFile(place, spec.queries, 'cran.qry', /^cran\.qry$/);
    const qrelsFile = needFile(place, spec.qrels, 'cranqrel', /^cranqrel$/);
    return {
      qrels: await readJudgements(qrelsFile),
      queries: readQueriesInOrder(await readText(queriesFile)),
      passages: memoryPassages(readDocuments(await readText(corpus), corpus), corpus),
      files: [corpus, queriesFile, qrelsFile],
    };
  },
};
