import { resolve as resolvePath } from 'node:path';
import { openPassages } from '../../evaluation/formats/passages.ts';
import { readQueries } from '../../evaluation/formats/topics.ts';
import { readLines, sha256File } from '../../files.ts';
import { createRandom, deriveSeed } from '../../random.ts';
import { type Lookup, type RawList, ROW_READERS, type RowFormat, resolve } from './row-formats.ts';
import { sample } from './sampler.ts';
import type { DataSource, Sampler } from './schema.ts';
import type { CandidateList, ListSource } from './types.ts';

/** Rows that wait to be drawn: tens of millions of rows pass through in constant memory, mixed within windows of this size. */
const SHUFFLE_ROWS = 10_000;

/** Passes items on in an order the seed decides: a full buffer gives up a random one for each that comes. */
async function* shuffled<T>(items: AsyncIterable<T>, seed: number, size: number): AsyncGenerator<T> {
  const random = createRandom(deriveSeed(seed, 'shuffle'));
  const buffer: T[] = [];
  for await (const item of items) {
    if (buffer.length < size) buffer.push(item);
    else {
      const place = random.below(size);
      yield buffer[place]!;
      buffer[place] = item;
    }
  }
  yield* random.shuffle(buffer);
}

async function openLookup(source: DataSource, folder: string): Promise<{ lookup: Lookup; files: string[] }> {
  const at = (path: string) => resolvePath(folder, path);
  const queries = source.queries === undefined ? undefined : await readQueries(at(source.queries));
  const passages = source.collection === undefined ? undefined : await openPassages(at(source.collection));
  return {
    files: [source.queries, source.collection].flatMap((p) => (p === undefined ? [] : [at(p)])),
    lookup: {
      query: (id) => (queries ? queries.get(id) : id),
      passages: async (ids) => (passages ? passages.texts(ids).catch(() => undefined) : ids),
    },
  };
}

/**
 * A file of one list a line, read as a stream: MS MARCO triples (ids or texts), Hofstätter's teacher scores, JSONL of sentence-transformers
 * and FlagEmbedding. `.gz` is unpacked on the way.
 */
export async function rowSource(
  source: DataSource & { readonly format: RowFormat },
  sampler: Sampler,
  folder: string,
): Promise<ListSource> {
  const path = resolvePath(folder, source.path);
  const read = ROW_READERS[source.format];
  const { lookup, files } = await openLookup(source, folder);
  const skipped: Record<string, number> = {};
  const skip = (reason: string): void => {
    skipped[reason] = (skipped[reason] ?? 0) + 1;
  };
  async function* rows(): AsyncGenerator<RawList> {
    for await (const { line, text } of readLines(path)) {
      if (text.trim() === '') continue;
      const row = read(text, `${path}:${line}`);
      if (typeof row === 'string') skip(row);
      else yield row;
    }
  }
  async function* lists(seed: number): AsyncGenerator<CandidateList> {
    for await (const raw of shuffled(rows(), seed, SHUFFLE_ROWS)) {
      const list = await resolve(raw, lookup);
      const sampled = typeof list === 'string' ? list : sample(list, sampler, seed);
      if (typeof sampled === 'string') skip(sampled);
      else yield sampled;
    }
  }
  return {
    files: await Promise.all([path, ...files].map(async (file) => ({ path: file, sha256: await sha256File(file) }))),
    skipped: () => skipped,
    lists,
  };
}
