import type { JsonObject } from '../../util/json-files.ts';
import { TOPIC_PARTS } from './topic-fields.ts';

/*
 * Names of fields in rows of JSON lines and of Parquet files: BEIR and MTEB (`_id`, `query-id`, `corpus-id`), ir_datasets (`query_id`,
 * `doc_id`, `relevance`), Anserini (`id`, `contents`), MS MARCO v2 (`pid`, `passage`). The first name that a row has is taken.
 */

const QUERY_IDS = ['qid', 'query_id', 'query-id', 'queryid', 'topic_id'] as const;
/** Names of the document id in a row of judgements or of a run. */
export const DOCUMENT_IDS = ['docid', 'doc_id', 'corpus-id', 'corpus_id', 'pid', 'passage_id', 'docno'] as const;
const GRADES = ['rel', 'relevance', 'score', 'label', 'grade'] as const;
const TEXTS = ['text', 'contents', 'content', 'passage', 'segment', 'body', 'abstract'] as const;

/** Every name that a reader of rows looks for. */
export const ROW_FIELDS: ReadonlySet<string> = new Set([
  ...['_id', 'id'],
  ...QUERY_IDS,
  ...DOCUMENT_IDS,
  ...GRADES,
  ...TEXTS,
  ...TOPIC_PARTS,
]);

const nameIn = (row: JsonObject, names: readonly [string, ...string[]]): string =>
  names.find((name) => name in row) ?? names[0];

/** Returns the name of the query id in a row of judgements or of a run. */
export const queryIdName = (row: JsonObject): string => nameIn(row, QUERY_IDS);

/** Returns the name of the document id in a row of judgements or of a run. */
export const documentIdName = (row: JsonObject): string => nameIn(row, DOCUMENT_IDS);

/** Returns the name of the grade in a row of judgements. */
export const gradeName = (row: JsonObject): string => nameIn(row, GRADES);

/** Returns the name of the id in a row of queries. */
export const ownQueryIdName = (row: JsonObject): string => nameIn(row, ['_id', ...QUERY_IDS, 'id']);

/** Returns the name of the id in a row of a collection. */
export const passageIdName = (row: JsonObject): string => nameIn(row, ['_id', 'id', ...DOCUMENT_IDS]);

/** Returns the name of the text in a row of a collection. */
export const passageTextName = (row: JsonObject): string => nameIn(row, TEXTS);
