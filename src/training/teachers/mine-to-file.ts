import { join } from 'node:path';
import { WinnowError } from '../../errors.ts';
import type { FirstStage } from '../../evaluation/first-stage/first-stage.ts';
import { Bm25Index } from '../../evaluation/first-stage/index/bm25-index.ts';
import { buildIndex } from '../../evaluation/first-stage/index/build-index.ts';
import { bm25Stage, runFileStage } from '../../evaluation/first-stage/stages.ts';
import { openCollection } from '../../evaluation/formats/load-dataset.ts';
import type { PassageStore } from '../../evaluation/formats/passage-store.ts';
import { memoryPassages } from '../../evaluation/formats/passages.ts';
import { writeLines } from '../../evaluation/formats/write-lines.ts';
import { temporaryFolder } from '../../util/files.ts';
import { lockOutput } from '../../util/lock-file.ts';
import type { StartProgress } from '../../util/progress.ts';
import type { DataSource } from '../data/data-schema.ts';
import { type IdentifiedList, nothingLeft, type RawSource, skipCount } from '../data/list-types.ts';
import { openRaw } from '../data/sources.ts';
import { readTeacher } from '../data/teacher.ts';
import { type BiEncoderOptions, openBiEncoder } from './bi-encoder.ts';
import { encoderStage } from './encoder-stage.ts';
import { type MineSettings, mine } from './mine.ts';

interface MineJob {
  readonly data: DataSource;
  /** Collection the negatives come from; the passages of the data itself where absent. */
  readonly corpus?: string | undefined;
  /** BM25 index of the corpus; one is built for the job where absent. */
  readonly index?: string | undefined;
  /** Run file of another first stage. */
  readonly run?: string | undefined;
  /** Folder of a sentence encoder, in place of BM25, and how it reads texts. */
  readonly biEncoder?: string | undefined;
  readonly sides?: BiEncoderOptions;
  /** Run file with the teacher's scores. */
  readonly teacher?: string | undefined;
  readonly settings: MineSettings;
  readonly out: string;
}

/** All passages of the lists themselves. */
async function ownPassages(source: RawSource, name: string): Promise<PassageStore> {
  const texts = new Map<string, string>();
  for await (const { docids, passages } of source.lists(skipCount()))
    docids.forEach((docid, i) => {
      texts.set(docid, passages[i]!);
    });
  return memoryPassages(texts, name);
}

interface OpenedStage {
  readonly stage: FirstStage;
  close(): void | Promise<void>;
}

async function openEncoderStage(
  folder: string,
  sides: BiEncoderOptions | undefined,
  passages: PassageStore,
  start: StartProgress,
): Promise<OpenedStage> {
  const encoder = await openBiEncoder(folder, sides);
  const progress = start('vectors', passages.size);
  try {
    const stage = await encoderStage(encoder, passages.entries(), (n) => progress.update(n, 'passages'));
    return { stage, close: () => encoder.close() };
  } catch (error) {
    await encoder.close();
    throw error;
  } finally {
    progress.stop();
  }
}

async function openStage(
  { run, index: known, biEncoder, sides }: MineJob,
  passages: PassageStore,
  folder: string,
  start: StartProgress,
): Promise<OpenedStage> {
  if (run !== undefined) return { stage: await runFileStage(run), close: () => undefined };
  if (biEncoder !== undefined) return openEncoderStage(biEncoder, sides, passages, start);
  const path = known ?? join(folder, 'index');
  if (known === undefined) {
    const progress = start('index', passages.size);
    await buildIndex(path, passages.entries(), { onPassage: (n) => n % 1000 === 0 && progress.update(n, 'passages') });
    progress.stop();
  }
  const index = new Bm25Index(path);
  return { stage: bm25Stage(index), close: () => index.close() };
}

/** What a job wrote, and the queries it left out by reason. */
interface MineResult {
  readonly queries: number;
  readonly firstStage: string;
  readonly leftOut: Readonly<Record<string, number>>;
}

/**
 * Mines hard negatives and writes them as JSON lines, the whole file or none of it.
 * @throws WinnowError `in_use` where another process writes the same file.
 */
export const mineToFile = (job: MineJob, start: StartProgress): Promise<MineResult> =>
  lockOutput(job.out, () => mineAlone(job, start));

async function mineAlone(job: MineJob, start: StartProgress): Promise<MineResult> {
  const teacher = job.teacher === undefined ? undefined : await readTeacher(job.teacher, 'score');
  await using cleanup = new AsyncDisposableStack();
  const source = await openRaw(job.data, process.cwd());
  cleanup.defer(() => source.close());
  const folder = await temporaryFolder('mine');
  cleanup.use(folder);
  const corpus = job.corpus === undefined ? await ownPassages(source, job.data.path) : await openCollection(job.corpus);
  cleanup.defer(() => corpus.close());
  const { stage, close } = await openStage(job, corpus, folder.path, start);
  cleanup.defer(close);
  const counts = skipCount();
  let known = 0;
  async function* lists(): AsyncGenerator<IdentifiedList> {
    for await (const list of source.lists(counts)) {
      if (teacher?.has(list.qid)) known++;
      yield list;
    }
  }
  const from = { lists: lists(), firstStage: stage, texts: (ids: readonly string[]) => corpus.texts(ids) };
  const rows: string[] = [];
  for await (const row of mine({ ...from, teacher, counts }, job.settings)) rows.push(JSON.stringify(row));
  if (rows.length === 0) throw nothingLeft(job.data.path, 'at least 1 query to mine for', counts.skipped());
  if (teacher !== undefined && known === 0)
    throw new WinnowError('invalid_input', {
      where: job.teacher ?? '--teacher',
      expected: 'scores of queries of the data',
      got: `those of ${teacher.size} others`,
    });
  await writeLines(job.out, rows);
  return { queries: rows.length, firstStage: stage.name, leftOut: counts.skipped() };
}
