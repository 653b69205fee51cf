import { readId, scanJsonLines } from '../../../util/json-files.ts';
import { badLine, placeOf } from '../../../util/text.ts';
import { openPassages } from '../passages.ts';
import { addJudgement, type MutableQrels } from '../qrels.ts';
import { readTsv } from '../topics.ts';
import { findFile, needCollection, needFile } from './dataset-folder.ts';
import type { Loader } from './loader.ts';

/** Reads `qas.*.jsonl`: every answer passage is relevant with grade 1. */
async function readAnswers(path: string): Promise<MutableQrels> {
  const qrels: MutableQrels = new Map();
  await scanJsonLines(path, (value, line) => {
    const qid = readId(value, 'qid', placeOf(path, line));
    const answers = value.answer_pids;
    if (!Array.isArray(answers) || answers.length === 0)
      throw badLine(path, line, '"answer_pids" to list passages', 'none');
    if (qrels.has(qid)) throw badLine(path, line, 'each query once', `${qid} again`);
    const pids = answers.map((_, i) => readId(answers, i, `${placeOf(path, line)}, answer_pids`));
    for (const pid of new Set(pids)) addJudgement(qrels, qid, pid, 1);
  });
  return qrels;
}

/** Loads a LoTTE domain: `collection.tsv`, `questions.{search,forum}.tsv`, `qas.{search,forum}.jsonl`. */
export const lotte: Loader = {
  shape: 'LoTTE folder: collection.tsv, questions.search.tsv, qas.search.jsonl',
  detect: (place) => !place.isFile && findFile(place, /^qas\.(search|forum)\.jsonl$/) !== undefined,
  async load(place, spec) {
    const split = spec.split ?? 'search';
    const corpus = await needCollection(place, spec.corpus, 'collection.tsv', /^collection\.tsv$/);
    const questions = needFile(
      place,
      spec.queries,
      `questions.${split}.tsv`,
      new RegExp(`^questions\\.${split}\\.tsv$`),
    );
    const answers = needFile(place, spec.qrels, `qas.${split}.jsonl`, new RegExp(`^qas\\.${split}\\.jsonl$`));
    return {
      qrels: await readAnswers(answers),
      queries: await readTsv(questions),
      passages: await openPassages(corpus),
      files: [...corpus, questions, answers],
    };
  },
};
