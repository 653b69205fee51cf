import { WinnowError } from '../../../errors.ts';
import { badLine, readText } from '../../../util/text.ts';
import { memoryPassages } from '../passages.ts';
import { addJudgement, type MutableQrels } from '../qrels.ts';
import { findFile, needFile } from './dataset-folder.ts';
import type { Loaded, Loader } from './loader.ts';

/** Reads lines without the last line break; all four files must have the same number. */
const linesOf = async (path: string): Promise<string[]> => (await readText(path)).replace(/\r?\n$/, '').split(/\r?\n/);

interface Columns {
  readonly ids: readonly string[];
  readonly questions: readonly string[];
  readonly sentences: readonly string[];
  readonly labels: readonly string[];
}

function assemble(
  { ids, questions, sentences, labels }: Columns,
  labelFile: string,
  source: string,
): Omit<Loaded, 'files'> {
  const queries = new Map<string, string>();
  const qrels: MutableQrels = new Map();
  const texts = new Map<string, string>();
  const candidates = new Map<string, { docids: string[]; scores: number[] }>();
  ids.forEach((qid, i) => {
    const known = queries.get(qid);
    if (known !== undefined && known !== questions[i])
      throw badLine(source, i + 1, `question ${qid} to be the same in every line`, 'another');
    if (!/^[01]$/.test(labels[i]!)) throw badLine(labelFile, i + 1, '0 or 1', `"${labels[i]}"`);
    queries.set(qid, questions[i]!);
    const list = candidates.get(qid) ?? { docids: [], scores: [] };
    candidates.set(qid, list);
    const docid = `${qid}-${list.docids.length}`;
    list.scores.push(-list.docids.length);
    list.docids.push(docid);
    texts.set(docid, sentences[i]!);
    addJudgement(qrels, qid, docid, Number(labels[i]));
  });
  return { queries, qrels, candidates, passages: memoryPassages(texts, source) };
}

/**
 * Loads WikiQA from parallel files (`a.toks` question, `b.toks` sentence, `id.txt` question id, `sim.txt` label), in a folder per split or
 * with the split in front of the name. A sentence's id is `question-position`; the order of the file is the candidate list.
 */
export const wikiqa: Loader = {
  shape: 'WikiQA folder: test.a.toks, test.b.toks, test.id.txt, test.sim.txt',
  detect: (place) => !place.isFile && findFile(place, /(^|\.)a\.toks$/) !== undefined,
  async load(place, spec) {
    const split = spec.split ?? 'test';
    const file = (end: string): string =>
      needFile(
        place,
        undefined,
        `${split}.${end}`,
        new RegExp(`^${split}\\.${end.replace('.', '\\.')}$`),
        new RegExp(`^${end.replace('.', '\\.')}$`),
      );
    const files = ['id.txt', 'a.toks', 'b.toks', 'sim.txt'].map(file);
    const [ids, questions, sentences, labels] = (await Promise.all(files.map(linesOf))) as [
      string[],
      string[],
      string[],
      string[],
    ];
    for (const [i, lines] of [questions, sentences, labels].entries())
      if (lines.length !== ids.length)
        throw new WinnowError('invalid_input', {
          where: files[i + 1]!,
          expected: `${ids.length} lines, as in ${files[0]}`,
          got: lines.length,
        });
    return { ...assemble({ ids, questions, sentences, labels }, files[3]!, files[1]!), files };
  },
};
