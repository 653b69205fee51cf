import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { WinnowError } from '../../errors.ts';
import { readHead, STDIN, unreadable } from '../../util/bytes.ts';
import { readText } from '../../util/text.ts';
import { kindOfFile } from './file-kind.ts';
import { PARQUET, PASSAGE_FORMATS, type PassageReader } from './passage-formats.ts';
import { indexPassages } from './passage-index.ts';
import { missingPassage, type PassageStore } from './passage-store.ts';
import { readSmartDocuments } from './smart.ts';
import { unpackPassages } from './unpack-passages.ts';

/** Collections larger than this (64 MiB) stay on disk behind an index. */
const IN_MEMORY_BYTES = 64 * 2 ** 20;

/** Wraps texts in memory as a store. @param source name of the collection in errors. */
export function memoryPassages(texts: ReadonlyMap<string, string>, source: string): PassageStore {
  return {
    size: texts.size,
    async texts(ids) {
      return ids.map((id) => {
        const text = texts.get(id);
        if (text === undefined) throw missingPassage(source, id);
        return text;
      });
    },
    async *entries() {
      for (const [id, text] of texts) yield { id, text };
    },
    async close() {},
  };
}

async function readToMemory(paths: readonly string[], format: PassageReader): Promise<PassageStore> {
  const texts = new Map<string, string>();
  for (const path of paths)
    await format.scan(path, ({ id, text }, line) => {
      if (texts.has(id)) {
        const where = format.place(path, line);
        throw new WinnowError('invalid_input', { where, expected: 'each passage once', got: `${id} again` });
      }
      texts.set(id, text);
    });
  return memoryPassages(texts, paths.length === 1 ? paths[0]! : `${paths[0]} and ${paths.length - 1} more`);
}

/** Files of a collection's folder that hold no passages: NIST's notes and document types, licenses. */
const NOTES = /^\.|^read(me|chg|frcg)|^(license|copying)|\.(md|dtd)$|dtds?$/i;

const MOST_DEPTH = 8;

/** Files that are not passages, whatever they contain. */
const OTHERS = /^(queries|topics|qrels)\b/i;

/** Lists the files at a path: the path itself, or all files below a folder but notes, sorted by name. */
async function filesAt(path: string, depth = 0): Promise<string[]> {
  const found = await stat(path).catch((error) => {
    throw unreadable(path, error);
  });
  if (!found.isDirectory()) return [path];
  if (depth > MOST_DEPTH)
    throw new WinnowError('invalid_input', {
      where: path,
      expected: `at most ${MOST_DEPTH} folders deep`,
      got: 'more',
    });
  const files: string[] = [];
  for (const name of (await readdir(path)).sort())
    if (OTHERS.test(name))
      throw new WinnowError('invalid_input', { where: path, expected: 'a folder of passages alone', got: name });
    else if (!NOTES.test(name)) files.push(...(await filesAt(join(path, name), depth + 1)));
  return files;
}

/** Lists the files of a collection: files, and all files below folders but notes. @throws WinnowError `invalid_input`. */
export const collectionFiles = async (paths: readonly string[]): Promise<string[]> =>
  (await Promise.all(paths.map((one) => filesAt(one)))).flat();

/** Returns whether a file, or the first file below a folder, begins with one of TREC's `<DOC>` documents. */
export async function holdsDocuments(path: string): Promise<boolean> {
  try {
    const [first] = await filesAt(path);
    if (first === undefined || (await kindOfFile(first)).kind !== 'tags') return false;
    const { head } = await readHead(first, 4096);
    return /^[^<]*(?:<[?!][^>]*>\s*)*(?:<\w+>\s*)?<doc[\s>]/i.test(head.toString('latin1'));
  } catch (error) {
    if (error instanceof WinnowError) return false;
    throw error;
  }
}

/** Opens files of one kind. SMART collections are small: one file in memory. */
async function openFiles(files: readonly string[], inMemory: number): Promise<PassageStore> {
  const known: Awaited<ReturnType<typeof kindOfFile>>[] = [];
  for (const file of files) known.push(await kindOfFile(file));
  const { kind } = known[0]!;
  const other = known.findIndex((file) => file.kind !== kind);
  if (other > 0) {
    const expected = `the format of ${files[0]} (${KINDS[kind]})`;
    throw new WinnowError('invalid_input', { where: files[other]!, expected, got: KINDS[known[other]!.kind] });
  }
  if (kind === 'smart') {
    if (files.length > 1)
      throw new WinnowError('invalid_input', { where: files[1]!, expected: 'one SMART file', got: files.length });
    return memoryPassages(readSmartDocuments(await readText(files[0]!), files[0]!), files[0]!);
  }
  const sizes = await Promise.all(files.map(async (file) => (await stat(file)).size));
  const small = sizes.reduce((sum, size) => sum + size, 0) <= inMemory;
  if (kind === 'parquet') return small ? readToMemory(files, PARQUET) : unpackPassages(files);
  const format = PASSAGE_FORMATS[kind];
  return small || known.some(({ packed }) => packed) ? readToMemory(files, format) : indexPassages(files, format);
}

const KINDS = {
  json: 'JSON lines',
  parquet: 'Parquet',
  tags: '<DOC> documents',
  smart: 'SMART',
  lines: 'id <tab> text',
} as const;

/**
 * Opens a collection: files of one passage a line (`id <tab> text`, or JSON lines of BEIR, MTEB, ir_datasets, Anserini), Parquet files, files
 * of TREC's `<DOC>` documents, or a SMART file. Of a folder it takes all files below it. Up to 64 MiB, and packed files, are read into
 * memory; more stays on disk behind an index of about 30 bytes a passage.
 *
 * @throws WinnowError `invalid_input` with file and line: a record that does not parse, an id that comes twice, files of two formats.
 */
export async function openPassages(
  path: string | readonly string[],
  options: { inMemory?: number } = {},
): Promise<PassageStore> {
  if (path === STDIN) return readToMemory([path], PASSAGE_FORMATS.lines);
  const given = typeof path === 'string' ? [path] : path;
  const files = await collectionFiles(given);
  if (files.length > 0) return openFiles(files, options.inMemory ?? IN_MEMORY_BYTES);
  throw new WinnowError('invalid_input', { where: given.join(', '), expected: 'a collection', got: 'an empty folder' });
}
