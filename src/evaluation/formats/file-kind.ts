import { stat } from 'node:fs/promises';
import { WinnowError } from '../../errors.ts';
import { readHead, STDIN } from '../../util/bytes.ts';
import { isJson, isJsonLines } from '../../util/json-files.ts';
import { isParquet } from './parquet.ts';
import { isSmart } from './smart.ts';

/** What a text file holds: JSON, text with tags (XML, SGML), a SMART collection, or lines. */
type TextKind = 'json' | 'tags' | 'smart' | 'lines';

interface KnownFile {
  readonly kind: TextKind | 'parquet';
  /** Whether the file is packed, a pipe or Parquet: no record can be read by its offset. */
  readonly packed: boolean;
}

const HEAD_BYTES = 4096;

export const isTsv = (path: string): boolean => /\.tsv(\.(?:gz|zst))?$/i.test(path);

function kindOf(head: string): TextKind {
  const start = head.trimStart();
  if (/^[{[]/.test(start)) return 'json';
  if (/^<[!?/A-Za-z]/.test(start)) return 'tags';
  return isSmart(start) ? 'smart' : 'lines';
}

const byName = (path: string): TextKind | undefined =>
  isJsonLines(path) || isJson(path) ? 'json' : isTsv(path) ? 'lines' : undefined;

/** Returns what a text holds that was read from `path`: by the name if that is `.jsonl`, `.json` or `.tsv`, else by how it begins. */
export const kindOfText = (path: string, text: string): TextKind => byName(path) ?? kindOf(text.slice(0, HEAD_BYTES));

/** Returns whether a path can be read more than once, which a pipe cannot. */
export const isRegular = async (path: string): Promise<boolean> =>
  path !== STDIN &&
  (await stat(path).then(
    (found) => !found.isFIFO() && !found.isCharacterDevice(),
    () => true,
  ));

/**
 * Returns what a file holds: Parquet by its name or its first and last bytes, else by its name if that is `.jsonl`, `.json` or `.tsv`, else
 * by its first bytes. A pipe holds lines unless its name says otherwise.
 *
 * @throws WinnowError `invalid_input` if the file cannot be read, or is of a binary format.
 */
export async function kindOfFile(path: string): Promise<KnownFile> {
  if (!(await isRegular(path))) return { kind: byName(path) ?? 'lines', packed: true };
  if (await isParquet(path)) return { kind: 'parquet', packed: true };
  const { head, packed } = await readHead(path, HEAD_BYTES);
  if (packed && head.toString('latin1', 0, 5) === 'PAR1\x15')
    throw new WinnowError('invalid_input', {
      where: path,
      expected: 'Parquet as it is',
      got: 'Parquet in gzip; unpack it',
    });
  return { kind: kindOfText(path, head.toString('utf8').replace(/^\ufeff/, '')), packed };
}
