import { type FileHandle, open } from 'node:fs/promises';
import { WinnowError } from '../../errors.ts';
import { readLines } from '../../util/lines.ts';

/** Teacher scores of one list. */
export interface ScoredList {
  readonly qid: string;
  readonly docids: readonly string[];
  readonly scores: readonly number[];
}

/**
 * Progress of a long job: a first line that names the job, then one line per list, each on disk before the next list starts. A line that a
 * kill cut short is dropped when the job continues. Lists are in the order of the data, so their number says where to continue.
 */
interface ScoreLog {
  /** Lists already in the log when it was opened. */
  readonly done: number;
  append(list: ScoredList): Promise<void>;
  close(): Promise<void>;
}

/** Returns the size of a file up to the end of its last whole line, in bytes. */
async function wholeLines(handle: FileHandle): Promise<number> {
  const { size } = await handle.stat();
  const buffer = Buffer.alloc(Math.min(1 << 16, size));
  for (let end = size; end > 0; ) {
    const start = Math.max(0, end - buffer.length);
    await handle.read(buffer, 0, end - start, start);
    const newline = buffer.subarray(0, end - start).lastIndexOf(10);
    if (newline >= 0) return start + newline + 1;
    end = start;
  }
  return 0;
}

/** Yields the lists of a log, in order. */
export async function* readScoreLog(path: string): AsyncGenerator<ScoredList> {
  for await (const { line, text } of readLines(path)) if (line > 1) yield JSON.parse(text) as ScoredList;
}

async function count(path: string, job: string): Promise<number> {
  let lines = 0;
  for await (const { line, text } of readLines(path)) {
    if (line === 1 && text !== job)
      throw new WinnowError('invalid_input', {
        where: path,
        expected: `the progress of this job, ${job}`,
        got: `that of ${text}; remove the file to start again`,
      });
    lines = line;
  }
  return Math.max(0, lines - 1);
}

/**
 * Opens a log to continue, or creates one.
 * @param job everything that decides the scores.
 * @throws WinnowError `invalid_input` for the log of another job.
 */
export async function openScoreLog(path: string, job: Readonly<Record<string, unknown>>): Promise<ScoreLog> {
  const name = JSON.stringify(job);
  const handle = await open(path, 'a+');
  try {
    await handle.truncate(await wholeLines(handle));
    const done = await count(path, name);
    const write = async (line: string): Promise<void> => {
      await handle.appendFile(`${line}\n`);
      await handle.datasync();
    };
    if ((await handle.stat()).size === 0) await write(name);
    return { done, append: (list) => write(JSON.stringify(list)), close: () => handle.close() };
  } catch (error) {
    await handle.close();
    throw error;
  }
}
