import { writeFileSync } from 'node:fs';

/** Number of passages of each list. */
const PASSAGES = 8;

/**
 * Writes queries with eight passages each in rank_llm's form, `path.json`, and judgements by which the first passage of each is relevant, `path.qrels`.
 * @param query makes a query's text. @param passage makes the text of passage `d` of query `q`.
 */
export function writeRankLlmLists(
  path: string,
  count: number,
  query: () => string,
  passage: (q: number, d: number) => string,
): void {
  const lists = Array.from({ length: count }, (_, q) => ({
    query: query(),
    hits: Array.from({ length: PASSAGES }, (_, d) => ({
      qid: `q${q}`,
      docid: `d${q}-${d}`,
      rank: d + 1,
      score: PASSAGES - d,
      content: passage(q, d),
    })),
  }));
  writeFileSync(`${path}.json`, JSON.stringify(lists));
  writeFileSync(`${path}.qrels`, lists.map((_, q) => `q${q} 0 d${q}-0 1\n`).join(''));
}
