import { appendFile, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryFolder } from '../../util/files.ts';
import { parseJson } from '../../util/parse-json.ts';
import { createRandom, deriveSeed } from '../../util/random.ts';
import type { RawList } from './raw-list.ts';

/** Characters of labeled pairs, with an allowance for each pair, that are grouped in memory; more go to disk. */
const HELD = 8 * 2 ** 20;
const EACH = 150;
/** Files that pairs are spread over, by query. Each is read as a whole. */
const PARTS = 128;
const WRITTEN_AT_ONCE = 1 << 15;

/** Pairs with a teacher's score are a list of their own, as are labeled ones: a list has scores or labels for all passages or for none. */
const keyOf = ({ query, qid = '', teacher, labeled }: RawList): string =>
  `${teacher ? 1 : 0}${labeled ? 1 : 0}${qid}\0${query}`;

/** Joins the pairs of each query into one list, in the order in which the queries first come. */
function* joined(pairs: Iterable<RawList>): Generator<RawList> {
  const groups = new Map<string, RawList[]>();
  for (const pair of pairs) {
    const group = groups.get(keyOf(pair));
    if (group) group.push(pair);
    else groups.set(keyOf(pair), [pair]);
  }
  for (const group of groups.values()) {
    const [first] = group;
    yield {
      ...first!,
      passages: group.flatMap(({ passages }) => passages),
      relevance: group.flatMap(({ relevance }) => relevance),
      rows: group.length,
      ...(first!.docids && { docids: group.flatMap(({ docids }) => docids ?? []) }),
      ...(first!.teacher && { teacher: group.flatMap(({ teacher }) => teacher ?? []) }),
      ...(group.some(({ weights }) => weights) && {
        weights: group.flatMap(({ weights, passages }) => weights ?? passages.map(() => 1)),
      }),
    };
  }
}

interface Spill {
  add(pair: RawList): Promise<void>;
  groups(): AsyncGenerator<RawList>;
  remove(): Promise<void>;
}

async function openSpill(): Promise<Spill> {
  const folder = await temporaryFolder('pairs');
  const waiting = Array.from({ length: PARTS }, () => '');
  const fileOf = (part: number): string => join(folder.path, `${part}.jsonl`);
  const flush = async (part: number): Promise<void> => {
    const text = waiting[part]!;
    waiting[part] = '';
    await appendFile(fileOf(part), text);
  };
  return {
    async add(pair) {
      const part = createRandom(deriveSeed(0, 'part', pair.query)).below(PARTS);
      waiting[part] += `${JSON.stringify(pair)}\n`;
      if (waiting[part]!.length >= WRITTEN_AT_ONCE) await flush(part);
    },
    async *groups() {
      for (let part = 0; part < PARTS; part++) {
        await flush(part);
        const lines = (await readFile(fileOf(part), 'utf8')).split('\n').filter((line) => line !== '');
        yield* joined(lines.map((line) => parseJson(line) as RawList));
      }
    },
    remove: () => folder.remove(),
  };
}

/**
 * Groups labeled pairs by query over all rows; rows of several passages pass through. Up to `held` characters stay in memory. More go to
 * temporary files by a hash of the query, so that a part of 1/128 of the pairs is in memory at a time; the order depends on the rows alone.
 */
export async function* groupPairs(rows: AsyncIterable<RawList>, held = HELD): AsyncGenerator<RawList> {
  let pairs: RawList[] = [];
  let size = 0;
  let spill: Spill | undefined;
  try {
    for await (const row of rows) {
      if (row.passages.length !== 1) {
        yield row;
        continue;
      }
      pairs.push(row);
      size += EACH + row.query.length + row.passages[0]!.length;
      if (size <= held && !spill) continue;
      spill ??= await openSpill();
      for (const pair of pairs) await spill.add(pair);
      pairs = [];
    }
    yield* spill ? spill.groups() : joined(pairs);
  } finally {
    await spill?.remove();
  }
}
