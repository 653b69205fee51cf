import { existsSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeLines } from '../../src/evaluation/formats/write-lines.ts';
import { openBiEncoder } from '../../src/training/teachers/bi-encoder.ts';
import { sha256File, writeFileAtomic } from '../../src/util/files.ts';
import { startProgress } from '../../src/util/progress.ts';
import { createRandom } from '../../src/util/random.ts';
import { type List, readLists } from './lists.ts';
import { rowOf } from './teacher.ts';

/** Texts embedded between updates of the progress bar. */
const SLICE = 512;
/** Judged queries that are not trained on; the best checkpoint and the best seed are chosen by them. */
const HELD_OUT = 14;
const MAX_LENGTH = 128;

type Vectors = ReadonlyMap<string, Float32Array>;

async function embedAll(lists: readonly List[], backbone: string): Promise<Vectors> {
  const texts = [...new Set(lists.flatMap(({ query, passages }) => [query, ...passages]))];
  const encoder = await openBiEncoder(backbone, { maxLength: MAX_LENGTH });
  const progress = startProgress('sentence encoder', texts.length);
  const vectors = new Map<string, Float32Array>();
  // Texts of like length form batches with little padding.
  const ordered = texts.toSorted((a, b) => a.length - b.length);
  for (let at = 0; at < ordered.length; at += SLICE) {
    const slice = ordered.slice(at, at + SLICE);
    (await encoder.embed(slice)).forEach((vector, i) => {
      vectors.set(slice[i]!, vector);
    });
    progress.update(vectors.size, 'texts');
  }
  progress.stop();
  await encoder.close();
  return vectors;
}

/** Writes the judgements of held-out queries of dl21, by which the recipes validate. Returns their ids. */
async function holdOut(data: string, out: string): Promise<Set<string>> {
  const lines = (await readFile(join(data, 'trec-dl/qrels.dl21-passage.txt'), 'utf8')).trim().split('\n');
  const judged = [...new Set(lines.map((line) => line.split(/\s+/)[0]!))].toSorted();
  const held = new Set(createRandom(1).shuffle(judged).slice(0, HELD_OUT));
  const kept = lines.filter((line) => held.has(line.split(/\s+/)[0]!));
  await writeFileAtomic(join(out, 'held-out.qrels'), `${kept.join('\n')}\n`);
  return held;
}

/**
 * Makes the training files of the six models unless they exist: one per set, with positives, negatives and the teacher's scores.
 * @param data folder of the collections (TREC-DL 2021 and 2022, XQuAD, WikiQA). @param out folder the files go to.
 */
export async function prepare(data: string, backbone: string, out: string): Promise<void> {
  const done = join(out, 'prepared.json');
  if (existsSync(done)) return;
  await mkdir(out, { recursive: true });
  const held = await holdOut(data, out);
  const lists = (await readLists(data)).filter((list) => !held.has(list.qid));
  const vectors = await embedAll(lists, backbone);
  const facts: Record<string, unknown> = { heldOut: [...held].toSorted() };
  for (const set of new Set(lists.map((list) => list.set))) {
    const rows = lists.filter((list) => list.set === set).flatMap((list) => rowOf(list, vectors) ?? []);
    const file = join(out, `${set}.jsonl`);
    await writeLines(
      file,
      rows.map((row) => JSON.stringify(row)),
    );
    facts[set] = { lists: rows.length, sha256: await sha256File(file) };
  }
  await writeFileAtomic(done, `${JSON.stringify(facts, null, 2)}\n`);
}
