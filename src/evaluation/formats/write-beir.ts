import { join } from 'node:path';
import type { Qrels } from '../measures/ranked.ts';
import type { Passage } from './passage-store.ts';
import { writeQrels } from './qrels.ts';
import { type Queries, writeQueries } from './topics.ts';
import { writeLines } from './write-lines.ts';

/** Content of a BEIR folder. */
interface BeirContent {
  readonly passages: Iterable<Passage & { readonly title?: string }>;
  readonly queries: Queries;
  readonly qrels: Qrels;
  /** Default `test`. */
  readonly split?: string;
}

function* corpusLines(passages: BeirContent['passages']): Generator<string> {
  for (const { id, title = '', text } of passages) yield JSON.stringify({ _id: id, title, text, metadata: {} });
}

/** Writes `corpus.jsonl`, `queries.jsonl` and `qrels/SPLIT.tsv`, each whole or not at all. */
export async function writeBeir(
  folder: string,
  { passages, queries, qrels, split = 'test' }: BeirContent,
): Promise<void> {
  await writeLines(join(folder, 'corpus.jsonl'), corpusLines(passages));
  await writeQueries(join(folder, 'queries.jsonl'), queries);
  await writeQrels(join(folder, 'qrels', `${split}.tsv`), qrels, 'beir');
}
