import { describe, WinnowError } from '../../../errors.ts';
import { isObject, type JsonObject, readId, readJsonFile, textField } from '../../../util/json-files.ts';
import { memoryPassages } from '../passages.ts';
import { addJudgement, type MutableQrels } from '../qrels.ts';
import { addOnce } from '../topics.ts';
import { findFile, needFile, onlyPath, type Place } from './dataset-folder.ts';
import type { Loader } from './loader.ts';

function listOf(value: JsonObject, field: string, where: string): JsonObject[] {
  const list = value[field];
  if (Array.isArray(list) && list.every(isObject)) return list;
  throw new WinnowError('invalid_input', {
    where,
    expected: `"${field}" to be a list of objects`,
    got: describe(list),
  });
}

function fileOf(place: Place, given: string | undefined): string {
  return place.isFile ? place.path : needFile(place, given, 'a SQuAD JSON file', /^(xquad|squad|dev|train).*\.json$/);
}

/** Loads SQuAD and XQuAD: every paragraph is a passage with the id `article-paragraph`, and relevant to the questions under it. */
export const squad: Loader = {
  shape: 'SQuAD or XQuAD file: {"data": [{"title", "paragraphs": [{"context", "qas"}]}]}',
  detect: (place) =>
    place.isFile
      ? /quad[^/]*\.json(\.(?:gz|zst))?$/i.test(place.path)
      : findFile(place, /^(xquad|squad).*\.json$/) !== undefined,
  async load(place, spec) {
    const path = fileOf(place, onlyPath(spec.corpus));
    const root = await readJsonFile(path);
    if (!isObject(root))
      throw new WinnowError('invalid_input', { where: path, expected: 'an object with "data"', got: describe(root) });
    const queries = new Map<string, string>();
    const texts = new Map<string, string>();
    const qrels: MutableQrels = new Map();
    const twice = (got: string): Error =>
      new WinnowError('invalid_input', { where: path, expected: 'each question once', got });
    listOf(root, 'data', path).forEach((article, a) => {
      listOf(article, 'paragraphs', `${path}, article ${a}`).forEach((paragraph, p) => {
        const where = `${path}, article ${a}, paragraph ${p}`;
        const docid = `${a}-${p}`;
        texts.set(docid, textField(paragraph, 'context', where));
        for (const qa of listOf(paragraph, 'qas', where)) {
          const qid = readId(qa, 'id', where);
          addOnce(queries, qid, textField(qa, 'question', where), twice);
          addJudgement(qrels, qid, docid, 1);
        }
      });
    });
    return { queries, qrels, passages: memoryPassages(texts, path), files: [path] };
  },
};
