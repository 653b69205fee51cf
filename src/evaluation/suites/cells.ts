import { existsSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomic } from '../../util/files.ts';
import { openJobLog, readJobLog } from '../../util/job-log.ts';
import { readJsonFile } from '../../util/json-files.ts';
import { readRun, writeRun } from '../formats/run.ts';
import { type Evaluation, evaluationJson, type Run } from '../measures/evaluation.ts';

/*
 * Results on disk, one folder per set and system: `run.trec.gz`, `cell.json` (written last, so its presence means that the run is complete)
 * and `values.json`. While a model scores there is `progress.jsonl`, one line per query.
 */

export interface CellFacts {
  /** Fingerprint of everything the run depends on. A cell with another one is computed again. */
  readonly key: string;
  /** Name of the system in reports. */
  readonly label: string;
  /** Seconds of work on the whole cell. */
  readonly seconds: number;
  readonly pairs?: number;
  readonly tokens?: number;
  readonly truncated?: number;
  /** Number of queries that were truncated; absent if there are none. */
  readonly truncatedQueries?: number;
  /** What pruning left out, and the tokens whose early scores were computed; absent where nothing asked for it. */
  readonly pruned?: { readonly passages: number; readonly tokens: number; readonly earlyTokens: number };
  readonly sha256?: string;
  readonly variant?: string;
  readonly provider?: string;
}

interface Cell {
  readonly run: Run;
  readonly facts: CellFacts;
}

/** Turns a name into a folder name: unsafe characters become dashes. */
const slug = (name: string): string => name.replace(/[^\w.@+-]+/g, '-');

export const cellFolder = (out: string, set: string, system: string): string => join(out, slug(set), slug(system));

export async function readFacts(out: string, set: string, system: string): Promise<CellFacts | undefined> {
  const path = join(cellFolder(out, set, system), 'cell.json');
  return existsSync(path) ? ((await readJsonFile(path)) as CellFacts) : undefined;
}

/** Reads a finished cell; `undefined` if there is none with this key. */
export async function readCell(out: string, set: string, system: string, key: string): Promise<Cell | undefined> {
  const facts = await readFacts(out, set, system);
  if (facts?.key !== key) return undefined;
  return { facts, run: await readRun(join(cellFolder(out, set, system), 'run.trec.gz')) };
}

export async function writeCell(out: string, set: string, system: string, run: Run, facts: CellFacts): Promise<void> {
  const folder = cellFolder(out, set, system);
  await writeRun(join(folder, 'run.trec.gz'), run, slug(system));
  await writeFileAtomic(join(folder, 'cell.json'), `${JSON.stringify(facts, null, 2)}\n`);
}

/** One query of a cell that is not finished. */
export interface ScoredQuery {
  readonly qid: string;
  readonly scores: readonly number[];
  readonly tokens: number;
  /** Passages that were pruned, by place in the list, and their tokens; absent where the list was not pruned. */
  readonly pruned?: { readonly places: readonly number[]; readonly tokens: number };
  readonly truncated: number;
  /** Tokens of the query that were truncated; absent if there are none. */
  readonly queryCut?: number;
  /** Seconds of work on the cell up to this query. */
  readonly seconds: number;
}

const progressOf = (out: string, set: string, system: string): string =>
  join(cellFolder(out, set, system), 'progress.jsonl');

/** Opens the progress of a cell: what an interrupted run with this key has scored, and a log for the rest. */
export async function openProgress(out: string, set: string, system: string, key: string) {
  const path = progressOf(out, set, system);
  await mkdir(cellFolder(out, set, system), { recursive: true });
  const log = await openJobLog<ScoredQuery>(path, { key }, 'replace');
  const scored: ScoredQuery[] = [];
  for await (const query of readJobLog<ScoredQuery>(path)) scored.push(query);
  return { log, scored };
}

/** Removes the progress of a finished cell. */
export const dropProgress = (out: string, set: string, system: string): Promise<void> =>
  rm(progressOf(out, set, system), { force: true });

/** Writes the values of a system. */
export async function writeValues(out: string, set: string, system: string, evaluation: Evaluation): Promise<void> {
  const values = JSON.stringify(evaluationJson(evaluation), null, 1);
  await writeFileAtomic(join(cellFolder(out, set, system), 'values.json'), `${values}\n`);
}
