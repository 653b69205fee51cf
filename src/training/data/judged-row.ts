import type { Qrels } from '../../evaluation/measures/ranked.ts';
import type { JsonObject } from '../../util/json-files.ts';
import { type Drop, textCells } from './cells.ts';
import type { Columns } from './columns.ts';
import { badRow, type RawList, type RowReading, type RowSkip } from './raw-list.ts';
import { readWeights, weightsOf } from './row-weights.ts';

/*
 * Rows of ids and texts that judgements grade, such as MS MARCO's top1000 files (query id, passage id, query, passage).
 */

/** Returns the only text of the columns of a role; undefined for an empty cell. */
function only(cells: JsonObject, names: readonly string[], where: string, drop: Drop): string | undefined {
  const [first, ...more] = names.flatMap((name) => textCells(cells, name, where, drop));
  if (more.length > 0)
    throw badRow(where, `one value in ${names.join(', ')}, as \`qrels\` judges single passages`, cells);
  return first;
}

/**
 * Reads a row of one passage and grades it by the judgements of its ids; passages that are not judged have grade 0, as in a run.
 * @throws WinnowError `invalid_input` with file and line for rows without ids or with labels of their own.
 */
export function judgedRow(
  cells: JsonObject,
  columns: Columns,
  where: string,
  { reading, drop, qrels }: { readonly reading: RowReading; readonly drop: Drop; readonly qrels: Qrels },
): RawList | RowSkip {
  const fields = `fields ${Object.keys(cells).join(', ')}`;
  const [qids, docids] = [columns['query-id'], columns['passage-id']];
  if (qids.length === 0 || docids.length === 0)
    throw badRow(where, 'columns of ids, such as qid and pid, which `qrels` judges', fields);
  const others = ['label', 'score', 'positive', 'negative'] as const;
  const other = others.flatMap((role) => columns[role])[0];
  if (other !== undefined)
    throw badRow(
      where,
      `\`qrels\` or the column ${JSON.stringify(other)} (\`columns\` leaves it out by \`ignore\`)`,
      'both',
    );
  const [qid, docid] = [only(cells, qids, where, drop), only(cells, docids, where, drop)];
  const texts = { query: columns.query, passage: [...columns.passage, ...columns.answer] };
  const query = reading.queries === undefined ? only(cells, texts.query, where, drop) : qid;
  const passage = reading.collection === undefined ? only(cells, texts.passage, where, drop) : docid;
  if (query === undefined || qid === undefined) return 'query that is not text';
  if (passage === undefined || docid === undefined) return 'no passage that is text';
  const grade = qrels.get(qid)?.get(docid) ?? 0;
  const weights = readWeights(cells, columns.weight, where);
  return {
    qid,
    query,
    docids: [docid],
    passages: [passage],
    relevance: [grade >= (reading.minRelevance ?? 1) ? Math.max(0, grade) : 0],
    ...(weights && { weights: weightsOf(weights, [passage], where) }),
  };
}
