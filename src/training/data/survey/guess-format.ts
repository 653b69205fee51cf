import { stat } from 'node:fs/promises';
import { describe, WinnowError } from '../../../errors.ts';
import { datasetFormat } from '../../../evaluation/formats/load-dataset.ts';
import { isParquet } from '../../../evaluation/formats/parquet.ts';
import { readHead } from '../../../util/bytes.ts';
import { isObject } from '../../../util/json-files.ts';
import { parseJson } from '../../../util/parse-json.ts';
import { spellsNumber } from '../cells.ts';
import { roleOf } from '../columns.ts';
import type { DataFormat } from '../data-schema.ts';
import { datasetFiles, isArrow, recordFormatOf } from '../datasets-folder.ts';
import { tabCells } from '../table-records.ts';

/** Bytes of a file that its form is guessed from. */
const HEAD_BYTES = 1 << 20;
/** Lines that are looked at. */
const LINES = 20;

const FOLDERS: Readonly<Record<string, DataFormat>> = { beir: 'beir', wikiqa: 'wikiqa', squad: 'squad' };

const isNumber = (text: string | undefined): boolean => text !== undefined && spellsNumber(text);

function jsonLine(text: string): DataFormat | undefined {
  try {
    const row: unknown = parseJson(text);
    if (!isObject(row)) return undefined;
    if (Array.isArray(row.data)) return /"paragraphs"\s*:/.test(text) ? 'squad' : 'json';
    // Columns, not a row.
    if (Object.values(row).every((cells) => Array.isArray(cells))) return 'json';
    return 'hits' in row || 'candidates' in row ? 'rank_llm' : 'jsonl';
  } catch {
    return undefined;
  }
}

/** A run has `qid Q0 docid rank score tag`, or MS MARCO's three fields whose last one is the rank: 1 in the first line, then mostly rising. */
function isRun(lines: readonly string[]): boolean {
  const rows = lines.map((line) => line.trim().split(/\s+/));
  if (rows.every((row) => row.length === 6 && isNumber(row[3]) && isNumber(row[4]))) return true;
  const ranks = rows.map((row) => Number(row[2]));
  return (
    rows.every((row) => row.length === 3) && ranks.every((rank, i) => rank === 1 || rank === (ranks[i - 1] ?? 0) + 1)
  );
}

function tableOf(lines: readonly string[]): DataFormat | undefined {
  if (isRun(lines)) return 'trec';
  const plain = lines.map((line) => line.split('\t'));
  const rows = lines.map((line) => tabCells(line, plain[0]!.length) ?? line.split('\t'));
  if (rows.every((row) => row.length === 5 && isNumber(row[0]) && isNumber(row[1]))) return 'teacher_tsv';
  const width = rows[0]!.length;
  if (width < 2 || rows.some((row) => row.length > width)) return undefined;
  // A header makes it a table, whose cells may be quoted.
  const isNamed = rows[0]!.every((cell) => roleOf(cell, undefined) !== undefined);
  const isTriple =
    !isNamed && rows.every((row) => row.length === 3) && !(rows.length > 1 && rows.slice(1).every(isLabeled));
  return isTriple ? 'triples' : 'tsv';
}

/** Whether a row of three is query, passage and label; ids are whole numbers in all columns. */
const isLabeled = ([first, , last]: readonly string[]): boolean => isNumber(last) && !isNumber(first);

/** Looks at the text of a file that is one JSON document. */
function documentOf(text: string): DataFormat | undefined {
  if (/"paragraphs"\s*:/.test(text)) return 'squad';
  return /"(hits|candidates)"\s*:/.test(text) ? 'rank_llm' : 'json';
}

async function fileFormat(path: string): Promise<DataFormat | undefined> {
  if ((await stat(path)).isDirectory()) return (await datasetFiles(path)) && 'datasets';
  if (await isParquet(path)) return 'parquet';
  if (recordFormatOf(path) === 'csv') return 'csv';
  const { head } = await readHead(path, HEAD_BYTES);
  const text = head.toString('utf8').replace(/^\ufeff/, '');
  const lines = text.split(/\r?\n/);
  // The last line may be cut.
  if (lines.length > 1) lines.pop();
  const [first, ...more] = lines.filter((line) => line.trim() !== '').slice(0, LINES);
  if (first === undefined) return undefined;
  return jsonLine(first) ?? (/^\s*[[{]/.test(first) ? documentOf(text) : tableOf([first, ...more]));
}

/**
 * Returns the format of a file or folder of training data by its content, or by its layout.
 * @throws WinnowError `invalid_input` where it is none of those that training reads.
 */
export async function guessFormat(path: string): Promise<DataFormat> {
  if (isArrow(path)) return 'datasets';
  const layout = await datasetFormat(path).catch(async (error) => {
    if (!(await stat(path)).isDirectory()) throw error;
    await datasetFiles(path);
    return undefined;
  });
  const found = layout === undefined ? await fileFormat(path) : FOLDERS[layout];
  if (found !== undefined) return found;
  throw new WinnowError('invalid_input', {
    where: path,
    expected: 'lists, rows or triples in a form that training reads (docs/training-data.md); --format names it',
    got: layout === undefined ? 'another file' : describe(`a data set in the layout of ${layout}`),
  });
}
