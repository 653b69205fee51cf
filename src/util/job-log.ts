import { type FileHandle, open } from 'node:fs/promises';
import { WinnowError } from '../errors.ts';
import { namingPath } from './files.ts';
import { readLines } from './lines.ts';
import { parseJson } from './parse-json.ts';

/**
 * Progress of a long job: a first line that names the job, then one line per entry, each on disk before the next begins. A line that a kill
 * cut short is dropped when the job continues.
 */
interface JobLog<Entry> {
  /** Entries already in the log when it was opened. */
  readonly done: number;
  append(entry: Entry): Promise<void>;
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

/** Yields the entries of a log, in order. */
export async function* readJobLog<Entry>(path: string): AsyncGenerator<Entry> {
  for await (const { line, text } of readLines(path)) if (line > 1) yield parseJson(text) as Entry;
}

/** Returns the first line, and the number of entries behind it. */
async function contents(path: string): Promise<{ readonly job: string | undefined; readonly entries: number }> {
  let job: string | undefined;
  let lines = 0;
  for await (const { line, text } of readLines(path)) {
    job ??= text;
    lines = line;
  }
  return { job, entries: Math.max(0, lines - 1) };
}

/**
 * Opens a log to continue, or creates one.
 * @param job everything that decides the entries.
 * @param onOther what becomes of the log of another job: `refuse` keeps it, `replace` begins a new one.
 * @throws WinnowError `invalid_input` for the log of another job that is kept.
 */
export async function openJobLog<Entry>(
  path: string,
  job: Readonly<Record<string, unknown>>,
  onOther: 'refuse' | 'replace' = 'refuse',
): Promise<JobLog<Entry>> {
  const name = JSON.stringify(job);
  const handle = await open(path, 'a+');
  try {
    await handle.truncate(await wholeLines(handle));
    const found = await contents(path);
    const isOther = found.job !== undefined && found.job !== name;
    if (isOther && onOther === 'refuse')
      throw new WinnowError('invalid_input', {
        where: path,
        expected: `the progress of this job, ${name}`,
        got: `that of ${found.job}; remove the file to start again`,
      });
    if (isOther) await handle.truncate(0);
    const write = async (line: string): Promise<void> => {
      await namingPath(path, handle.appendFile(`${line}\n`));
      await namingPath(path, handle.datasync());
    };
    if ((await handle.stat()).size === 0) await write(name);
    return {
      done: isOther ? 0 : found.entries,
      append: (entry) => write(JSON.stringify(entry)),
      close: () => handle.close(),
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}
